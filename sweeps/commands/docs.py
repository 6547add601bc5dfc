"""``mugrow docs``: the documentation of a checkout, with a page of every committed study."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from mugrow.sweeps.machine import worker_count


@dataclass(frozen=True)
class DocsCommand:
    """Render every committed study and paper from its rows, and build the site around them.

    For a checkout, at its root. It fails, with a line for each, if a study breaks or the site has
    a warning.
    """

    what: Positional[Literal["build"]]
    out: Path = Path("site")
    """The folder of the site; one that is there is replaced."""
    only: Annotated[tuple[str, ...], arg(metavar="NAME ...")] = ()
    """These studies and papers instead of all."""
    workers: int | None = None
    """Processes that render at the same time; one a CPU core by default."""

    def __call__(self) -> None:
        from mugrow.sweeps.docs.build import build

        workers = worker_count(self.workers, "cpu")
        broken = build(
            Path(), self.out, self.only, workers, lambda line: print(line, file=sys.stderr)
        )
        if broken:
            print("\n".join(broken))
            sys.exit(1)
        print(f"site: {self.out / 'index.html'}")
