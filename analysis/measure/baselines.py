"""From rows to comparisons: what each grown arm is charged, and what it is compared with.

A line is made of whole schedules, which the rows tell by their part: ``target`` runs from scratch,
and ``branch`` runs, each the end of a chain of runs that go on from each other. What a chain begins
with says whose line it is on:

    a ``trunk`` from random weights     scratch, of that shape
    a ``source``                        that source, trained on instead of grown

Under a schedule that must know its horizon a budget is one run, with nothing before it: it is on
the line of scratch or of a source as it has the batches of one or the other.

The charge of a row is what its whole chain cost: ``flops`` and ``flops_source``. A study from
before there were budgets has the one whole schedule of its targets: nothing can be compared at
equal charged compute there.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import pandas as pd

from mugrow.analysis.measure.arms import BASELINE
from mugrow.analysis.measure.equal_compute import BudgetLine, ChargedArm, Front, budget_line


class Ended(NamedTuple):
    """A run that finished, as far as comparisons need it. ``setting`` is what the runs of a line
    have in common beside their shape; ``charge`` are its own ``flops`` and its sources'."""

    run_id: str
    role: str
    method: str
    shape: str
    params: float
    setting: str
    source_run_id: str | None
    seed: int
    data_seed: int
    loss: float
    blocks: tuple[float, ...]
    flops: float
    charge: float

    def at(self, block: int | None) -> float:
        """The final loss, or that of one block of the final evaluation."""
        return self.loss if block is None else self.blocks[block]


@dataclass(frozen=True, eq=False)
class Comparisons:
    """The finished runs of a store, by id. ``block`` is the one of their final evaluation that all
    losses are of; None for the whole."""

    runs: Mapping[str, Ended]
    block: int | None = None

    @cached_property
    def _branches(self) -> list[tuple[Ended, list[Ended]]]:
        """Every branch with what it goes on from, the nearest first."""
        return [(run, self._line(run)) for run in self.runs.values() if run.role == "branch"]

    def _line(self, run: Ended) -> list[Ended]:
        found: list[Ended] = []
        while run.source_run_id is not None and run.source_run_id in self.runs:
            run = self.runs[run.source_run_id]
            found.append(run)
        return found

    def arm(self, run_ids: Iterable[str]) -> ChargedArm | None:
        """The runs of one label at one target, one a seed; None where none finished."""
        ended = [self.runs[run_id] for run_id in run_ids if run_id in self.runs]
        if not ended:
            return None
        charge = sum(run.charge for run in ended) / len(ended)
        return ChargedArm({run.seed: run.at(self.block) for run in ended}, charge)

    def scratch(self, run_ids: Iterable[str]) -> BudgetLine | None:
        """The line of the scratch runs of a target; None where none finished."""
        found = self.scratch_runs(run_ids)
        return self.line(found) if found else None

    def scratch_runs(self, run_ids: Iterable[str]) -> list[Ended]:
        """What ends a budget: the scratch runs of a target, and the branches of their shape and
        setting whose trunk began from random weights."""
        whole = [self.runs[run_id] for run_id in run_ids if run_id in self.runs]
        if not whole:
            return []
        kind = whole[0].shape, whole[0].setting
        batches = {run.data_seed for run in whole}
        alike = [
            run
            for run, before in self._branches
            if (run.shape, run.setting) == kind
            and (_from_scratch(before) if before else run.data_seed in batches)
        ]
        return [*whole, *alike]

    def sources(self, run_ids: Iterable[str]) -> BudgetLine | None:
        """The line of the last sources of these runs, trained on; None where there is none."""
        found = self.source_runs(run_ids)
        return self.line(found) if found else None

    def source_runs(self, run_ids: Iterable[str]) -> list[Ended]:
        """What ends a budget of the last sources of these runs, trained on."""
        ended = [self.runs[run_id] for run_id in run_ids if run_id in self.runs]
        ids = {run.source_run_id for run in ended if run.source_run_id is not None}
        sources = [self.runs[run_id] for run_id in ids if run_id in self.runs]
        batches = {(one.shape, one.setting, one.data_seed) for one in sources}
        return [
            run
            for run, before in self._branches
            if any(one.run_id in ids and one.shape == run.shape for one in before)
            or (not before and (run.shape, run.setting, run.data_seed) in batches)
        ]

    def flops_a_seed(self, line: Iterable[Ended], arm: Iterable[str]) -> float:
        """What a line takes for one seed: its runs and all that they go on from, but for what the
        runs of an ``arm`` were grown from too."""
        shared = {
            one.run_id for run_id in arm if run_id in self.runs
            for one in self._line(self.runs[run_id])
        }  # fmt: skip
        every = {one.run_id: one for run in line for one in (run, *self._line(run))}
        own = [one for run_id, one in every.items() if run_id not in shared]
        return sum(one.flops for one in own) / len({one.seed for one in own})

    def front(self, scratch: Mapping[str, BudgetLine]) -> Front | None:
        """Of all shapes from scratch: the lines given by shape, those of the study's front, and
        sources that were trained from scratch and on. None where there is but one shape."""
        others: dict[str, list[Ended]] = {}
        for run, before in self._branches:
            alone = all(one.shape == run.shape for one in before)
            first = before[-1] if before else run
            if alone and first.method == BASELINE and run.shape not in scratch:
                others.setdefault(run.shape, []).append(run)
        lines = dict(scratch) | {shape: self.line(runs) for shape, runs in others.items()}
        if len(lines) < 2:
            return None
        params = {run.shape: run.params for run in self.runs.values()}
        return Front(lines, {shape: params[shape] for shape in lines})

    def line(self, runs: Iterable[Ended]) -> BudgetLine:
        """Of runs that each end a budget; those of one horizon have the same charge, whatever
        their seed."""
        losses: dict[float, dict[int, float]] = {}
        for run in runs:
            losses.setdefault(run.charge, {})[run.seed] = run.at(self.block)
        return budget_line(losses)


def _from_scratch(before: Sequence[Ended]) -> bool:
    return (before[-1].role, before[-1].method) == ("trunk", BASELINE)


def comparisons(runs: pd.DataFrame) -> Comparisons:
    """The finished runs of a store's table ``runs``."""
    finished = runs[runs["status"] == "finished"]
    columns = (
        *("run_id", "role", "method", "width", "depth", "params", "spec", "source_run_id", "seed"),
    )
    rows = zip(
        *(finished[column].tolist() for column in columns),
        finished["final_val_loss"].tolist(),
        _blocks(finished),
        finished["flops"].tolist(),
        (finished["flops"] + finished["flops_source"].fillna(0.0)).tolist(),
        strict=True,
    )
    found: dict[str, Ended] = {}
    for row in rows:
        id_, role, method, width, depth, params, text, source, seed, loss, blocks, flops, charge = (
            row
        )
        spec = json.loads(text)
        found[id_] = Ended(
            run_id=id_,
            role=role,
            method=method,
            shape=f"w{width}-d{depth}",
            params=float(params),
            setting=_setting(spec),
            source_run_id=source if isinstance(source, str) else None,
            seed=int(seed),
            data_seed=int(spec.get("data_seed", seed)),
            loss=float(loss),
            blocks=blocks,
            flops=float(flops),
            charge=float(charge),
        )
    return Comparisons(found)


def _blocks(runs: pd.DataFrame) -> list[tuple[float, ...]]:
    """Losses of the blocks of each final evaluation; none in tables from before there was one."""
    if "final_block_losses" not in runs:
        return [()] * len(runs)
    return [
        () if losses is None else tuple(map(float, losses)) for losses in runs["final_block_losses"]
    ]


def _setting(spec: Mapping[str, Any]) -> str:
    kept = ("model", "parametrization", "hyper", "batch_sequences", "optimizer")
    setting = {key: spec.get(key) for key in kept}
    return json.dumps(setting | {"corpus": spec["data"]["corpus_sha256"]}, sort_keys=True)
