"""A study's bill beforehand: every run with its size and cost, and the time it would take.

A run trains ``6 N D`` FLOPs and more, as ``mugrow.bench.flops`` counts them. What depends on the
optimum still to be found is priced with a stand-in, which has the same shape, tokens and FLOPs.
The time is this machine's, of which a few steps are timed, or that of a device that need not be at
hand, by a table (``mugrow.sweeps.rates``). Nothing is started, here or elsewhere.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from mugrow.bench.device import SHARE, is_gpu
from mugrow.bench.flops import per_token
from mugrow.bench.model import count
from mugrow.bench.spec import ModelSpec, UserError
from mugrow.sweeps.ended import rows_of
from mugrow.sweeps.engines import AT_ONCE, engine
from mugrow.sweeps.estimate import Estimate, on
from mugrow.sweeps.execute import Experiment
from mugrow.sweeps.machine import (
    check_device_name,
    check_positive,
    listed_devices,
    of_this_machine,
    shared_out,
    worker_count,
)
from mugrow.sweeps.needs import LargestStack, check_fits, largest_stack
from mugrow.sweeps.plan import Plan, PlannedStack, SkippedGrowth
from mugrow.sweeps.preserved import claims_measured
from mugrow.sweeps.rates import DEVICES, MEASURED, device_of, word_of
from mugrow.sweeps.stack_size import Gpus
from mugrow.sweeps.torchrun import world


@dataclass(frozen=True)
class PricedRun:
    """A run and what it costs: ``params`` in all, ``tokens`` it trains on, ``flops`` of them.
    ``stand_in`` where its hyperparameters are not known yet, ``cached`` where it has ended."""

    role: Literal["proxy", "source", "target", "trunk", "branch"]
    name: str
    params: int
    tokens: int
    flops: float
    stand_in: bool
    cached: bool


@dataclass(frozen=True)
class Bill:
    """What an experiment costs. ``estimated_s`` are the seconds that what is left of it takes with
    ``workers`` processes, None on a device of which nothing is known, and ``device_s`` those of all
    of them together. ``runs`` are those that it needs whatever their losses; ``most_flops``
    are of all that it may need, at every budget, and at every look if none decides an arm.
    ``claims`` is what methods of others say that they preserve, and what was measured. ``price``
    is the device of the time, and ``sources`` where its rates are from. ``largest`` is the stack
    that takes the most, of a budget of ``memory_bytes`` where there is one."""

    runs: tuple[PricedRun, ...]
    skipped: tuple[SkippedGrowth, ...]
    workers: int
    estimated_s: float | None
    most_flops: float
    claims: tuple[str, ...] = ()
    price: str | None = MEASURED
    device_s: float | None = None
    sources: tuple[str, ...] = ()
    largest: LargestStack | None = None
    memory_bytes: float | None = None

    @property
    def largest_bytes(self) -> int:
        """What the largest stack takes as a whole."""
        return self.largest.whole_bytes if self.largest else 0

    @property
    def flops(self) -> float:
        """Of all runs, ended or not: the least that it costs."""
        return sum(run.flops for run in self.runs)


@dataclass(frozen=True)
class Machine:
    """What is priced: so many ``workers``, on a device of ``mugrow.sweeps.rates`` or, where it is
    ``measured``, on this machine's cores; None is a device of which nothing is known. So many
    ``ranks`` train a stack together, each on a device; what they send each other takes no time. A
    stack may take ``stated_bytes``; by default the share of a GPU that ``mugrow.bench.device`` has,
    and no limit on a CPU."""

    workers: int
    price: str | None = MEASURED
    ranks: int = 1
    stated_bytes: float | None = None
    recompute: bool = False

    @property
    def memory_bytes(self) -> float | None:
        """The bytes that a stack may take, of each rank; None is no limit, or not known."""
        if self.stated_bytes is not None or self.price is None:
            return self.stated_bytes
        device = device_of(self.price)
        return SHARE * device.memory_gb * 1e9 if device else None

    @property
    def gpus(self) -> Gpus | None:
        """The GPUs whose memory is known, if it is of such."""
        if self.memory_bytes is None or self.price == MEASURED:
            return None
        return Gpus(self.memory_bytes, self.workers, self.recompute, self.ranks)


def machine(
    workers: int | None,
    device: str,
    devices: str | None,
    on: str,
    price: str | None,
    ranks: int | None = None,
    memory_bytes: float | None = None,
    recompute: bool = False,
) -> Machine:
    """The machine that the command line and the API describe. None of it need be here, but what is
    said must be possible. Raises ``UserError``."""
    kind, options = engine(on)
    if devices is not None and kind.elsewhere:
        raise of_this_machine(kind.name)
    started = world()
    count = ranks or (started.size if started else 1)
    check_positive("ranks", count if ranks is None else ranks)
    listed = shared_out(listed_devices(devices), count)
    check_device_name(device)
    if price is not None:
        device_of(price)
    on_gpu = is_gpu((listed or (device,))[0])
    if on_gpu and price == MEASURED:
        raise UserError(
            f"--price {MEASURED} times the cores of this machine; for a GPU it is one of "
            f"{', '.join(DEVICES)}"
        )
    if workers is None and listed:
        workers = len(listed)
    elif workers is None and kind.elsewhere:
        workers = max(1, int(options.get("jobs") or options.get("tasks") or AT_ONCE))
    given = price or (gpu_here() if on_gpu else MEASURED)
    on_what = device if given == MEASURED else "cuda"
    workers = worker_count(workers, on_what, count)
    return Machine(workers, given, count, memory_bytes, recompute)


def gpu_here() -> str | None:
    """The GPU of this machine by its word of the table; None where there is none, or another."""
    import torch

    return word_of(torch.cuda.get_device_name()) if torch.cuda.is_available() else None


def bill(experiment: Experiment, pool: Path, machine: Machine) -> Bill:
    """What running the experiment costs, given the runs in ``pool``; writes nothing. Of this
    machine a few steps of each shape are timed. Raises ``UserError`` for what no run can have."""
    # a failed run is tried again
    finished = {one: row for one, row in rows_of(pool) if row["status"] != "failed"}
    plan = experiment.plan(finished)
    known = {stack.key for stack in plan.stacks}
    stacks = (*plan.stacks, *plan.provisional)
    check_fits(stacks, machine.stated_bytes, machine.recompute, machine.ranks)
    memory_bytes = machine.memory_bytes
    runs = [run for stack in stacks for run in _runs(stack, stack.key not in known, finished)]
    flops = sum(run.flops for run in runs)
    device = device_of(machine.price) if machine.price else None
    left_s: list[float] | None = None
    if machine.price is not None:
        estimate = Estimate(machine.workers, on(device) if device else None, machine.ranks)
        left_s = estimate.left(stacks, finished, (), pool)
    return Bill(
        runs=tuple(runs),
        skipped=plan.skipped,
        workers=machine.workers,
        estimated_s=None if left_s is None else estimate.wall(left_s),
        most_flops=max(flops, _flops(experiment.most(finished))) if experiment.most else flops,
        claims=tuple(claims_measured(plan)),
        price=machine.price,
        device_s=None if left_s is None else machine.ranks * sum(left_s),
        sources=device.sources if device else (),
        largest=largest_stack(stacks, memory_bytes, machine.recompute, machine.ranks),
        memory_bytes=memory_bytes,
    )


def _flops(plan: Plan) -> float:
    return sum(
        run.spec.tokens * _per_token(run.spec.model)
        for stack in (*plan.stacks, *plan.provisional)
        for run in stack.runs
    )


def _runs(
    stack: PlannedStack, stand_in: bool, finished: Mapping[str, object]
) -> Iterator[PricedRun]:
    for run in stack.runs:
        spec = run.spec
        yield PricedRun(
            role=run.role,
            name=spec.name,
            params=_params(spec.model),
            tokens=spec.tokens,
            flops=spec.tokens * _per_token(spec.model),
            stand_in=stand_in,
            cached=spec.run_id in finished,
        )


@cache
def _params(model: ModelSpec) -> int:
    return count(model)[0]


_per_token = cache(per_token)  # a thousand runs have a dozen shapes
