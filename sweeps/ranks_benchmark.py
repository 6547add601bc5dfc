"""How much faster several ranks train one model than one process does, with equal threads each.

One process, and then all ranks together, train the same model on as many tokens a step, in turns;
the others wait meanwhile without work. A ratio of rates is the median of the rounds' own ratios,
so that a machine whose speed drifts favours neither. Of N ranks it is at most N: what they send
each other, twice the weights a step, takes time that the tokens of a step must outweigh.
"""

import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch.distributed.distributed_c10d import Store

from mugrow.bench.data_parallel import Ranks, joined
from mugrow.bench.endless import endless_run, endless_steps
from mugrow.bench.model import count
from mugrow.bench.spec import ModelSpec
from mugrow.sweeps.ranks import assembled, device_of, follow_the_worker

FOLLOW = "from mugrow.sweeps.ranks_benchmark import follow; follow()"


@dataclass(frozen=True)
class Asked:
    """Models of these widths, with batches of so many sequences; threads of each rank, and rounds
    of at least so many seconds a program."""

    widths: tuple[int, ...]
    depth: int
    context: int
    sequences: int
    threads: int
    seconds: float
    rounds: int
    device: str


@dataclass(frozen=True)
class RanksSpeed:
    """Tokens a second of one process and of all ranks, and their ratio: by the clock, and as it
    would be if ranks never waited, by the CPU seconds that they take."""

    width: int
    parameters: int
    tokens_a_step: int
    ranks: int
    tokens_per_s_alone: float
    tokens_per_s: float
    ratio: float
    ratio_by_cpu: float


def ranks_speed(asked: Asked, count: int) -> list[RanksSpeed]:
    """Measure, by width; starts the other ranks, which end with this."""
    device = device_of(asked.device, 0)
    with assembled(count, False, device, json.dumps(asdict(asked)), FOLLOW) as ranks:
        return [_measured(asked, width, ranks, device) for width in asked.widths]


def follow() -> None:
    """What the other ranks do."""

    def measure(order: str, ranks: Ranks, index: int, store: Store) -> None:
        said = json.loads(order)
        asked = Asked(**(said | {"widths": tuple(said["widths"])}))
        device = device_of(asked.device, index)
        with joined(store, ranks, device):
            for width in asked.widths:
                _measured(asked, width, ranks, device)

    follow_the_worker(measure)


def _measured(asked: Asked, width: int, ranks: Ranks, device: str) -> RanksSpeed:
    torch.set_num_threads(asked.threads)
    model = ModelSpec(width=width, depth=asked.depth, context=asked.context, positions="rope")
    run = endless_run(model, asked.sequences)
    alone, together = endless_steps([run], device), endless_steps([run], device, ranks=ranks)
    calls = 1
    for step in (alone, together):  # a first step is slower
        _timed(step, 1, ranks)
        calls = max(calls, math.ceil(asked.seconds / _timed(step, 1, ranks)[0]))
    calls = ranks.told(calls)
    rounds = [
        (*_timed(alone if ranks.leads else _nothing, calls, ranks), *_timed(together, calls, ranks))
        for _ in range(asked.rounds)
    ]
    tokens = calls * run.batch_tokens
    return RanksSpeed(
        width=width,
        parameters=count(model)[0],
        tokens_a_step=run.batch_tokens,
        ranks=ranks.count,
        tokens_per_s_alone=tokens / statistics.median(one[0] for one in rounds),
        tokens_per_s=tokens / statistics.median(one[2] for one in rounds),
        ratio=statistics.median(one[0] / one[2] for one in rounds),
        ratio_by_cpu=statistics.median(ranks.count * one[1] / one[3] for one in rounds),
    )


def _nothing() -> None:
    """What a rank does while another works alone."""


def _timed(step: Callable[[], object], calls: int, ranks: Ranks) -> tuple[float, float]:
    """Seconds of so many steps, from when all ranks begin to when all have ended, and CPU seconds
    of all of them."""
    ranks.told(0)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    for _ in range(calls):
        step()
    cpu_s = ranks.total(torch.tensor(time.process_time() - began_cpu_s, dtype=torch.float64))
    return time.perf_counter() - began_s, cpu_s.item()
