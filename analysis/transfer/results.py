"""What a store says on transfer: its sweeps, its ladders with a verdict each, and what it cannot.

Every number of the tables, figures and sentences on transfer is in the ``TransferResults`` made
here. Its fields, and those of its parts, are the keys of the JSON that `mugrow transfer --json`
prints, in their order; what a property gives is in no JSON. Losses are in nats per token, learning
rates in log2. A float is nan where there is no number.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mugrow.analysis.read.store import Store, opened
from mugrow.analysis.stats import NOTHING, Interval
from mugrow.analysis.transfer.asymptote import Asymptote, asymptotes
from mugrow.analysis.transfer.label import variants
from mugrow.analysis.transfer.ladder import SCRATCH, Ladder, SkippedSweeps, ladders
from mugrow.analysis.transfer.metrics import (
    Drift,
    JackknifedLadder,
    Pair,
    SizeOptimum,
    drift,
    measured,
    pairs,
    rung,
    same_argmin,
)
from mugrow.analysis.transfer.operator_regret import GrowthOptimum
from mugrow.analysis.transfer.operator_regret import rungs as operator_rungs
from mugrow.analysis.transfer.operator_setting import (
    RefusedComparison,
    SettingComparison,
    comparisons,
)
from mugrow.analysis.transfer.optimum import Array, Edge, Optimum
from mugrow.analysis.transfer.sweep import Setting, Sweep, by_setting, sweeps
from mugrow.analysis.transfer.verdict import (
    RULE,
    SETTING_RULE,
    TransferVerdict,
    setting_verdict,
    verdict,
)
from mugrow.bench.spec import UserError

INTERVALS = (
    "95 %, Student's t over jackknife pseudo-values of the paired seeds; "
    "it covers the truth about as often as it says from two seeds on"
)


@dataclass(frozen=True, eq=False)
class SweepPoint:
    """One learning rate of a sweep. ``loss`` is the mean over the seeds and ``per_seed`` has shape
    (seeds,), inf for diverged and nan for pruned or failed; ``status`` is the worst of the seeds.
    """

    log2_lr: float
    loss: float
    per_seed: Array
    status: str

    @property
    def known(self) -> bool:
        """Whether every seed finished."""
        return math.isfinite(self.loss)


@dataclass(frozen=True, eq=False)
class SweepResult:
    """A sweep under its label, with its best rate tested and the parabola's vertex beside it
    (``transfer.optimum``). ``run_flops`` are those of one run, ``search_flops`` those of all."""

    parametrization: str
    method: str
    width: int
    depth: int
    variant: str
    init_std: float
    n_seeds: int
    run_flops: float
    search_flops: float
    points: tuple[SweepPoint, ...]
    argmin_log2_lr: float
    argmin_loss: float
    vertex_log2_lr: float
    vertex_loss: float
    curvature: float
    edge: Edge

    @property
    def finished(self) -> bool:
        """Whether any learning rate has a loss."""
        return math.isfinite(self.argmin_loss)

    @property
    def has_vertex(self) -> bool:
        """Whether a parabola could be fitted around the best rate."""
        return math.isfinite(self.vertex_log2_lr)


@dataclass(frozen=True)
class LadderRung(SizeOptimum):
    """One size of a ladder; ``sweep`` is the place of its sweep in ``TransferResults.sweeps``."""

    sweep: int
    width: int
    depth: int


@dataclass(frozen=True)
class LadderResult:
    """A ladder with its verdict and what that rests on. ``variant`` is what tells it from others
    along its axis. ``reference_log2_lr`` is the source's rate where sizes are factors of growth,
    grown or from scratch at the targets of growth."""

    axis: str
    method: str
    parametrization: str
    variant: str
    reference_log2_lr: float | None
    n_seeds: int
    rungs: tuple[LadderRung, ...]
    pairs: tuple[Pair, ...]
    drift: Drift
    same_argmin: bool
    asymptote: Asymptote
    verdict: TransferVerdict

    @property
    def by_growth(self) -> bool:
        """Whether sizes are factors of growth."""
        return self.reference_log2_lr is not None

    @property
    def widest(self) -> Pair:
        """The smallest size's best rate at the largest."""
        return widest(self.pairs)

    @property
    def from_smallest(self) -> tuple[Pair, ...]:
        """The smallest size's best rate, or the source's, at every larger size."""
        smallest = min(pair.proxy for pair in self.pairs)
        return tuple(pair for pair in self.pairs if pair.proxy == smallest)


@dataclass(frozen=True)
class SkippedLadder:
    """Sweeps that are on no ladder, each by its shape and initial scale, and why."""

    sweeps: tuple[str, ...]
    parametrization: str
    variant: str
    reason: str


@dataclass(frozen=True)
class SettingResult:
    """An operator's own setting over several growths, with its verdict."""

    parametrization: str
    method: str
    variant: str
    parameter: str
    axis: str | None
    log2_lr: float
    n_seeds: int
    rungs: tuple[GrowthOptimum, ...]
    verdict: TransferVerdict


@dataclass(frozen=True)
class SkippedSetting:
    """Values of an operator's setting that cannot be compared, and why; ``variant`` is the method
    alone."""

    parametrization: str
    variant: str
    parameter: str
    axis: str | None
    values: tuple[float, ...]
    log2_lrs: tuple[float, ...]
    reason: str


@dataclass(frozen=True)
class OperatorSettings:
    """What is said of operators' own settings, and the rule of the verdicts."""

    compared: tuple[SettingResult, ...]
    skipped: tuple[SkippedSetting, ...]
    rule: str = SETTING_RULE


@dataclass(frozen=True)
class TransferResults:
    """All of it, for a store: with the rule of the verdicts and how to read an interval."""

    sweeps: tuple[SweepResult, ...]
    ladders: tuple[LadderResult, ...]
    skipped: tuple[SkippedLadder, ...]
    operator_settings: OperatorSettings
    rule: str = RULE
    intervals: str = INTERVALS


def transfer(
    store: Store | pd.DataFrame | str | Path | Sequence[str | Path],
    *,
    size: str | None = None,
    lr: str | None = None,
    loss: str | None = None,
    seeds: str | None = None,
    by: str | Sequence[str] = (),
    where: str | None = None,
) -> TransferResults:
    """Whether the best learning rates of small models are those of large ones: what `mugrow
    transfer` prints.

    ``store`` is a study's tables or their directory: along width, depth, tokens, batch and growth,
    and operators' own settings along growth. Empty where the study has nothing to compare.

    Or it is any table of runs, a data frame, a file or several, with ``size``, ``lr`` and ``loss``,
    columns or expressions on them: along that size. Of names that differ in one number alone, as
    those of files w64.csv and w128.csv in the column ``run``, that number is the size. The column
    ``seeds`` tells runs of one size and rate apart, each value of the columns ``by`` is compared by
    itself, and ``where`` is a condition on the rows to use. The answer's ``notes`` then name the
    losses that are not there. Raises ``UserError`` for a table or column that cannot be used.

    >>> import mugrow, pandas
    >>> found = mugrow.transfer(mugrow.load("results/reference/transfer-width"))
    >>> {ladder.parametrization: ladder.verdict.word for ladder in found.ladders[-2:]}
    {'sp': 'drifts', 'sp_embedding': 'drifts'}
    >>> rows = [(n, 2.0**x, 3 + (x + 8) ** 2 / n) for n in (64, 128) for x in range(-11, -4)]
    >>> table = pandas.DataFrame(rows, columns=["width", "lr", "loss"])
    >>> found = mugrow.transfer(table, size="width", lr="lr", loss="loss")
    >>> found.ladders[0].drift.slope.value, found.ladders[0].verdict.why
    (0.0, 'one seed gives no interval')
    """
    asked = {"size": size, "lr": lr, "loss": loss}
    if isinstance(store, str | Path):
        store = [store]
    if isinstance(store, Sequence) and len(store) == 1 and not Path(store[0]).is_file():
        if not any(asked.values()):
            return transfer_results(by_setting(opened(store[0]).runs))
    elif isinstance(store, Store) and not any(asked.values()):
        return transfer_results(by_setting(store.runs))
    if isinstance(store, Store):
        store = store.runs
    from mugrow.analysis.transfer.own_sweep import SweepColumns, own_transfer

    if size is None or lr is None or loss is None:
        absent = ", ".join(f"--{name}" for name, given in asked.items() if given is None)
        raise UserError(f"a table needs its columns named: {absent} of {_columns(store)}")
    groups = (by,) if isinstance(by, str) else tuple(by)
    return own_transfer(store, SweepColumns(size, lr, loss, seeds, groups, where))


def _columns(table: pd.DataFrame | Sequence[str | Path]) -> str:
    from mugrow.analysis.read.table import table_in

    return ", ".join(map(str, table_in(table).frame.columns))


def transfer_results(every: Sequence[Sweep]) -> TransferResults:
    """Of the runs of every setting (``sweep.by_setting``); those that were not searched count for
    operators' settings alone."""
    found = [one for one in every if one.searched]
    whole, skipped = ladders(found)
    labels = sweep_labels(found)
    return TransferResults(
        sweeps=tuple(map(swept, found, labels)),
        ladders=compared(whole, ladder_labels(whole), found),
        skipped=tuple(_skipped(one, labels[found.index(one.sweeps[0])]) for one in skipped),
        operator_settings=operator_settings(every),
    )


def compared(
    whole: Sequence[Ladder], labels: Sequence[str], found: Sequence[Sweep]
) -> tuple[LadderResult, ...]:
    """Ladders of the sweeps ``found``, each under its label."""
    jackknifed = [measured(ladder) for ladder in whole]
    labelled = zip(jackknifed, labels, asymptotes(jackknifed), strict=True)
    return tuple(_ladder(one, label, limit, found) for one, label, limit in labelled)


def sweep_labels(found: Sequence[Sweep]) -> list[str]:
    """What tells a sweep from others but for parametrization, shape and initial scale."""
    said = SAID | {"model.width", "model.depth", "hyper.init_std"}
    return _by_start(found, [sweep.setting for sweep in found], said)


SAID = {"parametrization", "start.method"}


def ladder_labels(found: Sequence[Ladder]) -> list[str]:
    """What tells a ladder from others along its axis, but for the parametrization."""
    labels = [""] * len(found)
    for axis in {ladder.axis for ladder in found}:
        places = [place for place, ladder in enumerate(found) if ladder.axis is axis]
        along = [found[place] for place in places]
        apart = _by_start([one.rungs[0] for one in along], [one.common for one in along], SAID)
        for place, ladder, label in zip(places, along, apart, strict=True):
            beside = "scratch at the targets of growth" if _is_companion(ladder) else ""
            labels[place] = ", ".join(filter(None, (label, ladder.axis.note, beside)))
    return labels


def _is_companion(ladder: Ladder) -> bool:
    return ladder.reference is not None and not ladder.grown


def _by_start(first: Sequence[Sweep], settings: Sequence[Setting], said: set[str]) -> list[str]:
    """Labels among those from scratch and among the grown; a grown one begins with its method."""
    labels = [""] * len(first)
    for grown in (False, True):
        places = [place for place, sweep in enumerate(first) if (sweep.method != SCRATCH) == grown]
        apart = variants([settings[place] for place in places], said)
        for place, label in zip(places, apart, strict=True):
            parts = (first[place].method if grown else "", label)
            labels[place] = ", ".join(filter(None, parts))
    return labels


def swept(sweep: Sweep, label: str) -> SweepResult:
    """A sweep under its label."""
    columns = zip(sweep.log2_lr, sweep.mean_loss, sweep.loss.T, sweep.status, strict=True)
    best = sweep.optimum if sweep.finished else NO_OPTIMUM
    return SweepResult(
        parametrization=sweep.parametrization,
        method=sweep.method,
        width=sweep.width,
        depth=sweep.depth,
        variant=label,
        init_std=sweep.init_std,
        n_seeds=len(sweep.seeds),
        run_flops=sweep.run_flops,
        search_flops=sweep.search_flops,
        points=tuple(
            SweepPoint(float(log2_lr), float(loss), per_seed, status)
            for log2_lr, loss, per_seed, status in columns
        ),
        argmin_log2_lr=best.argmin_log2_lr,
        argmin_loss=best.argmin_loss,
        vertex_log2_lr=_number(best.vertex_log2_lr),
        vertex_loss=_number(best.vertex_loss),
        curvature=_number(best.curvature),
        edge=best.edge,
    )


NO_OPTIMUM = Optimum(argmin_log2_lr=math.nan, argmin_loss=math.nan)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _ladder(
    found: JackknifedLadder, label: str, limit: Asymptote, sweeps: Sequence[Sweep]
) -> LadderResult:
    ladder = found.ladder
    sizes = [rung(found, place) for place in range(len(ladder.rungs))]
    every = pairs(found)
    slope = drift(found)
    first = ladder.rungs[0]
    return LadderResult(
        axis=ladder.axis.name,
        method=first.method,
        parametrization=first.parametrization,
        variant=label,
        reference_log2_lr=ladder.reference,
        n_seeds=len(first.seeds),
        rungs=tuple(
            LadderRung(**vars(one), sweep=sweeps.index(its), width=its.width, depth=its.depth)
            for one, its in zip(sizes, ladder.rungs, strict=True)
        ),
        pairs=tuple(every),
        drift=slope,
        same_argmin=same_argmin(found),
        asymptote=limit,
        verdict=verdict(sizes, slope, widest(every)),
    )


def width_drift(runs: pd.DataFrame, parametrization: str) -> Interval:
    """Of the best learning rate along width, in log2 per doubling, on the first ladder of a
    parametrization; nan where none has it. ``runs`` has the columns of ``runs.parquet``."""
    for ladder in ladders(sweeps(runs))[0]:
        if (ladder.axis.name, ladder.rungs[0].parametrization) == ("width", parametrization):
            return drift(measured(ladder)).slope
    return NOTHING


def widest(every: Iterable[Pair]) -> Pair:
    """The smallest size's best rate at the largest."""
    return max(every, key=lambda pair: pair.target / pair.proxy)


def _skipped(one: SkippedSweeps, label: str) -> SkippedLadder:
    return SkippedLadder(
        sweeps=tuple(
            f"w{sweep.width}-d{sweep.depth}, init std {sweep.init_std:g}" for sweep in one.sweeps
        ),
        parametrization=one.sweeps[0].parametrization,
        variant=label,
        reason=one.reason,
    )


def operator_settings(every: Iterable[Sweep]) -> OperatorSettings:
    """Of the runs of every setting, those that vary an operator's own parameters."""
    found, refused = comparisons(every)
    labels = _by_start([one.first.sweep for one in found], [one.common for one in found], SAID)
    return OperatorSettings(
        compared=tuple(_compared(one, label) for one, label in zip(found, labels, strict=True)),
        skipped=tuple(map(_refused, refused)),
    )


def _compared(one: SettingComparison, label: str) -> SettingResult:
    rungs = tuple(operator_rungs(one))
    return SettingResult(
        parametrization=one.first.sweep.parametrization,
        method=one.first.sweep.method,
        variant=label,
        parameter=one.parameter,
        axis=one.axis,
        log2_lr=one.first.log2_lr,
        n_seeds=len(one.seeds),
        rungs=rungs,
        verdict=setting_verdict(rungs),
    )


def _refused(one: RefusedComparison) -> SkippedSetting:
    first = one.comparison.first.sweep
    return SkippedSetting(
        parametrization=first.parametrization,
        variant=first.method,
        parameter=one.comparison.parameter,
        axis=one.comparison.axis,
        values=one.values,
        log2_lrs=one.log2_lrs,
        reason=one.reason,
    )
