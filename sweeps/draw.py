"""One figure by its name, of a study or of a paper, from tables alone."""

from pathlib import Path

from matplotlib.figure import Figure

from mugrow.analysis import figures
from mugrow.analysis.figures import style
from mugrow.analysis.read.store import Store, opened
from mugrow.analysis.summary import summarize
from mugrow.sweeps.recipes import papers


def draw(name: str, store: Store | str | Path) -> Figure:
    """The figure ``name`` of `mugrow list figures`, ``savings`` of a study or ``gstack/G1`` of a
    paper, drawn from the tables in ``store`` or in a study's directory. Raises ``UserError`` for
    an unknown name, and where the tables lack what it shows.

    >>> import mugrow
    >>> figure = mugrow.draw("costs", mugrow.load("results/reference/quick"))
    >>> figure.savefig("costs.pdf")  # doctest: +SKIP
    """
    store = opened(store)
    of_paper, slash, figure = name.partition("/")
    if not slash:
        return figures.draw(name, summarize(store), store)
    entry = papers.paper(of_paper).only(figure)[figure]
    return style.drawn(lambda: entry.draw(store))
