"""Pictures that answer to the reader: what ``charts.js`` draws on a page, as plain data.

A chart is a set of series on axes that the reader chooses; the last target, the largest, is shown
first. A loss curve is sent once: whatever its
x is counted in, tokens, FLOPs or seconds, is a straight line in its steps, so that two numbers a
unit are enough. Losses keep five digits, which is less than a pixel of any screen.

Each chart has a picture by matplotlib beside it, for paper and for readers without scripts; colours
are the same.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.colors import to_hex

from mugrow.analysis import words
from mugrow.analysis.figures import style
from mugrow.analysis.figures.curves import DRAWN
from mugrow.analysis.figures.equal_compute import kind_of, lines_of
from mugrow.analysis.measure.arms import BASELINE, label_arms
from mugrow.analysis.measure.baselines import comparisons
from mugrow.analysis.measure.recovery import labelled_targets
from mugrow.analysis.read.plain import JsonValue
from mugrow.analysis.read.store import Store
from mugrow.analysis.report.page import script_of
from mugrow.analysis.stats import Array
from mugrow.analysis.summary import Summary
from mugrow.analysis.transfer.results import SweepResult
from mugrow.bench.spec import UserError

MOST_RUNS = 400  # of a chart, targets first: more would weigh more than a page should
DIGITS = 5  # of a loss; what is counted has two more
LOSS = "validation loss (nats per token)"
DASHES = {"-": [], "--": [7, 4], ":": [2, 3], "-.": [7, 3, 2, 3]}
ROLES = ("target", "source", "trunk", "branch", "proxy")  # in the order of the panels


@dataclass(frozen=True)
class Scale:
    """An axis that may be chosen: ``key`` of the series' x, its label, whether it is logarithmic
    at first, and whether it falls to the right."""

    key: str
    label: str
    log: bool = False
    falls: bool = False


@dataclass(frozen=True, eq=False)
class Series:
    """One line or one point: ``panel`` and ``group`` are what it is chosen by, ``name`` what is
    said of it. ``y`` is (points,), ``x`` likewise or, by an axis' key, the offset and slope of a
    line in it. ``low`` and ``high`` bound a band; ``marks`` draws points too."""

    name: str
    group: str
    panel: str
    colour: str
    x: Array
    y: Array
    dash: str = "-"
    axes: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    low: Array | None = None
    high: Array | None = None
    marks: bool = False
    lowest: float | None = None  # what the pointer compares with


@dataclass(frozen=True, eq=False)
class Chart:
    """A chart of a page: the figure ``name`` is the picture of the same. ``compared`` is what the
    difference to a series' ``lowest`` is called; ``note`` says what is left out, ``says`` what the
    chart shows to who cannot see it."""

    name: str
    title: str
    panel: str
    x: tuple[Scale, ...]
    y: Scale
    series: tuple[Series, ...]
    compared: str = ""
    note: str = ""
    says: str = ""

    def to_script(self) -> Markup:
        """The data as a script element, which no text of a file can end."""
        return script_of(self._plain(), "chart-data")

    def _plain(self) -> Mapping[str, JsonValue]:
        shared: dict[tuple[float | None, ...], int] = {}  # x that several series have
        series = []
        for one in self.series:
            place = shared.setdefault(tuple(_digits(one.x, DIGITS + 2)), len(shared))
            plain: dict[str, JsonValue] = {
                "name": one.name, "group": one.group, "panel": one.panel, "colour": one.colour,
                "x": place, "y": _digits(one.y),
            }  # fmt: skip
            if one.axes:
                plain["axes"] = {key: _digits(line, DIGITS + 2) for key, line in one.axes.items()}
            if one.dash != "-":
                plain["dash"] = DASHES[one.dash]
            if one.low is not None and one.high is not None:
                plain |= {"low": _digits(one.low), "high": _digits(one.high)}
            if one.marks:
                plain["marks"] = True
            if one.lowest is not None:
                plain["lowest"] = _digit(one.lowest)
            series.append(plain)
        return {
            "name": self.name, "title": self.title, "panel": self.panel, "compared": self.compared,
            "note": self.note, "says": self.says,
            "x": [vars(scale) for scale in self.x], "y": vars(self.y),
            "shared": [list(x) for x in shared], "series": series,
        }  # fmt: skip


def of_study(
    summary: Summary, store: Store, says: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Chart]:
    """The charts that a study has the rows for, by the figure that each stands beside, whose
    alternative text each has of ``says``."""
    made = (curves(store), bowls(summary), savings(summary), front(summary, store))
    return {
        chart.name: replace(chart, says=says.get(chart.name, "")) for chart in made if chart.series
    }


def curves(store: Store) -> Chart:
    """Every run's validation loss as it trained, against what the reader counts in."""
    logged = store.curves[store.curves["val_loss"].notna() & (store.curves["step"] > 0)]
    by_run = dict(iter(logged.groupby("run_id")))
    named = _named(store)
    found = []
    for run in store.runs.to_dict("records"):
        rows = by_run.get(run["run_id"])
        if rows is None or len(rows) < 2:
            continue
        panel, group, seed = named[run["run_id"]]
        rows = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, DRAWN).round().astype(int))]
        steps = rows["step"].to_numpy(dtype=float)
        flops = _line(steps, rows["flops"].to_numpy(dtype=float))
        source = _or_zero(run["flops_source"])
        seconds = _or_zero(run["wall_s"]) / steps[-1]
        look = style.line_style(group)
        found.append(Series(
            f"{group}, seed {seed}", group, panel, look.colour, steps,
            rows["val_loss"].to_numpy(dtype=float), look.line,
            {"tokens": _line(steps, rows["tokens"].to_numpy(dtype=float)), "flops": flops,
             "charged": (flops[0] + source, flops[1]), "seconds": (0.0, seconds)},
        ))  # fmt: skip
    panels = list(dict.fromkeys(one.panel for one in found))
    found.sort(
        key=lambda one: (
            ROLES.index(one.panel.split()[0]), -panels.index(one.panel), one.group != BASELINE
        )
    )  # fmt: skip
    return Chart(
        "curves", "Loss curves of all runs", "runs",
        (Scale("charged", "FLOPs with the source’s", log=True),
         Scale("flops", "FLOPs", log=True), Scale("tokens", "tokens", log=True),
         Scale("steps", "steps"), Scale("seconds", "seconds, at the run’s mean speed")),
        Scale("loss", LOSS), tuple(found[:MOST_RUNS]),
        note=f"{MOST_RUNS} of {len(found)} runs" if len(found) > MOST_RUNS else "",
    )  # fmt: skip


def bowls(summary: Summary) -> Chart:
    """Final loss against learning rate: a line a size, its regret under the pointer."""
    found = []
    for sweep in summary.sweeps:
        known = [point for point in sweep.points if point.known]
        if not known:
            continue
        seeds = [point.per_seed[np.isfinite(point.per_seed)] for point in known]
        found.append((sweep, Series(
            f"w{sweep.width} d{sweep.depth}", f"w{sweep.width} d{sweep.depth}", _searched(sweep),
            "", np.array([point.log2_lr for point in known]),
            np.array([point.loss for point in known]), marks=True,
            low=np.array([one.min() for one in seeds]), high=np.array([one.max() for one in seeds]),
            lowest=min(point.loss for point in known),
        )))  # fmt: skip
    colours = style.shades((sweep.width, sweep.depth) for sweep, _ in found)
    series = [
        Series(**{**vars(one), "colour": to_hex(colours[sweep.width, sweep.depth])})
        for sweep, one in found
    ]
    return Chart(
        "transfer", "Loss against learning rate", "sweep", (Scale("x", "log₂ learning rate"),),
        Scale("loss", "final " + LOSS), tuple(series), "above the lowest of its size",
    )  # fmt: skip


def savings(summary: Summary) -> Chart:
    """The speed-up over scratch at every loss, in each accounting."""
    found = []
    last = list(dict.fromkeys(curve.target for curve in summary.savings_curves))[::-1]
    for curve in sorted(summary.savings_curves, key=lambda curve: last.index(curve.target)):
        loss, speedup, low, high = (
            np.asarray(values, dtype=float)
            for values in (curve.loss, curve.speedup, curve.lo, curve.hi)
        )
        reached = np.isfinite(speedup)
        if not reached.any():
            continue
        look = style.line_style(curve.label)
        found.append(Series(
            curve.label, curve.label, f"{curve.target}, {words.ACCOUNTINGS[curve.accounting]}",
            look.colour, loss[reached], speedup[reached], look.line,
            low=np.where(np.isfinite(low), low, speedup)[reached],
            high=np.where(np.isfinite(high), high, speedup)[reached], lowest=None,
        ))  # fmt: skip
    return Chart(
        "savings", "Speed-up over scratch at every loss", "target and accounting",
        (Scale("x", LOSS, falls=True),), Scale("speedup", "speed-up over scratch (×)", log=True),
        tuple(found),
    )  # fmt: skip


def front(summary: Summary, store: Store) -> Chart:
    """Every arm at what it was charged, beside what else that would have bought."""
    if not summary.equal_compute:
        return Chart("equal_compute", "", "", (), Scale("", ""), ())
    runs, arms = comparisons(store.runs), labelled_targets(store)
    found = []
    for target in reversed(dict.fromkeys(row.target for row in summary.equal_compute)):
        for name, line in lines_of(runs, arms[arms["target"] == target]).items():
            found.append(Series(
                name, name, target, "#000000" if name == BASELINE else style.GREY,
                np.asarray(line.flops, dtype=float), line.losses.mean(axis=0), kind_of(name),
                low=line.losses.min(axis=0), high=line.losses.max(axis=0), marks=True,
            ))  # fmt: skip
        for row in summary.equal_compute:
            if row.target == target and math.isfinite(row.loss.value):
                ends = [end if math.isfinite(end) else row.loss.value
                        for end in (row.loss.lo, row.loss.hi)]  # fmt: skip
                found.append(Series(
                    row.label, row.label, target, style.line_style(row.label).colour,
                    np.array([row.charge]), np.array([row.loss.value]),
                    low=np.array(ends[:1]), high=np.array(ends[1:]), marks=True,
                ))  # fmt: skip
    return Chart(
        "equal_compute", "Final loss against charged compute", "target",
        (Scale("x", "charged FLOPs", log=True),), Scale("loss", "final loss (nats per token)"),
        tuple(found),
    )  # fmt: skip


def _named(store: Store) -> dict[str, tuple[str, str, int]]:
    """Panel, group and seed of each run: a target's arm, another's method or rate."""
    found = {}
    for run in store.runs.to_dict("records"):
        panel = f"{run['role']} {run['parametrization']} w{run['width']} d{run['depth']}"
        rate = f"lr 2^{math.log2(run['lr']):g}" if run["lr"] > 0 else "lr 0"
        group = rate if run["role"] == "proxy" else run["method"]
        found[run["run_id"]] = (panel, group, int(run["seed"]))
    targets = _targets(store, {run_id: panel for run_id, (panel, _, _) in found.items()})
    for run_id, panel, label, seed in zip(
        targets["run_id"], targets["panel"], targets["label"], targets["seed"], strict=True
    ):
        found[run_id] = (str(panel), str(label), int(seed))
    return found


def _targets(store: Store, panels: Mapping[str, str]) -> pd.DataFrame:
    """The targets with ``label`` and ``panel``: of a study by their targets, of runs that no target
    and label tells apart by the ``panels`` given, under whatever label does."""
    try:
        targets = labelled_targets(store)
        return targets.assign(panel=[f"target {name}" for name in targets["target"]])
    except UserError:
        targets = store.runs[store.runs["role"] == "target"]
        shown = [panels[run_id] for run_id in targets["run_id"]]
        targets = targets.assign(target=shown, panel=shown)
    try:
        return targets.assign(label=label_arms(targets, store.runs))
    except UserError:
        return targets.assign(label=targets["method"])


def _searched(sweep: SweepResult) -> str:
    parts = (words.parametrization(sweep.parametrization), sweep.variant,
             "" if sweep.method == BASELINE else sweep.method)  # fmt: skip
    return ", ".join(part for part in parts if part)


def _line(steps: Array, values: Array) -> tuple[float, float]:
    """Offset and slope of what is counted in steps."""
    slope = (values[-1] - values[0]) / (steps[-1] - steps[0])
    return float(values[0] - slope * steps[0]), float(slope)


def _or_zero(value: float | None) -> float:
    return 0.0 if value is None or pd.isna(value) else float(value)


def _digits(values: Iterable[float], digits: int = DIGITS) -> list[float | None]:
    return [_digit(value, digits) for value in values]


def _digit(value: float, digits: int = DIGITS) -> float | None:
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
