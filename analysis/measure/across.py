"""Studies beside each other: the arms of all of them at the targets that they share.

Two final losses compare if they were measured on the same held-out tokens of models of one shape,
parametrization, architecture, context and vocabulary, trained on as many tokens in batches as
large: then a seed drew the same batches in both studies, and differences are taken within a seed.
What differs in any of that is another target, and where studies share none, that is said in one
line with the reason.

The charge is not the same: an arm pays for its source. It is shown beside each loss, and what an
arm is worth at equal charged compute stays its own study's to say.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from mugrow.analysis.measure.arms import BASELINE
from mugrow.analysis.measure.comparison import Verdict
from mugrow.analysis.measure.recovery import labelled_targets
from mugrow.analysis.read.store import Store, opened
from mugrow.analysis.stats import Interval, holm, p_value, student_interval
from mugrow.bench.spec import UserError, unknown

LEVEL = 0.05  # of the verdicts of a target together
MUST_AGREE = (
    "corpus", "held-out tokens", "vocabulary", "context", "batch", "tokens", "architecture",
)  # fmt: skip
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
        """In words, of two of one shape."""
        pairs = zip(MUST_AGREE, _compared(self, other), _compared(other, self), strict=True)
        return [f"{name} {one} and {two}" for name, one, two in pairs if one != two]


def _compared(setting: Setting, other: Setting) -> tuple[object, ...]:
    """In the order of ``MUST_AGREE``; of an architecture only what the other has not."""
    its_own = [one for one in setting.architecture if one not in other.architecture]
    return (
        setting.corpus, setting.held_out, setting.vocabulary, setting.context,
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
    ``left_out`` why a target is not compared."""

    studies: tuple[str, ...]
    reference: str
    arms: tuple[AcrossArm, ...]
    left_out: tuple[str, ...]

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
    if rows.empty:
        raise UserError(f"no target has finished in {' or '.join(named)}")
    shared: dict[Setting, pd.DataFrame] = {}
    for setting in dict.fromkeys(rows["setting"]):
        part = rows[[one == setting for one in rows["setting"]]]
        if len(set(part["study"])) > 1:
            shared[setting] = part
    left_out = tuple(_left_out(rows, set(shared)))
    if not shared:
        raise UserError(f"{' and '.join(named)} share no target to compare: {left_out[0]}")
    labels = list(dict.fromkeys(rows["label"]))
    if reference is not None and reference not in labels:
        raise unknown("arm", reference, labels)
    called = _target_names(list(shared))
    arms = [
        arm
        for setting, part in shared.items()
        for arm in _of_target(part, called[setting], reference or BASELINE)
    ]
    return Across(tuple(named), reference or BASELINE, tuple(arms), left_out)


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
    """The finished targets of a study: study, setting, label, seed, loss, charge, run_id."""
    runs = labelled_targets(store)
    runs = runs[(runs["status"] == "finished") & runs["final_val_loss"].notna()]
    rows = zip(runs["width"], runs["depth"], runs["parametrization"], runs["tokens"], runs["spec"],
               strict=True)  # fmt: skip
    settings = [
        _setting(f"w{width}-d{depth} {parametrization}", int(tokens), json.loads(spec))
        for width, depth, parametrization, tokens, spec in rows
    ]
    return pd.DataFrame({
        "study": study,
        "setting": settings,
        "label": list(runs["label"]),
        "seed": list(runs["seed"]),
        "loss": list(runs["final_val_loss"]),
        "charge": list(runs["flops"] + runs["flops_source"].fillna(0)),
        "run_id": list(runs["run_id"]),
    })  # fmt: skip


def _setting(shape: str, tokens: int, spec: Mapping[str, Any]) -> Setting:
    data, model = spec["data"], spec["model"]
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


def _left_out(rows: pd.DataFrame, shared: set[Setting]) -> list[str]:
    """Why a target of a study is not compared: another shape, or what differs of the nearest."""
    lines = []
    settings = rows[["study", "setting"]].drop_duplicates()
    for study, setting in zip(settings["study"], settings["setting"], strict=True):
        if setting in shared:
            continue
        alike = [
            (setting.differences(other), name)
            for name, other in zip(settings["study"], settings["setting"], strict=True)
            if name != study and other.shape == setting.shape and other != setting
        ]
        why = "no other study has that shape"
        if alike:
            differences, name = min(alike, key=lambda one: len(one[0]))
            why = f"{name} differs in {', '.join(differences)}"
        lines.append(f"{setting.shape} of {study}: {why}")
    return lines


def _of_target(part: pd.DataFrame, target: str, reference: str) -> list[AcrossArm]:
    arms: list[AcrossArm] = []
    runs: list[Mapping[int, tuple[str, float]]] = []  # id and loss by seed
    known: dict[frozenset[str], int] = {}
    for (study, label), rows in part.groupby(["study", "label"], sort=False):
        ids = frozenset(rows["run_id"])
        if ids in known:
            place = known[ids]
            arms[place] = replace(arms[place], also=(*arms[place].also, str(study)))
            continue
        known[ids] = len(arms)
        losses = rows["loss"].tolist()
        of_seeds = zip(rows["run_id"].tolist(), losses, strict=True)
        runs.append(dict(zip(rows["seed"].tolist(), of_seeds, strict=True)))
        arms.append(
            AcrossArm(
                target, str(study), str(label), student_interval(losses),
                float(rows["charge"].mean()), NOT_COMPARED, math.nan, "not measured",
            )
        )  # fmt: skip
    base = next((n for n, arm in enumerate(arms) if arm.label == reference), None)
    if base is not None:
        arms = _judged(arms, runs, base)
    return sorted(arms, key=lambda arm: arm.loss.value)


NOT_COMPARED = Interval(math.nan, math.nan, math.nan, 0)


def _judged(
    arms: Sequence[AcrossArm], runs: Sequence[Mapping[int, tuple[str, float]]], reference: int
) -> list[AcrossArm]:
    """Each arm against one of them, in the seeds that both have; a run that both have is no
    difference."""
    base = runs[reference]
    differences = [
        [
            loss - base[s][1]
            for s, (run_id, loss) in own.items()
            if s in base and run_id != base[s][0]
        ]
        for own in runs
    ]
    tested = [n for n, one in enumerate(differences) if n != reference and len(one) > 1]
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
