"""How long a study will take: a few steps of each shape are timed, and the rest is arithmetic.

The rate of a shape is measured once, with one member and one thread, which is how workers run on a
CPU, and on fewer sequences where a step would take long: a token takes as long. Validation adds a
third of a training pass for each of its tokens. Where another device is asked for, its rates come
from a table (``mugrow.sweeps.rates``), and nothing is timed. While a study runs, what it has got
done in the time so far corrects the estimate of what is left.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mugrow.bench.flops import per_token
from mugrow.bench.spec import ModelSpec, RunSpec
from mugrow.bench.switches import one_thread
from mugrow.bench.throughput import matmul_gflops, probe
from mugrow.sweeps.display import Work, reports
from mugrow.sweeps.plan import Plan, PlannedStack
from mugrow.sweeps.rates import Device

TRUST_AFTER_S = 20.0
LARGEST_TRIED_FLOPS = 1e10  # a step of some tenths of a second
SHARE_OF_MATMUL = 0.5  # of the rate of large matrix products, for models that are mostly those

Rate = Callable[[RunSpec, int], float]  # tokens/s of a stack of so many members, all counted


class Estimate:
    """Estimates of one call of the program, which begins when this is made, for so many workers
    that train at a ``rate`` with each of their ``ranks``."""

    def __init__(self, workers: int, rate: Rate | None = None, ranks: int = 1) -> None:
        self.workers, self.rate, self.ranks = workers, rate or timed_here, ranks
        self.seconds_of: dict[str, float] = {}
        self.began_s = time.monotonic()
        self.done_before_s: float | None = None

    def work(
        self, plan: Plan, rows: Mapping[str, Any], running: Sequence[PlannedStack], folder: Path
    ) -> Work:
        """Where a study stands, given the rows of its ended runs and the stacks in flight."""
        stacks = (*plan.stacks, *plan.provisional)
        runs = [run.spec.run_id for stack in stacks for run in stack.runs]
        ended = Counter(rows[run_id]["status"] for run_id in runs if run_id in rows)
        whole_s = sum(self.seconds(stack) for stack in stacks)
        left_s = self.left(stacks, rows, running, folder)
        done_s = whole_s - sum(left_s)
        if self.done_before_s is None:
            self.done_before_s = done_s
        elapsed_s = time.monotonic() - self.began_s
        gained_s = done_s - self.done_before_s
        trusted = elapsed_s > TRUST_AFTER_S and gained_s > 0
        slowness = elapsed_s * self.workers / gained_s if trusted else 1.0
        return Work(
            in_flight=tuple(running),
            done_runs=ended.total(),
            all_runs=len(runs),
            done_s=done_s,
            whole_s=whole_s,
            left_s=self.wall(left_s) * slowness,
            ended=ended,
        )

    def left(
        self,
        stacks: Iterable[PlannedStack],
        rows: Mapping[str, Any],
        running: Sequence[PlannedStack],
        folder: Path,
    ) -> list[float]:
        """The seconds of a worker that each stack still needs."""
        shares = {
            stack.key: 1 - report["step"] / max(report["steps"], 1)
            for stack, report in zip(running, reports(folder, running), strict=True)
        }
        return [
            self.seconds(stack) * shares.get(stack.key, 1.0)
            for stack in stacks
            if any(run.spec.run_id not in rows for run in stack.runs)
        ]

    def wall(self, left_s: Sequence[float]) -> float:
        """Seconds until all has ended: the work over the workers, but no less than the longest
        stack takes alone."""
        return max(sum(left_s) / self.workers, max(left_s, default=0.0))

    def seconds(self, stack: PlannedStack) -> float:
        """The seconds one worker needs for a whole stack."""
        if stack.key not in self.seconds_of:
            spec = stack.runs[0].spec
            self.seconds_of[stack.key] = sum(
                alive * tokens / self.rate(spec, alive) / self.ranks
                for alive, tokens in _phases(stack)
            )
        return self.seconds_of[stack.key]


def _phases(stack: PlannedStack) -> Iterator[tuple[int, float]]:
    """Between the rungs of a stack: its members then, and the tokens of each, those of validations
    at a third."""
    spec = stack.runs[0].spec
    if not spec.train_steps:  # an imported model is evaluated, and that is all
        yield 1, spec.data.val_tokens / 3
        return
    whole = spec.tokens + spec.train_steps / spec.log_every * spec.data.val_tokens / 3
    alive, began = len(stack.runs), 0
    members_of_a_trial = len(stack.runs) / len(set(stack.trials))
    for step, keep in (*stack.rungs, (spec.train_steps, 0)):
        if alive:
            yield alive, whole * (step - began) / spec.train_steps
        alive, began = min(alive, round(keep * members_of_a_trial)), step


def on(device: Device) -> Rate:
    """The rates of a device of the table."""

    def rate(spec: RunSpec, members: int) -> float:
        precision = spec.precision if spec.dtype == "float32" else spec.dtype
        return device.tokens_per_s(spec.model, spec.batch_sequences, members, precision)

    return rate


def timed_here(spec: RunSpec, members: int) -> float:
    """The rate of one thread of this machine, which is the same however many members share it."""
    model = spec.model
    a_sequence = per_token(model) * model.context
    few = max(1, min(spec.batch_sequences, int(LARGEST_TRIED_FLOPS / a_sequence)))
    return _rate(model, few)


@cache
def _rate(model: ModelSpec, sequences: int) -> float:
    """Tokens/s of one member on one thread. A step too large to try is priced by its FLOPs."""
    with one_thread():
        if per_token(model) * sequences * model.context <= LARGEST_TRIED_FLOPS:
            return probe(model, sequences, members=1)
        return SHARE_OF_MATMUL * 1e9 * _matmul_gflops() / per_token(model)


@cache
def _matmul_gflops() -> float:
    """Of one thread; called with one."""
    return matmul_gflops()
