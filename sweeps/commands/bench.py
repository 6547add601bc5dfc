"""``mugrow bench``: timings of this machine, and what stacks take of its memory."""

import dataclasses
import json
import os
from dataclasses import dataclass
from typing import Any, Literal

from tyro.conf import Positional

from mugrow.bench.spec import UserError
from mugrow.sweeps.commands.output import check_positive, print_table
from mugrow.sweeps.machine import check_device


@dataclass(frozen=True)
class BenchCommand:
    """Time stacks of models (throughput), fits of laws (fit) or what a pool of ten thousand runs
    costs the program that schedules it (pool) on this machine, beside the usual way; time one model
    trained by several ranks beside one process (ranks), and a study beside a process a run (study);
    or count the bytes that stacks take (memory).

    Of the options fit and pool have --json alone, and study --fractions; memory has no --positions,
    --compile, --seconds, --rounds or --threads, and ranks none of --positions, --compile and
    --stacks.
    """

    what: Positional[Literal["throughput", "memory", "fit", "pool", "ranks", "study"]]
    widths: tuple[int, ...] = (32, 64, 128, 256)
    stacks: tuple[int, ...] | None = None
    """Members of a stack; by default 1 and, of a width of at most 64, 14, of others 3."""
    depth: int = 2
    context: int = 64
    batch: int = 8
    """Sequences of a batch."""
    positions: Literal["rope", "learned"] = "rope"
    compile: bool = False
    """Stacks that torch compiles too, with the steps after which that is won back."""
    seconds: float = 0.4
    """How long each round of a program lasts."""
    rounds: int = 25
    threads: int | None = None
    """CPU threads; all cores by default, and of each rank 1."""
    ranks: int = 2
    """Processes that train one model together."""
    fractions: tuple[float, ...] = (0.15, 0.3)
    """Of the steps of the study quick; what its whole costs is arithmetic on two."""
    device: str = "cpu"
    json: bool = False
    """Print as JSON."""

    def __call__(self) -> None:
        if self.what == "fit":
            from mugrow.analysis.laws.benchmark import fit_speed

            result = dataclasses.asdict(fit_speed())
            title = f"points: {result['points']}"
        elif self.what == "pool":
            from mugrow.sweeps.pool_benchmark import pool_speed

            speed = dataclasses.asdict(pool_speed())
            result = speed | {"rows": [speed]}
            title = "CPU seconds, before and now"
        elif self.what == "study":
            from mugrow.sweeps.study_benchmark import study_cost

            result = {
                "rows": [dataclasses.asdict(one) for one in study_cost("quick", self.fractions)]
            }
            title = "seconds of the study quick, and of its runs as a process each"
        elif self.what == "memory":
            result = self._memory()
            title = f"bytes of tensors on {result['device']}"
        elif self.what == "ranks":
            result = self._ranks()
            title = f"one process and {self.ranks}, with {result['threads']} threads each"
        else:
            result = self._throughput()
            title = f"matrix products: {result['matmul_gflops']:.1f} GFLOP/s"
            if result["onednn_gflops"] is not None:
                title += f", of stacks {result['onednn_gflops']:.1f}"
        if self.json:
            print(json.dumps(result, indent=2))
            return
        print(title)
        print_table(result["rows"])
        for line in result.get("below", ()):
            print(line)

    def _memory(self) -> dict[str, Any]:
        from mugrow.bench.memory import memory

        self._check_sizes()
        return memory(
            self._cases(),
            depth=self.depth,
            context=self.context,
            sequences=self.batch,
            device=self.device,
        )

    def _ranks(self) -> dict[str, Any]:
        from mugrow.sweeps.ranks_benchmark import Asked, ranks_speed

        self._check_sizes()
        self._check_rounds(1)
        if self.batch < 2:
            raise UserError(f"--batch must be at least 2, a sequence a rank, not {self.batch}")
        if not 2 <= self.ranks <= self.batch:
            raise UserError(
                f"--ranks must be 2 to {self.batch}, the sequences of --batch, not {self.ranks}"
            )
        asked = Asked(
            self.widths,
            self.depth,
            self.context,
            self.batch,
            self.threads or 1,
            self.seconds,
            self.rounds,
            self.device,
        )
        rows = [dataclasses.asdict(row) for row in ranks_speed(asked, self.ranks)]
        return dataclasses.asdict(asked) | {"rows": rows}

    def _check_rounds(self, threads: int) -> None:
        check_positive("threads", threads if self.threads is None else self.threads)
        check_positive("rounds", self.rounds)
        if not self.seconds > 0:
            raise UserError(f"--seconds must be above 0, not {self.seconds}")

    def _check_sizes(self) -> None:
        check_device(self.device)
        check_positive("widths", *self.widths)
        check_positive("stacks", *(self.stacks or ()))

    def _cases(self) -> dict[int, tuple[int, ...]]:
        """Members of stacks, by width."""
        return {width: self.stacks or (1, 14 if width <= 64 else 3) for width in self.widths}

    def _throughput(self) -> dict[str, Any]:
        import torch

        from mugrow.bench.heap import keep_freed_memory
        from mugrow.bench.throughput import throughput

        threads = self.threads if self.threads is not None else os.cpu_count() or 1
        self._check_sizes()
        self._check_rounds(threads)
        if self.compile:
            from mugrow.bench.compiled import check_compiler

            check_compiler(self.device)
        torch.set_num_threads(threads)
        keep_freed_memory()  # as runs do, for the usual loops too
        return throughput(
            self._cases(),
            depth=self.depth,
            context=self.context,
            sequences=self.batch,
            positions=self.positions,
            compiled=self.compile,
            seconds=self.seconds,
            rounds=self.rounds,
            device=self.device,
        )
