"""``mugrow compare``: studies beside each other."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


@dataclass(frozen=True)
class CompareCommand:
    """Put studies beside each other: final losses at the targets that they share, and all curves.

    A difference is paired by seed, so studies must have trained on the same corpus, in batches as
    large and for as many tokens; what differs in that is named and left out.
    """

    studies: Annotated[Positional[tuple[Path, ...]], arg(metavar="DIR ...")]
    """Folders of `mugrow run`, two or more."""
    reference: Annotated[str, arg(metavar="ARM")] = "scratch"
    """The arm that all others are compared with."""
    out: Path = Path("compare")
    """The folder to write the page to."""
    json: bool = False
    """Print every number as JSON."""

    def __call__(self) -> None:
        from mugrow.analysis.measure.across import compare
        from mugrow.analysis.read.plain import to_json
        from mugrow.analysis.read.store import load
        from mugrow.analysis.read.table import run_names
        from mugrow.analysis.report.across import build_across, table
        from mugrow.sweeps.commands.output import check_folder, check_once, print_table

        check_folder(self.out)
        check_once(self.studies)
        names = run_names([folder.resolve() for folder in self.studies])
        stores = [load(folder) for folder in self.studies]
        found = compare(*stores, names=names, reference=self.reference)
        written = build_across(found, dict(zip(names, stores, strict=True)), self.out)
        if self.json:
            print(json.dumps(to_json(found), indent=2))
            return
        listed = table(found)
        print_table([dict(zip(listed.columns, row, strict=True)) for row in listed.rows])
        for line in found.left_out:
            print(f"not compared: {line}")
        print(f"page: {written}")
