"""Studies beside each other: the arms of all of them at the targets that they share.

Two final losses compare if they were measured on the same held-out tokens of models of one shape,
parametrization, architecture, context and vocabulary, trained on as many tokens in batches as
large: then a seed drew the same batches in both studies, and differences are taken within a seed.
What differs in any of that is another target, and where studies share none, that is said in one
line with what the nearest two differ in. Arms of one method at a target are called by what tells
them apart there, whatever setting that is.

The charge is not the same: an arm pays for its source. It is shown beside each loss, and what an
arm is worth at equal charged compute stays its own study's to say.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from mugrow.analysis.measure.arms import BASELINE, label_arms
from mugrow.analysis.measure.comparison import Verdict
from mugrow.analysis.read.store import Store, opened
from mugrow.analysis.stats import Interval, holm, p_value, student_interval
from mugrow.bench.spec import ModelSpec, UserError, unknown

LEVEL = 0.05  # of the verdicts of a target together
MUST_AGREE = (
    "shape", "corpus", "held-out tokens", "vocabulary", "context", "batch", "tokens",
    "architecture",
)  # fmt: skip
DEFAULTS = {one.name: one.default for one in fields(ModelSpec) if one.default is not MISSING}
NAMED = 3  # arms that could be the reference, where it is not there
SIZES = ("width", "depth", "vocab_size", "context")  # of a model; the rest is its architecture


@dataclass(frozen=True)
class Setting:
    """What two final losses must share to be compared."""

    shape: str
    corpus: str
    held_out: int
    vocabulary: int
    context: int
    batch_tokens: int
    tokens: int
    architecture: tuple[str, ...]

    def differences(self, other: "Setting") -> list[str]:
        """In words."""
        pairs = zip(MUST_AGREE, _compared(self, other), _compared(other, self), strict=True)
        return [f"{name} {one} and {two}" for name, one, two in pairs if one != two]


def _compared(setting: Setting, other: Setting) -> tuple[object, ...]:
    """In the order of ``MUST_AGREE``; of an architecture only what the other has not."""
    its_own = [one for one in setting.architecture if one not in other.architecture]
    return (
        setting.shape, setting.corpus, setting.held_out, setting.vocabulary, setting.context,
        setting.batch_tokens, setting.tokens, " ".join(its_own),
    )  # fmt: skip


@dataclass(frozen=True)
class AcrossArm:
    """An arm of a study at a shared target. ``charge`` are its FLOPs with its source's; the
    difference from the reference is paired by seed, and ``p`` and the verdict are corrected over
    the arms of the target (Holm). ``also`` are studies that have the very same runs."""

    target: str
    study: str
    label: str
    loss: Interval
    charge: float
    minus_reference: Interval
    p: float
    verdict: Verdict
    is_reference: bool = False
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Across:
    """``arms`` by target, the lowest loss first; ``reference`` is what they are compared with, and
    ``left_out`` why a target is not compared, or has no differences. ``of_runs`` are the targets of
    the runs that are compared, by id."""

    studies: tuple[str, ...]
    reference: str
    arms: tuple[AcrossArm, ...]
    left_out: tuple[str, ...]
    of_runs: Mapping[str, str]

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets that are compared, in the order of the first study."""
        return tuple(dict.fromkeys(arm.target for arm in self.arms))


def compare(
    *stores: Store | str | Path, names: Sequence[str] = (), reference: str | None = None
) -> Across:
    """The arms of two studies or more at the targets that they share, each a store or the folder
    of one; ``reference`` is an arm's label, by default scratch of the first study that has it.

    Raises ``UserError`` where fewer than two studies are given or no two share a target.

    >>> import mugrow
    >>> quick = mugrow.load("results/reference/quick")
    >>> found = mugrow.compare(quick, quick.first_seeds(2), names=["three seeds", "two"])
    >>> found.targets, found.arms[0].label
    (('w64-d2',), 'szp')
    """
    named = _named(stores, names)
    if len(named) < 2:
        raise UserError("name two studies or more to compare")
    rows = pd.concat([_targets(store, name) for name, store in named.items()], ignore_index=True)
    with_targets = set(rows["study"])
    if len(with_targets) < 2:
        without = [name for name in named if name not in with_targets]
        raise UserError(f"no target has finished in {' or '.join(without)}")
    shared: dict[Setting, pd.DataFrame] = {}
    for setting in dict.fromkeys(rows["setting"]):
        part = rows[[one == setting for one in rows["setting"]]]
        if len(set(part["study"])) > 1:
            shared[setting] = part
    left_out = sorted(_left_out(rows, set(shared)))
    if not shared:
        raise UserError(f"{' and '.join(named)} share no target to compare: {left_out[0].says}")
    labels = list(dict.fromkeys(rows["label"]))
    reference = reference or BASELINE
    if reference not in (BASELINE, *labels):
        raise unknown("arm", reference, labels)
    called = _target_names(list(shared))
    lines = [one.says for one in sorted(left_out, key=lambda one: one.place)]
    lines += [
        _no_reference(called[setting], reference, list(dict.fromkeys(part["label"])))
        for setting, part in shared.items()
        if reference not in set(part["label"])
    ]
    arms = [
        arm
        for setting, part in shared.items()
        for arm in _of_target(part, called[setting], reference)
    ]
    of_runs = {
        str(run_id): called[setting]
        for setting, part in shared.items()
        for run_id in part["run_id"]
    }
    return Across(tuple(named), reference, tuple(arms), tuple(lines), of_runs)


def _no_reference(target: str, reference: str, labels: Sequence[str]) -> str:
    """Why nothing is compared at a target whose losses stand beside each other all the same."""
    near = [label for label in labels if label.startswith(f"{reference}(")] or labels
    more = f" and {len(near) - NAMED} more" if len(near) > NAMED else ""
    return (
        f"differences at {target}: no arm there is called {reference!r}; "
        f"a reference can be {', '.join(map(repr, near[:NAMED]))}{more}"
    )


def _named(stores: Sequence[Store | str | Path], names: Sequence[str]) -> dict[str, Store]:
    if names and len(names) != len(stores):
        raise UserError(f"{len(names)} names for {len(stores)} studies")
    found: dict[str, Store] = {}
    for place, store in enumerate(stores):
        opened_store = opened(store)
        name = names[place] if names else str(opened_store.study.get("name", "study"))
        if name in found and names:
            raise UserError(f"two studies are named {name!r}")
        found[f"{name} ({place + 1})" if name in found else name] = opened_store
    return found


def _targets(store: Store, study: str) -> pd.DataFrame:
    """The finished targets of a study: study, setting and its place, label, whether it is grown,
    seed, loss, charge, run_id."""
    runs = store.runs[(store.runs["role"] == "target") & (store.runs["status"] == "finished")]
    runs = runs[runs["final_val_loss"].notna()].sort_values(["width", "depth", "tokens", "seed"])
    rows = zip(runs["width"], runs["depth"], runs["parametrization"], runs["tokens"], runs["spec"],
               strict=True)  # fmt: skip
    settings = [
        _setting(f"w{width}-d{depth} {parametrization}", int(tokens), json.loads(spec))
        for width, depth, parametrization, tokens, spec in rows
    ]
    places = {setting: place for place, setting in enumerate(dict.fromkeys(settings))}
    named = runs.assign(
        target=[f"{setting.shape} ({places[setting]})" for setting in settings], study=study
    )
    return pd.DataFrame({
        "study": study,
        "setting": settings,
        "label": label_arms(named, store.runs),
        "place": [places[setting] for setting in settings],
        "grown": list(runs["method"] != BASELINE),
        "seed": list(runs["seed"]),
        "loss": list(runs["final_val_loss"]),
        "charge": list(runs["flops"] + runs["flops_source"].fillna(0)),
        "run_id": list(runs["run_id"]),
    }).sort_values(["place", "grown", "label"], kind="stable")  # fmt: skip


def _setting(shape: str, tokens: int, spec: Mapping[str, Any]) -> Setting:
    data, model = spec["data"], DEFAULTS | spec["model"]
    return Setting(
        shape=shape,
        corpus=f"{data['corpus']} {data['corpus_sha256'][:8]}",
        held_out=data.get("final_val_tokens") or data["val_tokens"],
        vocabulary=model["vocab_size"],
        context=model["context"],
        batch_tokens=spec["batch_sequences"] * model["context"],
        tokens=tokens,
        architecture=tuple(
            f"{name}={value}" for name, value in sorted(model.items()) if name not in SIZES
        ),
    )


def _target_names(settings: Sequence[Setting]) -> dict[Setting, str]:
    """A name for each: its width and depth, with what tells it from others of that size."""

    def told(one: Setting) -> list[str]:
        return [
            *one.shape.split(), f"{one.tokens} tokens", f"batch {one.batch_tokens}",
            f"context {one.context}", f"vocabulary {one.vocabulary}", one.corpus,
            f"{one.held_out} held-out tokens", *one.architecture,
        ]  # fmt: skip

    names = {}
    for setting in settings:
        size, *more = told(setting)
        rivals = [told(other) for other in settings if other.shape.startswith(f"{size} ")]
        telling = [one for one in more if any(one not in rival for rival in rivals)]
        names[setting] = " ".join([size, *telling])
    return names


@dataclass(frozen=True, order=True)
class _LeftOut:
    """Why a target is not compared, in the order of how near the nearest other study's is; and its
    ``place`` among the targets."""

    other_shape: bool
    differences: int
    place: int
    says: str


def _left_out(rows: pd.DataFrame, shared: set[Setting]) -> Iterator[_LeftOut]:
    """What differs of the nearest target of another study, one of its shape if there is any."""
    settings = list(dict.fromkeys(zip(rows["study"], rows["setting"], strict=True)))
    for place, (study, setting) in enumerate(settings):
        if setting in shared:
            continue
        others = [
            (other.shape != setting.shape, setting.differences(other), name)
            for name, other in settings
            if name != study
        ]
        if others:
            far, differences, name = min(others, key=lambda one: (one[0], len(one[1])))
            says = f"{setting.shape} of {study}: {name} differs in {', '.join(differences)}"
            yield _LeftOut(far, len(differences), place, says)


def _of_target(part: pd.DataFrame, target: str, reference: str) -> list[AcrossArm]:
    arms: list[AcrossArm] = []
    runs: list[Mapping[int, tuple[str, float]]] = []  # id and loss by seed
    known: dict[frozenset[str], int] = {}
    base: int | None = None
    for (study, label), rows in part.groupby(["study", "label"], sort=False):
        ids = frozenset(rows["run_id"])
        place = known.setdefault(ids, len(arms))
        if label == reference and base is None:
            base = place
        if place < len(arms):
            arms[place] = replace(arms[place], also=(*arms[place].also, str(study)))
            continue
        losses = rows["loss"].tolist()
        of_seeds = zip(rows["run_id"].tolist(), losses, strict=True)
        runs.append(dict(zip(rows["seed"].tolist(), of_seeds, strict=True)))
        arms.append(
            AcrossArm(
                target, str(study), str(label), student_interval(losses),
                float(rows["charge"].mean()), NOT_COMPARED, math.nan, "not measured",
            )
        )  # fmt: skip
    if base is not None:
        arms = _judged(arms, runs, base)
    return sorted(arms, key=lambda arm: arm.loss.value)


NOT_COMPARED = Interval(math.nan, math.nan, math.nan, 0)


def _judged(
    arms: Sequence[AcrossArm], runs: Sequence[Mapping[int, tuple[str, float]]], reference: int
) -> list[AcrossArm]:
    """Each arm against one of them, in the seeds that both have; a run that both have is no
    difference. An arm that is some seeds of another, in a study of fewer, is that arm again: it is
    not tested, and does not count in the correction."""
    base = runs[reference]
    differences = [
        [
            loss - base[s][1]
            for s, (run_id, loss) in own.items()
            if s in base and run_id != base[s][0]
        ]
        for own in runs
    ]
    ids = [{run_id for run_id, _ in own.values()} for own in runs]
    tested = [
        n
        for n, one in enumerate(differences)
        if n != reference and len(one) > 1 and not any(ids[n] < other for other in ids)
    ]
    corrected = dict(zip(tested, holm([p_value(differences[n]) for n in tested]), strict=True))
    found = []
    for n, arm in enumerate(arms):
        difference = student_interval(differences[n])
        p = float(corrected.get(n, math.nan))
        verdict: Verdict = "not measured" if math.isnan(p) else "undecided"
        if p < LEVEL:
            verdict = "better" if difference.value < 0 else "worse"
        found.append(
            replace(arm, minus_reference=difference, p=p, verdict=verdict)
            if n != reference
            else replace(arm, is_reference=True)
        )
    return found
