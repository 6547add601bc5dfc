"""``mugrow report``: a study's report, made again from its tables."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from sweeps.commands.output import print_summary


@dataclass(frozen=True)
class Report:
    """Write the report of a study's folder: HTML, figures, LaTeX tables and macros."""

    directory: Positional[Path]
    json: bool = False
    """Print the claims as JSON."""

    def __call__(self) -> None:
        from analysis.report.build import build

        print_summary(self.directory, build(self.directory), self.json)
