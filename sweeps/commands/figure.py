"""``mugrow figure``: one figure, of a study or of a paper."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from mugrow.bench.spec import unknown
from mugrow.sweeps.commands.output import check_figure, write_figure
from mugrow.sweeps.commands.reproduce import OUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure as Drawing


@dataclass(frozen=True)
class FigureCommand:
    """Draw one figure from the tables of a study or of a paper, training nothing.

    ID is a name of `mugrow list figures`: savings, or nanolm/M1.
    """

    id: Annotated[Positional[str], arg(metavar="ID")]
    directory: Annotated[Positional[Path | None], arg(metavar="DIR")] = None
    """A folder of `mugrow run`, or a paper's of `mugrow reproduce`; of a paper, its folder in
    results/papers/cpu by default."""
    out: Annotated[Path | None, arg(aliases=["-o"])] = None
    """The file, .svg or .png; the figure's name in .svg by default."""

    def __call__(self) -> None:
        path = self.out or Path(f"{self.id.rpartition('/')[2]}.svg")
        check_figure(path, "--out")
        draw = self._of_paper() if "/" in self.id else self._of_study()
        write_figure(path, draw)
        print(path)

    def _of_paper(self) -> "Callable[[], Drawing]":
        from mugrow.analysis.read.store import load
        from mugrow.sweeps.recipes.papers import paper

        name, _, figure = self.id.partition("/")
        entry = paper(name)
        draw = entry.only(figure)[figure].draw
        store = load(self.directory or OUT / "cpu" / entry.name)
        return lambda: draw(store)

    def _of_study(self) -> "Callable[[], Drawing]":
        from mugrow.analysis.figures import FIGURES, draw
        from mugrow.analysis.read.store import load
        from mugrow.analysis.summary import summarize
        from mugrow.bench.spec import UserError

        if self.id not in FIGURES:
            raise unknown("figure", self.id, FIGURES)
        if self.directory is None:
            raise UserError(f"figure {self.id!r} is drawn from a study: name its folder")
        store = load(self.directory)
        return lambda: draw(self.id, summarize(store), store)
