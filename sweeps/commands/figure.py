"""``mugrow figure``: one figure, of a study or of a paper."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from mugrow.bench.spec import UserError, unknown
from mugrow.sweeps.commands.output import check_figure, write_figure
from mugrow.sweeps.commands.reproduce import OUT


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
    """The file, .svg, .png or .pdf; the figure's name in .svg by default."""

    def __call__(self) -> None:
        from mugrow.analysis.figures import FIGURES
        from mugrow.analysis.read.store import load
        from mugrow.sweeps.draw import draw
        from mugrow.sweeps.recipes.papers import paper

        name, slash, figure = self.id.partition("/")
        path = self.out or Path(f"{figure or name}.svg")
        check_figure(path, "--out")
        directory = self.directory
        if slash:
            paper(name).only(figure)
            directory = directory or OUT / "cpu" / paper(name).name
        elif name not in FIGURES:
            raise unknown("figure", name, FIGURES)
        elif directory is None:
            raise UserError(f"figure {name!r} is drawn from a study: name its folder")
        store = load(directory)
        write_figure(path, lambda: draw(self.id, store))
        print(path)
