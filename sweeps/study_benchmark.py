"""What a study costs beside the same runs as one process each, the way that most sweeps are run.

    ours     `mugrow run`, from its start to its report
    alone    every run of it in a process of its own, so many at a time, each as soon as its source
             has ended, the longest first; nothing is planned, collected or drawn

Both train with the same code, so that what differs is stacks and the start of processes. A fraction
of the study's steps is enough: cost is a line in the steps, and of two fractions the whole is
estimated by arithmetic. Seconds of the clock hold on idle cores alone, CPU seconds on shared ones.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mugrow.bench.flops import per_token
from mugrow.bench.run import Job
from mugrow.bench.spec import RunSpec, UserError, run_spec_from_json
from mugrow.sweeps.recipes import recipe
from mugrow.sweeps.worker import ENDED, write_order

PROGRAM = "import sys; from mugrow.sweeps.worker import obey; print(obey(sys.argv[1]))"
STEPS = ("proxy_steps", "source_steps", "target_steps")
ASK_EVERY_S = 0.02


@dataclass(frozen=True)
class StudyCost:
    """Seconds, by the clock and of CPUs, of a study at a fraction of its steps, and of its runs as
    processes of their own; how much more those took. Of ``whole`` all is by arithmetic."""

    fraction: float
    whole: bool
    runs: int
    wall_s: float
    cpu_s: float
    alone_wall_s: float
    alone_cpu_s: float
    ratio: float
    ratio_by_cpu: float


def study_cost(
    name: str = "quick", fractions: Sequence[float] = (0.15, 0.3), at_once: int = 2
) -> list[StudyCost]:
    """Measure at each fraction, and say what the whole would cost where there are two. Raises
    ``UserError`` for fractions that are none."""
    if not fractions or not all(0 < fraction <= 1 for fraction in fractions):
        raise UserError("--fractions are above 0 and at most 1")
    found = [_measured(name, fraction, at_once) for fraction in sorted(set(fractions))]
    if len(found) > 1 and found[-1].fraction < 1:
        found.append(_whole(found[0], found[-1]))
    return found


def _measured(name: str, fraction: float, at_once: int) -> StudyCost:
    with tempfile.TemporaryDirectory() as folder:
        ours, alone = Path(folder) / name, Path(folder) / "alone"
        wall_s, cpu_s = _timed(lambda: _run_ours(name, ours, fraction, at_once))
        specs = [
            (run_spec_from_json(row["spec"]), row["role"])
            for row in pq.read_table(ours / "runs.parquet", columns=["spec", "role"]).to_pylist()
        ]
        alone_wall_s, alone_cpu_s = _timed(lambda: _run_alone(specs, alone, name, at_once))
    return _cost(fraction, False, len(specs), wall_s, cpu_s, alone_wall_s, alone_cpu_s)


def _cost(
    fraction: float, whole: bool, runs: int, wall_s: float, cpu_s: float, alone_wall_s: float,
    alone_cpu_s: float,
) -> StudyCost:  # fmt: skip
    return StudyCost(
        fraction, whole, runs, wall_s, cpu_s, alone_wall_s, alone_cpu_s,
        ratio=alone_wall_s / wall_s, ratio_by_cpu=alone_cpu_s / cpu_s,
    )  # fmt: skip


def _whole(less: StudyCost, more: StudyCost) -> StudyCost:
    """Both costs on the line through two fractions, at 1."""

    def at_one(seconds: Callable[[StudyCost], float]) -> float:
        slope = (seconds(more) - seconds(less)) / (more.fraction - less.fraction)
        return seconds(more) + slope * (1 - more.fraction)

    return _cost(
        1.0, True, more.runs, at_one(lambda one: one.wall_s), at_one(lambda one: one.cpu_s),
        at_one(lambda one: one.alone_wall_s), at_one(lambda one: one.alone_cpu_s),
    )  # fmt: skip


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of the CPUs in the processes that have been started and ended."""
    began_s, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return time.monotonic() - began_s, cpu_s


def settings(name: str, fraction: float) -> list[str]:
    """The study's steps at a fraction of them, as `mugrow run --set` takes them."""
    study = recipe(name)
    return [f"{key}={max(1, round(fraction * getattr(study, key)))}" for key in STEPS]


def _run_ours(name: str, folder: Path, fraction: float, at_once: int) -> None:
    words = ["run", name, "--out", str(folder), "--workers", str(at_once), "--set"]
    _called([sys.executable, "-m", "mugrow", *words, *settings(name, fraction)])


def _called(words: list[str]) -> None:
    ended = subprocess.run(words, capture_output=True, text=True)
    if ended.returncode:
        raise UserError(f"{' '.join(words[2:4])}: {ended.stderr.strip().splitlines()[-1]}")


def _run_alone(specs: Iterable[tuple[RunSpec, str]], pool: Path, study: str, at_once: int) -> None:
    """Train each run in a process of its own, ``at_once`` at the same time."""
    waiting = {spec.run_id: (spec, role) for spec, role in specs}
    training: dict[str, subprocess.Popen[str]] = {}
    ended: set[str] = set()
    while waiting or training:
        for run_id in _next(waiting, ended)[: at_once - len(training)]:
            training[run_id] = _started(*waiting.pop(run_id), pool, study)
        for run_id in [one for one, process in training.items() if process.poll() is not None]:
            said = json.loads(training.pop(run_id).communicate()[0] or '{"kind": "killed"}')
            if said["kind"] != ENDED:
                raise UserError(f"a run as a process of its own was {said}")
            ended.add(run_id)
        time.sleep(ASK_EVERY_S)


def _next(waiting: Mapping[str, tuple[RunSpec, Any]], ended: set[str]) -> list[str]:
    """The runs whose sources have ended, the longest first."""
    ready = [
        spec
        for spec, _ in waiting.values()
        if spec.start.source_run_id is None or spec.start.source_run_id in ended
    ]
    ready.sort(key=lambda spec: -spec.tokens * per_token(spec.model))
    return [spec.run_id for spec in ready]


def _started(spec: RunSpec, role: str, pool: Path, study: str) -> "subprocess.Popen[str]":
    job = Job(folder=str(pool), study=study, key=spec.run_id, runs=(spec,), roles=(role,))
    words = [sys.executable, "-c", PROGRAM, str(write_order(job))]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
