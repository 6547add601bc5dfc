"""``mugrow importance``: which multipliers of modules a search found to matter."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from mugrow.bench.spec import UserError


@dataclass(frozen=True)
class ImportanceCommand:
    """Say what each multiplier of a search over modules is worth, and which are flat.

    The search is a study's with `modules` (see `mugrow run modules`). A multiplier's worth is what
    setting it to 1 costs, in nats per token, with its 95 % interval.
    """

    directory: Annotated[Positional[Path], arg(metavar="DIR")]
    """A folder of `mugrow run`."""
    json: bool = False
    """Print every number as JSON."""

    def __call__(self) -> None:
        from mugrow.analysis.measure.module_search import module_search
        from mugrow.analysis.read.plain import to_json
        from mugrow.analysis.read.store import load
        from mugrow.analysis.report.modules import sentences, table
        from mugrow.sweeps.commands.output import print_table

        found = module_search(load(self.directory).trials)
        if found is None:
            raise UserError(
                f"{self.directory} has no finished trial with multipliers of modules; search them "
                "with --set sampler=trust modules=lr.qk:-2:2"
            )
        if self.json:
            print(json.dumps(to_json(found), indent=2, allow_nan=False))
            return
        listed = table(found)
        if listed.rows:
            print_table([dict(zip(listed.columns, row, strict=True)) for row in listed.rows])
        for line in sentences(found):
            print(line)
