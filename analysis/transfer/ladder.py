"""Ladders: sweeps equal in everything but one axis, or grown from one source by several factors.

    width    model.width, at one head size, or at one number of heads where heads grow
    depth    model.depth
    tokens   steps, at one batch, and the step ratio where there is a rule for it
    batch    sequences a batch, at equal tokens, and the step ratio likewise

Everything else is equal on a ladder: corpus, token budget, schedule, initial scale, rules. What
could only be compared by averaging over a difference is refused, with the reason: two settings
that differ in two ways, rungs with unlike seeds, runs that are missing, fewer than three rates.

A *grown* ladder's sizes are growth factors of one source. It begins at the learning rate that was
transferred to the source, which is where the rate would stay if it held: ``reference``. Beside it
stands the same ladder of targets from scratch, where the store has one.

One sweep may be on several ladders. Width 32 at head size 16 begins both the ladder on which heads
multiply and the one on which they grow.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from mugrow.analysis.transfer.label import named
from mugrow.analysis.transfer.sweep import Setting, Sweep, number

SCRATCH = "scratch"
FEWEST_RATES = 3
SAME_TOKENS = 1.02  # equal tokens, up to the rounding of steps
CONTINUED = ("first_step", "rewarm_steps", "first_batch", "steps")


@dataclass(frozen=True)
class Axis:
    """``free`` are the fields that differ along it, ``held`` what stays equal in their place."""

    name: str
    free: tuple[str, ...]
    size: Callable[[Setting], float]
    held: Callable[[Setting], float] | None = None
    note: str = ""


def tokens(setting: Setting) -> float:
    """Tokens trained on until the horizon."""
    steps = number(setting, "steps") - number(setting, "first_step", 0)
    return float(steps * batch_tokens(setting))


def batch_tokens(setting: Setting) -> float:
    """Tokens of one update."""
    return float(number(setting, "batch_sequences") * number(setting, "model.context"))


def heads(setting: Setting) -> float:
    """How many heads attention has."""
    return number(setting, "model.width") / number(setting, "model.head_size")


def width(setting: Setting) -> float:
    """The model's width, as a size on a ladder."""
    return float(number(setting, "model.width"))


def depth(setting: Setting) -> float:
    """The model's depth, as a size on a ladder."""
    return float(number(setting, "model.depth"))


AXES = (
    Axis("width", ("model.width",), width),
    Axis("width", ("model.width", "model.head_size"), width, heads, "heads grow"),
    Axis("depth", ("model.depth",), depth),
    Axis("tokens", ("steps", "step_ratio"), tokens),
    Axis("batch", ("batch_sequences", "steps", "step_ratio"), batch_tokens),
)
WIDTH, DEPTH = AXES[0], AXES[2]


@dataclass(frozen=True, eq=False)
class Ladder:
    """``rungs`` by ascending size. ``reference`` is the log2 learning rate that was transferred to
    the source of grown rungs. ``relation`` are the from-scratch sweeps that say what loss a budget
    buys; they are the rungs themselves unless those are grown."""

    axis: Axis
    sizes: tuple[float, ...]
    rungs: tuple[Sweep, ...]
    relation: tuple[Sweep, ...]
    reference: float | None = None

    @property
    def grown(self) -> bool:
        return self.rungs[0].method != SCRATCH

    @property
    def common(self) -> Setting:
        """The setting that all rungs share."""
        first = self.rungs[0].setting
        return {key: value for key, value in first.items() if key not in self.axis.free}


@dataclass(frozen=True)
class SkippedSweeps:
    """Sweeps that are on no ladder, and why."""

    sweeps: tuple[Sweep, ...]
    reason: str


def ladders(sweeps: Sequence[Sweep]) -> tuple[list[Ladder], list[SkippedSweeps]]:
    """Every ladder of the sweeps, and the sweeps that are on none."""
    scratch = [sweep for sweep in sweeps if sweep.method == SCRATCH]
    grown = [sweep for sweep in sweeps if sweep.method != SCRATCH]
    found = [ladder for axis in AXES for ladder in _from_scratch(axis, scratch)]
    found += [ladder for axis in (WIDTH, DEPTH) for ladder in _grown(axis, grown, scratch)]
    refused = [(ladder, reason) for ladder in found if (reason := refusal(ladder)) is not None]
    whole = [ladder for ladder in found if refusal(ladder) is None]
    placed = {id(sweep) for ladder in found for sweep in ladder.rungs}
    alone = [sweep for sweep in sweeps if id(sweep) not in placed]
    return whole, [
        *(SkippedSweeps(ladder.rungs, reason) for ladder, reason in refused),
        *(SkippedSweeps((sweep,), lonely(sweep, sweeps)) for sweep in alone),
    ]


def _from_scratch(axis: Axis, sweeps: Iterable[Sweep]) -> list[Ladder]:
    groups: dict[str, list[Sweep]] = {}
    for sweep in sweeps:
        kept = {key: value for key, value in sweep.setting.items() if key not in axis.free}
        key = json.dumps([kept, axis.held and axis.held(sweep.setting)], sort_keys=True)
        groups.setdefault(key, []).append(sweep)
    split = [part for group in groups.values() for part in _equal_tokens(axis, group)]
    return [_ladder(axis, group) for group in split if len(group) > 1]


def _equal_tokens(axis: Axis, group: list[Sweep]) -> list[list[Sweep]]:
    """A group as it is; along batch, by tokens."""
    if axis.name != "batch":
        return [group]
    parts: list[list[Sweep]] = []
    for sweep in sorted(group, key=lambda one: tokens(one.setting)):
        if not parts or tokens(sweep.setting) > SAME_TOKENS * tokens(parts[-1][0].setting):
            parts.append([])
        parts[-1].append(sweep)
    return parts


def _ladder(axis: Axis, group: Iterable[Sweep]) -> Ladder:
    rungs = tuple(sorted(group, key=lambda sweep: axis.size(sweep.setting)))
    return Ladder(axis, tuple(axis.size(sweep.setting) for sweep in rungs), rungs, rungs)


def _grown(axis: Axis, sweeps: Iterable[Sweep], scratch: Sequence[Sweep]) -> list[Ladder]:
    """Ladders over the growth factor, each with its companion from scratch; a companion that
    several methods share is given once, and so is one that is part of another."""
    groups: dict[str, list[Sweep]] = {}
    for sweep in sweeps:
        if sweep.source is not None and grows_along(sweep) is axis:
            kept = {key: value for key, value in sweep.setting.items() if key not in axis.free}
            groups.setdefault(json.dumps(kept, sort_keys=True), []).append(sweep)
    found: list[Ladder] = []
    companions: list[Ladder] = []
    for group in groups.values():
        ladder = _by_factor(_ladder(axis, group))
        pairs = [
            (size, _from_scratch_twin(rung, scratch))
            for size, rung in zip(ladder.sizes, ladder.rungs, strict=True)
        ]
        twins = [(size, twin) for size, twin in pairs if twin is not None]
        rungs = tuple(twin for _, twin in twins)
        found.append(replace(ladder, relation=rungs))
        if rungs:
            sizes = tuple(size for size, _ in twins)
            companions.append(Ladder(axis, sizes, rungs, rungs, ladder.reference))
    return [*found, *_longest(companions)]


def _longest(companions: Iterable[Ladder]) -> list[Ladder]:
    """Those whose rungs are not all on another one with the same reference."""
    kept: list[Ladder] = []
    for ladder in sorted(companions, key=lambda one: -len(one.rungs)):
        others = [set(one.rungs) for one in kept if one.reference == ladder.reference]
        if not any(set(ladder.rungs) <= rungs for rungs in others):
            kept.append(ladder)
    return kept


def grows_along(sweep: Sweep) -> Axis:
    """Width, or depth where the width is the source's; the sweep has a source."""
    assert sweep.source is not None
    return WIDTH if sweep.width != sweep.source.width else DEPTH


def _by_factor(ladder: Ladder) -> Ladder:
    source = ladder.rungs[0].source
    assert source is not None
    start = source.width if ladder.axis is WIDTH else source.depth
    sizes = tuple(size / start for size in ladder.sizes)
    return replace(ladder, sizes=sizes, reference=source.log2_lr)


def _from_scratch_twin(grown: Sweep, scratch: Iterable[Sweep]) -> Sweep | None:
    """The sweep from scratch of the same model, data and tokens, and of the same seeds."""

    def rest(setting: Setting) -> Setting:
        return {
            key: value
            for key, value in setting.items()
            if not key.startswith(("start.", "source.")) and key not in CONTINUED
        } | {"tokens": tokens(setting)}

    wanted = rest(grown.setting)
    return next((one for one in scratch
                 if rest(one.setting) == wanted and one.seeds == grown.seeds), None)  # fmt: skip


def refusal(ladder: Ladder) -> str | None:
    """Why the ladder cannot be compared, or None."""
    names = [f"{ladder.axis.name} {size:.4g}" for size in ladder.sizes]
    if len(set(ladder.sizes)) < len(ladder.sizes):
        return f"two sweeps have {_twice(names)}"
    if ladder.reference is not None and set(ladder.sizes) == {1.0}:
        return "it is as large as its source, whose training it goes on with"
    for name, sweep in zip(names, ladder.rungs, strict=True):
        if len(sweep.log2_lr) < FEWEST_RATES:
            return f"{name} has {len(sweep.log2_lr)} learning rates; an optimum takes 3"
        if "incomplete" in sweep.status:
            return f"{name} lacks {missing_run(sweep)}"
        if not sweep.finished:
            return f"{name} finished none of its {len(sweep.log2_lr)} learning rates"
    return _unlike_seeds(ladder, names)


def _twice(names: Sequence[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


def missing_run(sweep: Sweep) -> str:
    """The first point that a seed has no run of, in words."""
    at = float(sweep.log2_lr[sweep.status.index("incomplete")])
    return f"a seed's run at log2 learning rate {at:.4g}"


def _unlike_seeds(ladder: Ladder, names: Sequence[str]) -> str | None:
    union = set().union(*(sweep.seeds for sweep in ladder.rungs))
    for name, sweep in zip(names, ladder.rungs, strict=True):
        if lacking := sorted(union - set(sweep.seeds)):
            seeds = ", ".join(str(seed) for seed, _ in lacking)
            return f"{name} lacks seed {seeds}, which others of the ladder have"
    return None


def lonely(sweep: Sweep, sweeps: Sequence[Sweep]) -> str:
    """Why a sweep is on no ladder: the sweep nearest to it differs in more than one axis."""
    if sweep.method != SCRATCH:
        return "the store does not have the run that it was grown from"
    others = [_differences(sweep.setting, one.setting) for one in sweeps if one is not sweep]
    if not others:
        return "it is the only sweep: a ladder takes two sizes"
    nearest = min(others, key=len)
    return f"the sweep nearest to it differs in {' and '.join(nearest)}, not in one axis alone"


def _differences(one: Setting, other: Setting) -> list[str]:
    keys = sorted({key for key in one.keys() | other.keys() if one.get(key) != other.get(key)})
    return sorted({named(key) for key in keys})
