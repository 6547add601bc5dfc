"""``mugrow bench``: timings of this machine."""

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
    """Time this machine: stacks of models (throughput) or fits of laws (fit), beside the usual way.

    All options but --json belong to throughput.
    """

    what: Positional[Literal["throughput", "fit"]]
    widths: tuple[int, ...] = (32, 64, 128, 256)
    stacks: tuple[int, ...] = (1, 8)
    """Members of a stack."""
    depth: int = 4
    context: int = 128
    batch: int = 16
    """Sequences of a batch."""
    seconds: float = 0.4
    """How long each of the 25 rounds of a program lasts."""
    threads: int | None = None
    """CPU threads; all cores by default."""
    device: str = "cpu"
    json: bool = False
    """Print as JSON."""

    def __call__(self) -> None:
        if self.what == "fit":
            from mugrow.analysis.laws.benchmark import fit_speed

            result = dataclasses.asdict(fit_speed())
            title = f"points: {result['points']}"
        else:
            result = self._throughput()
            title = f"matrix products: {result['matmul_gflops']:.1f} GFLOP/s"
        if self.json:
            print(json.dumps(result, indent=2))
        else:
            print(title)
            print_table(result["rows"])

    def _throughput(self) -> dict[str, Any]:
        import torch

        from mugrow.bench.throughput import throughput

        check_device(self.device)
        threads = self.threads if self.threads is not None else os.cpu_count() or 1
        check_positive("widths", *self.widths)
        check_positive("stacks", *self.stacks)
        check_positive("threads", threads)
        if not self.seconds > 0:
            raise UserError(f"--seconds must be above 0, not {self.seconds}")
        torch.set_num_threads(threads)
        return throughput(
            self.widths,
            self.stacks,
            depth=self.depth,
            context=self.context,
            sequences=self.batch,
            seconds=self.seconds,
            device=self.device,
        )
