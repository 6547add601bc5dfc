"""Maps of loss over learning rate and batch size, and where their lowest cells are.

A map's arm is the name of what was trained with ", map" after it; it has a run for each batch, rate
and seed. The best batch is one of those tried. The best rate at a batch is the vertex of the bowl
through its neighbours (``mugrow.analysis.transfer.optimum``). What is at the edge of those tried
may lie beyond it, so then a shift is unknown: nan.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mugrow.analysis.figures import style
from mugrow.analysis.measure.measured import arm, over_seeds
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Array, Interval
from mugrow.analysis.transfer.optimum import optimum

Cell = tuple[int, int]  # row of the batch, column of the rate
Compare = Callable[["Plane", "Plane"], float]


@dataclass(frozen=True, eq=False)
class Plane:
    """Mean losses (batches, rates), nan where not every seed finished; batches in tokens and rates
    in log2, both ascending."""

    batches: tuple[int, ...]
    log2_lr: Array
    loss: Array

    @property
    def best(self) -> Cell:
        row, column = np.unravel_index(np.nanargmin(self.loss), self.loss.shape)
        return int(row), int(column)

    @property
    def above(self) -> Array:
        return np.asarray(self.loss - np.nanmin(self.loss), dtype=np.float64)

    def best_rate(self, row: int) -> float:
        """Log2 of the best rate at a batch; nan at the edge of those tried."""
        found = optimum(self.log2_lr, self.loss[row])
        return float("nan") if found.edge else found.best_log2_lr


@dataclass(frozen=True, eq=False)
class Map:
    """``loss`` has shape (seeds, batches, rates)."""

    seeds: tuple[int, ...]
    batches: tuple[int, ...]
    log2_lr: Array
    loss: Array

    def mean(self, seeds: Sequence[int]) -> Plane:
        rows = [self.seeds.index(seed) for seed in seeds]
        return Plane(self.batches, self.log2_lr, self.loss[rows].mean(axis=0))


def map_of(name: str) -> str:
    """The arm of a map."""
    return f"{name}, map"


def read(store: Store, name: str) -> Map:
    """The map of what is called ``name``. Raises ``UserError`` where no run of it finished."""
    own = arm(store.runs, map_of(name))
    axes = [np.unique(own["seed"], return_inverse=True),
            np.unique(own["batch_tokens"], return_inverse=True),
            np.unique(np.log2(own["lr"]).round(6), return_inverse=True)]  # fmt: skip
    loss = np.full([len(values) for values, _ in axes], np.nan)
    loss[tuple(place for _, place in axes)] = own["final_val_loss"]
    seeds, batches, log2_lr = (values for values, _ in axes)
    return Map(tuple(map(int, seeds)), tuple(map(int, batches)), log2_lr, loss)


def over_pairs(store: Store, pairs: Sequence[tuple[str, str]], compare: Compare) -> Interval:
    """The mean over pairs, small and large, of what ``compare`` says of their maps."""
    maps = [(read(store, small), read(store, large)) for small, large in pairs]

    def mean(seeds: Sequence[int]) -> float:
        found = [compare(small.mean(seeds), large.mean(seeds)) for small, large in maps]
        return float(np.mean(found))

    return over_seeds(
        sorted(set.intersection(*(set(m.seeds) for both in maps for m in both))), mean
    )


def rate_shift(small: Plane, large: Plane) -> float:
    """Of the best rate, in log2, at the small one's best batch."""
    row, _ = small.best
    return large.best_rate(row) - small.best_rate(row)


def batch_shift(small: Plane, large: Plane) -> float:
    """Of the best batch, in log2."""
    rows = [plane.best[0] for plane in (small, large)]
    if not all(0 < row < len(small.batches) - 1 for row in rows):
        return float("nan")
    return float(np.log2(large.batches[rows[1]] / small.batches[rows[0]]))


def given_up(small: Plane, large: Plane) -> float:
    """The large one's loss at the small one's best cell over its own lowest, minus 1, percent."""
    return float(100 * (large.loss[small.best] / np.nanmin(large.loss) - 1))


def draw(planes: Sequence[Mapping[str, tuple[Plane, Cell | None]]]) -> Figure:
    """A row of maps for each mapping, flush right, each with the cell to be circled, if any."""
    columns = max(map(len, planes))
    figure, axes = style.panels(len(planes), columns)
    figure.set_figheight(2.3 * len(planes))
    everything = [plane.above.ravel() for row in planes for plane, _ in row.values()]
    top = 3 * float(np.nanmedian(np.concatenate(everything)))
    for panels, row in zip(axes, planes, strict=True):
        first = columns - len(row)
        for empty in panels[:first]:
            empty.set_axis_off()
        panels[first].set_ylabel("batch (tokens)")
        for axis, (name, (plane, circled)) in zip(panels[first:], row.items(), strict=True):
            image = draw_plane(axis, plane, circled, top)
            axis.set_title(f"{name}\nlowest {np.nanmin(plane.loss):.3f}", fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("log₂ learning rate")
    figure.colorbar(image, ax=list(axes.flat), label="loss above the lowest (nats)", pad=0.02)
    return figure


def draw_plane(axis: Axes, plane: Plane, circled: Cell | None, top: float) -> Any:
    """One map; its lowest cell starred."""
    image = axis.imshow(
        plane.above, cmap="cividis_r", vmin=0, vmax=top or 1, aspect="auto", origin="lower"
    )
    axis.set_xticks(range(len(plane.log2_lr)), [f"{rate:.3g}" for rate in plane.log2_lr])
    axis.set_yticks(range(len(plane.batches)), [str(batch) for batch in plane.batches])
    axis.grid(False)
    if circled is not None:
        axis.plot(circled[1], circled[0], "o", ms=17, mfc="none", mec="#D55E00", mew=1.4)
    style.mark_minimum(axis, plane.best[1], plane.best[0], "#D55E00")
    return image
