"""Maps of loss over learning rate and batch size, and where their lowest cells are.

A map has a run for each batch, rate and seed; its arm is what was trained, with ", map" after it.
The best batch is one of those tried. The best rate at a batch is the vertex of the bowl through its
neighbours (``mugrow.analysis.transfer.optimum``). What is at the edge of those tried may lie beyond
it, so then a shift is unknown: nan.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mugrow.analysis.measure.measured import arm
from mugrow.analysis.measure.quantity import Quantity, Sample, by_seed, percent
from mugrow.analysis.measure.selection import between
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Array
from mugrow.analysis.transfer.optimum import optimum
from mugrow.bench.arm import ArmName

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

    @property
    def best_batch(self) -> float:
        """Log2 of the best batch, each at its lowest loss; nan at the edge of those tried."""
        return between(np.log2(self.batches), np.nanmin(self.loss, axis=1))

    def best_rate(self, row: int) -> float:
        """Log2 of the best rate at a batch; nan at the edge of those tried."""
        found = optimum(self.log2_lr, self.loss[row])
        if found.edge or found.vertex_log2_lr is None:
            return between(self.log2_lr, self.loss[row])
        return found.vertex_log2_lr


@dataclass(frozen=True, eq=False)
class Map:
    """``loss`` has shape (seeds, batches, rates)."""

    seeds: tuple[int, ...]
    batches: tuple[int, ...]
    log2_lr: Array
    loss: Array

    def mean(self, seeds: Sequence[int] | None = None) -> Plane:
        """Over these seeds, or all."""
        rows = [self.seeds.index(seed) for seed in (self.seeds if seeds is None else seeds)]
        return Plane(self.batches, self.log2_lr, self.loss[rows].mean(axis=0))


def map_of(trained: ArmName) -> ArmName:
    """The arm of a map."""
    return trained.varied("map", part="map")


def read(store: Store, trained: ArmName) -> Map:
    """The map of what was trained. Raises ``UserError`` where no run of it finished."""
    rows = arm(store.runs, map_of(trained))
    axes = [np.unique(rows["seed"], return_inverse=True),
            np.unique(rows["batch_tokens"], return_inverse=True),
            np.unique(np.log2(rows["lr"]).round(6), return_inverse=True)]  # fmt: skip
    loss = np.full([len(values) for values, _ in axes], np.nan)
    loss[tuple(place for _, place in axes)] = rows["final_val_loss"]
    seeds, batches, log2_lr = (values for values, _ in axes)
    return Map(tuple(map(int, seeds)), tuple(map(int, batches)), log2_lr, loss)


@dataclass(frozen=True)
class Compared(Quantity):
    """What ``compare`` says of the maps of a small and a large model, means over seeds."""

    small: ArmName
    large: ArmName
    compare: Compare

    def of(self, store: Store) -> Sample:
        small, large = read(store, self.small), read(store, self.large)
        return Sample(
            frozenset(small.seeds) & frozenset(large.seeds),
            lambda drawn: self.compare(small.mean(drawn), large.mean(drawn)),
        )


def rate_shift(small: Plane, large: Plane) -> float:
    """Of the best rate, in log2, at the small one's best batch."""
    row, _ = small.best
    return large.best_rate(row) - small.best_rate(row)


def batch_shift(small: Plane, large: Plane) -> float:
    """Of the best batch, in log2."""
    return large.best_batch - small.best_batch


def given_up(small: Plane, large: Plane) -> float:
    """The large one's loss at the small one's best cell over its own lowest, minus 1, percent."""
    return float(100 * (large.loss[small.best] / np.nanmin(large.loss) - 1))


def over_each_cell(store: Store, small: ArmName, large: ArmName) -> tuple[Quantity, ...]:
    """The large one's loss at the small one's best cell over that of each cell, in percent: the
    regret is the largest."""
    at, there = read(store, small).mean().best, read(store, large)
    cells = there.loss.reshape(len(there.seeds), -1)
    losses = [
        by_seed(dict(zip(there.seeds, cell, strict=True)))
        for cell in cells.T
        if not np.isnan(cell).any()
    ]
    chosen = by_seed(dict(zip(there.seeds, there.loss[:, *at], strict=True)))
    return tuple(percent(chosen, one) for one in losses)
