"""``mugrow list``: what there is."""

import json
from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional

from mugrow.sweeps.commands.output import print_table


@dataclass(frozen=True)
class List:
    """What there is, with its paper and one line each."""

    what: Positional[
        Literal[
            "studies",
            "methods",
            "parametrizations",
            "optimizers",
            "corpora",
            "samplers",
            "forms",
            "figures",
            "papers",
            "evaluations",
        ]
    ]
    json: bool = False
    """Print as JSON."""

    def __call__(self) -> None:
        from mugrow.sweeps.listing import listing

        rows = listing(self.what)
        if self.json:
            print(json.dumps(rows, indent=2))
        else:
            print_table(rows)
