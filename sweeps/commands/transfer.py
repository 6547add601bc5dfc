"""``mugrow transfer``: do the hyperparameters of a study transfer, and what if they do not?"""

import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from mugrow.bench.spec import UserError
from mugrow.sweeps.commands.output import print_table

if TYPE_CHECKING:
    from mugrow.analysis.transfer.results import TransferResults


@dataclass(frozen=True)
class TransferCommand:
    """Whether the best learning rate of small models is that of large ones, from scratch and grown.

    Of every ladder of sweeps in a study's folder (width, depth, tokens, batch): shift and drift of
    the optimum, regret, the bowls' curvature, what the search cost, and a verdict by the rule that
    is printed with it. Of operators' own settings, such as a shrink factor, what it costs to keep
    at larger growths the value that was best at the smallest. What cannot be compared is listed
    with the reason.
    """

    directory: Positional[Path]
    """A folder of `mugrow run`."""
    json: bool = False
    """Print as JSON."""
    figures: Path | None = None
    """Draw the figures on transfer (SVG and PNG) into this folder."""

    def __call__(self) -> None:
        from mugrow.analysis.read.plain import to_json
        from mugrow.analysis.read.store import load
        from mugrow.analysis.report.transfer import listed, nothing
        from mugrow.analysis.transfer.results import transfer_results
        from mugrow.analysis.transfer.sweep import by_setting

        found = transfer_results(by_setting(load(self.directory).runs))
        if not (found.ladders or found.operator_settings.compared):
            raise UserError(f"{self.directory} has no ladder to compare: {nothing(found)}")
        if self.figures is not None:
            _draw(self.figures, found)
        if self.json:
            print(json.dumps(to_json(found), indent=2))
            return
        for title, rows in listed(found):
            print(title)
            print_table(rows)
            print()
        print(f"Verdicts. {found.rule}.")
        if found.operator_settings.compared:
            print(f"Of operators' own settings. {found.operator_settings.rule}.")
        print(f"Intervals: {found.intervals}.")


def _draw(folder: Path, found: "TransferResults") -> None:
    from mugrow.analysis.figures import style
    from mugrow.analysis.figures.transfer import BY_NAME

    for name, draw in BY_NAME.items():
        try:
            style.save(style.drawn(partial(draw, found)), folder, name)
            print(folder / f"{name}.svg", file=sys.stderr)
        except UserError as reason:
            for stale in (folder / f"{name}.svg", folder / f"{name}.png"):
                stale.unlink(missing_ok=True)
            print(f"{name}: {reason}", file=sys.stderr)
