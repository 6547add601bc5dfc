"""``mugrow list``: what there is."""

import json
from dataclasses import dataclass

from tyro.conf import Positional

from mugrow.sweeps.commands.output import print_table
from mugrow.sweeps.listing import Kind, listing


@dataclass(frozen=True)
class ListCommand:
    """What there is, with its paper and one line each."""

    what: Positional[Kind]
    json: bool = False
    """Print as JSON."""

    def __call__(self) -> None:
        rows = listing(self.what)
        if self.json:
            print(json.dumps(rows, indent=2))
        else:
            print_table(rows)
