"""Grown models beside scratch, over sizes, growth factors and tokens per parameter.

Every run has a *horizon*, its tokens per parameter of its own, and a growth factor g, its
parameters over its source's, embeddings included in both; scratch has g = 1. Compute is C = 6 N D
of the target alone. So of one size and horizon all runs cost the same, and what a source had cost
is left out, unless it is said to be charged. (Mallik, Janowski, Hog et al. 2026, arXiv 2605.13405,
count like this.) At equal tokens per parameter a source costs 1 / g^2 of its target: a quarter at
g = 2, but more than half at g = 1.3, which this way of counting leaves out as well.

The *ladder* is every size beside the one grown by about two; its largest size is held out of all
laws. Its sizes overlap too little in compute to tell which is best at a budget: for that a few
budgets are spent on five sizes each, the *isoFLOP* runs, whose tokens follow.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.fit import FitResult, fit
from mugrow.analysis.laws.power_line import PowerLine, power_line
from mugrow.analysis.measure.measured import factor_table
from mugrow.analysis.measure.selection import between
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Array
from mugrow.bench.arm import ArmName, factors_json
from mugrow.bench.spec import Scalar, UserError

SCRATCH, SZP, NET2NET, CLONE = "scratch", "szp", "net2net", "hypercloning"
HORIZONS = (5, 10, 20, 30)  # tokens per parameter
USUAL = 20  # the horizon of every source, and of what is compared unless another is named
HELD_OUT_AT = 10
BUDGETS = (4, 8, 16, 32)  # tokens per parameter of the middle one of five sizes
FEWER_TOKENS = BUDGETS[:2]  # where the smallest of the five is best, and one smaller is tried
SHRINK, SHRINKS = 0.4, (0.2, 0.4, 0.6, 0.8, 1.0)
LEVELS = np.linspace(1 / 6, 1, 8)  # of a run's compute


def named(
    method: str, width: int, source: int = 0, horizon: int = USUAL, shrink: float = SHRINK
) -> ArmName:
    """The arm of a target; ``source`` is the width that it was grown from."""
    factors: dict[str, Scalar] = {"method": method, "width": width, "horizon": horizon}
    if source:
        factors["source"] = source
    if method == SZP:
        factors["shrink"] = shrink
    return ArmName(f"{method}, {horizon} tokens per parameter", **factors)


def at_budget(method: str, width: int, source: int, budget: int) -> ArmName:
    """The arm of a size on one of ``BUDGETS``; its source is named where it is grown."""
    factors: dict[str, Scalar] = {"method": method, "width": width, "budget": budget}
    if method != SCRATCH:
        factors |= {"source": source, "shrink": SHRINK}
    return ArmName(f"{method}, isoFLOP", **factors)


@dataclass(frozen=True)
class Sizes:
    """Widths. ``factors`` are the sources of each target whose growth factor is varied; ``ladder``
    the source of each size, and its horizons; ``held_out`` a target and its source; ``shrunk`` a
    target and the sources at which the shrink factor is varied, half its width the first; ``grid``
    a source and its target. A ladder's source is the one nearest to g = 2."""

    factors: Mapping[int, tuple[int, ...]]
    ladder: Mapping[int, tuple[int, tuple[int, ...]]]
    held_out: tuple[int, int]
    shrunk: tuple[int, tuple[int, ...]]
    grid: tuple[int, int]

    @property
    def larger(self) -> int:
        """The larger, or largest, target whose growth factor is varied."""
        return max(self.factors)

    def rungs(self) -> Iterator[tuple[int, int, int]]:
        """Width, source and horizon of the ladder, the size held out at its end."""
        for width, (source, horizons) in self.ladder.items():
            yield from ((width, source, horizon) for horizon in horizons)
        yield (*self.held_out, HELD_OUT_AT)

    def isoflop(self) -> dict[int, int]:
        """The five sizes that share a budget, each with its source: the largest rungs, with the
        one held out."""
        every = {width: source for width, (source, _) in self.ladder.items()}
        return dict(sorted((every | dict([self.held_out])).items())[-5:])

    def varied(self, method: str, width: int, horizon: int = USUAL) -> list[ArmName]:
        """Scratch and the target grown by every factor."""
        grown = (named(method, width, source, horizon) for source in self.factors[width])
        return [named(SCRATCH, width, horizon=horizon), *grown]


TO_20, TO_30 = HORIZONS[:3], HORIZONS
SIZES = {
    "cpu": Sizes(
        factors={16: (4, 8, 12), 24: (4, 8, 12, 16)},
        ladder={8: (4, TO_30), 12: (8, TO_30), 16: (8, TO_30), 24: (16, TO_20)},
        held_out=(32, 20),
        shrunk=(16, (8, 12)),
        grid=(8, 16),
    ),
    "gpu": Sizes(
        factors={64: (16, 32, 48), 96: (16, 32, 48, 64, 80)},
        ladder={32: (16, TO_30), 48: (32, TO_30), 64: (48, TO_30), 96: (64, TO_30)},
        held_out=(128, 96),
        shrunk=(64, (32, 48)),
        grid=(32, 64),
    ),
    "paper": Sizes(
        factors={512: (64, 128, 256), 768: (64, 128, 256, 512), 1280: (128, 256, 512, 768)},
        ladder={128: (64, TO_30), 256: (128, TO_30), 512: (256, TO_30), 768: (512, TO_30),
                1280: (768, TO_30)},
        held_out=(3072, 2048),
        shrunk=(512, (256, 128)),
        grid=(128, 512),
    ),
}  # fmt: skip


def sizes(store: Store) -> Sizes:
    return SIZES[store.study["scale"]]


@lru_cache(maxsize=8)  # claims and figures read it again and again
def finals(store: Store) -> pd.DataFrame:
    """A row for each finished run to a horizon: run_id, seed, factors (JSON), horizon, n
    (parameters), d (tokens), c (6 n d), g, loss. Raises ``UserError`` where there is none."""
    runs = store.runs[store.runs["status"] == "finished"]
    runs = runs.assign(horizon=factor_table(runs).reindex(columns=["horizon"])["horizon"])
    runs = runs.dropna(subset="horizon").reset_index(drop=True)
    if runs.empty:
        raise UserError("no run of any arm has finished")
    small = store.runs.set_index("run_id")["params"].reindex(runs["source_run_id"])
    return runs[["run_id", "seed", "factors"]].assign(
        horizon=runs["horizon"].astype(int),
        n=runs["params"],
        d=runs["tokens"],
        c=6.0 * runs["params"] * runs["tokens"],
        g=(runs["params"] / small.to_numpy(float)).fillna(1.0),
        loss=runs["final_val_loss"].astype(float),
    )


def isoflops(store: Store, method: str) -> pd.DataFrame:
    """A method's runs of ``isoflop`` sizes, with the budget in tokens per parameter of the middle
    one: n, d, c, loss, seed. Raises ``UserError`` where there is none."""
    runs = store.runs[store.runs["status"] == "finished"]
    said = factor_table(runs).reindex(columns=["budget", "method"])
    rows = runs[said["budget"].notna() & (said["method"] == method)]
    if rows.empty:
        raise UserError(f"no run of {method} has shared a budget")
    return pd.DataFrame({
        "seed": rows["seed"], "n": rows["params"], "d": rows["tokens"],
        "c": 6.0 * rows["params"] * rows["tokens"], "loss": rows["final_val_loss"].astype(float),
        "budget": said["budget"][rows.index].astype(int),
    })  # fmt: skip


def best_sizes(rows: pd.DataFrame) -> pd.DataFrame:
    """Of rows of ``isoflops``, means over seeds: c, n and d of the best size at each budget, where
    the parabola in ln n through the best one tried and its neighbours is lowest; without budgets at
    which the best is at the edge."""
    found = []
    for _, tried in rows.groupby("budget"):
        mean = tried.groupby("n")["loss"].mean()
        best = math.exp(between(np.log(mean.index.to_numpy(float)), mean.to_numpy(float)))
        c = float(tried["c"].mean())  # steps are whole
        found.append((c, best, c / (6 * best)))
    return pd.DataFrame(found, columns=["c", "n", "d"]).dropna()


def best_line(best: pd.DataFrame, quantity: str) -> PowerLine:
    """The power law of ``best_sizes`` against compute; of nan for fewer than three."""
    if len(best) < 3:
        return PowerLine(math.nan, math.nan, math.nan)
    return power_line(best["c"].to_numpy(float), best[quantity].to_numpy(float))


def of_arms(store: Store, arms: Iterable[ArmName]) -> pd.DataFrame:
    """The rows of ``finals`` of these arms."""
    rows = finals(store)
    found: pd.DataFrame = rows[rows["factors"].isin([factors_json(one) for one in arms])]
    return found


def factor(store: Store, name: ArmName) -> float:
    """The growth factor of an arm."""
    return float(of_arms(store, [name])["g"].iloc[0])


def ladder(store: Store, method: str, held_out: bool | None = None) -> pd.DataFrame:
    """A method's runs of every size at all horizons; of the size held out alone, or without it."""
    arms = (
        named(method, width, 0 if method == SCRATCH else source, horizon)
        for width, source, horizon in sizes(store).rungs()
    )
    rows = of_arms(store, arms)
    largest = rows["n"] == rows["n"].max()
    return rows if held_out is None else rows[largest == held_out]


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean loss over seeds of each n, d, c, horizon, by ascending compute."""
    return rows.groupby(["c", "n", "d", "horizon"])["loss"].mean().reset_index()


def at_levels(store: Store, method: str, width: int, horizon: int = USUAL) -> pd.DataFrame:
    """Losses of a target from scratch and from every source of a method at ``LEVELS`` of the
    compute, of those seeds that have them all: columns c, g, seed, n, loss."""
    rows = of_arms(store, sizes(store).varied(method, width, horizon))
    rows = rows[rows.groupby("seed")["g"].transform("nunique") == rows["g"].nunique()]
    losses = along(store, rows, LEVELS)
    at = rows.loc[rows.index.repeat(len(LEVELS)), ["c", "g", "seed", "n"]]
    at["c"] *= np.tile(LEVELS, len(rows))
    return at.assign(loss=losses.ravel()).reset_index(drop=True)


def along(store: Store, rows: pd.DataFrame, shares: Array) -> Array:
    """Validation losses (rows, shares) of runs at these shares of their tokens, the column d."""
    logged = store.curves[store.curves["run_id"].isin(rows["run_id"])].dropna(subset="val_loss")
    curves = dict(list(logged.groupby("run_id")))
    found = np.empty((len(rows), len(shares)))
    for place, (run_id, d) in enumerate(zip(rows["run_id"], rows["d"], strict=True)):
        curve = curves[run_id]
        found[place] = np.interp(shares * d, curve["tokens"], curve["val_loss"])
    return found


def front(mean: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``means`` with a lower loss than any that cost no more."""
    best = mean["loss"].cummin()
    return mean[(mean["loss"] == best) & (best < best.shift(fill_value=math.inf))]


def line(mean: pd.DataFrame, quantity: str) -> PowerLine:
    """The power law of ``loss``, ``n`` or ``d`` against compute along the front; of nan where that
    is one point."""
    best = front(mean)
    return power_line(best["c"].to_numpy(float), best[quantity].to_numpy(float))


def law(rows: pd.DataFrame, **options: object) -> FitResult:
    """L = E + A / N^alpha + B / D^beta by the Huber loss, each run a group of its own."""
    points = {name: rows[name].to_numpy(float) for name in ("n", "d", "loss")}
    return fit(get_form("chinchilla"), points, **options)  # type: ignore[arg-type]
