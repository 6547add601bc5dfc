"""What there is to run, to grow by, to fit and to draw: a row each, as ``mugrow list`` shows it.

A plug-in that cannot be loaded is a row too, whose summary is the reason.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from mugrow.bench.spec import Scalar, UserError, unknown

Kind = Literal[
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
Row = dict[str, str]


def listing(kind: Kind) -> list[Row]:
    """A row for each entry of a kind, ours before the plug-ins. Every row has the same columns,
    ``name`` and ``summary`` among them; which others depends on the kind.

    >>> import mugrow
    >>> [row["name"] for row in mugrow.listing("optimizers")]
    ['adamw', 'lion', 'muon']
    """
    if kind not in LISTS:
        raise unknown("list", kind, LISTS)
    return LISTS[kind]()


def _studies() -> list[Row]:
    from mugrow.sweeps.recipes import RECIPES, REGISTRY

    theirs = {name: _loaded(name) for name in REGISTRY.names() if name not in RECIPES}
    return _named(RECIPES | theirs)


def _loaded(name: str) -> str:
    """A plug-in study's title, or why it has none."""
    from mugrow.sweeps.recipes import recipe

    try:
        return recipe(name).title
    except UserError as error:
        return str(error)


def _methods() -> list[Row]:
    from mugrow.bench.growth import names

    return [_method(name) for name in names()]


def _method(name: str) -> Row:
    from mugrow.bench.growth import method

    try:
        entry = method(name)
    except UserError as error:
        empty = dict.fromkeys(("axes", "paper", "preserves"), "")
        return {"name": name, **empty, "summary": str(error), "parameters": ""}
    return {
        "name": entry.name,
        "axes": ", ".join(entry.axes),
        "paper": entry.paper,
        "preserves": entry.preserves,
        "summary": entry.summary,
        "parameters": _params(entry.params),
    }


def _parametrizations() -> list[Row]:
    from mugrow.bench.parametrization import names, parametrization

    return [
        {
            "name": entry.name,
            "paper": entry.paper,
            "summary": entry.summary,
            "parameters": _params(entry.params),
        }
        for entry in map(parametrization, names())
    ]


def _optimizers() -> list[Row]:
    from mugrow.bench.optim import names, optimizer

    return [
        {
            "name": entry.name,
            "paper": entry.paper,
            "state": ", ".join(entry.buffers),
            "summary": entry.summary,
            "parameters": _params(entry.params),
        }
        for entry in map(optimizer, names())
    ]


def _corpora() -> list[Row]:
    from mugrow.bench.data.corpora import corpora

    return _named(corpora())


def _samplers() -> list[Row]:
    from mugrow.sweeps.study import SAMPLERS

    return _named(SAMPLERS)


def _forms() -> list[Row]:
    from mugrow.analysis.laws import get_form, names

    return [
        {
            "name": entry.name,
            "reads": ", ".join(entry.variables),
            "parameters": ", ".join(entry.params),
            "paper": entry.paper,
            "summary": entry.summary,
        }
        for entry in map(get_form, names())
    ]


def _figures() -> list[Row]:
    from mugrow.analysis.figures import FIGURES

    of_studies = {name: entry.title for name, entry in FIGURES.items()}
    return _named(of_studies | dict(_paper_figures()))


def _paper_figures() -> Iterator[tuple[str, str]]:
    from mugrow.sweeps.recipes.papers import REGISTRY, paper

    for name in REGISTRY.names():
        try:
            entry = paper(name)
        except UserError:  # `mugrow list papers` has the reason
            continue
        for figure, drawn in entry.figures.items():
            yield f"{name}/{figure}", drawn.title


def _papers() -> list[Row]:
    from mugrow.sweeps.recipes.papers import REGISTRY

    return [_paper(name) for name in REGISTRY.names()]


def _paper(name: str) -> Row:
    from mugrow.sweeps.recipes.papers import paper

    try:
        entry = paper(name)
    except UserError as error:
        empty = dict.fromkeys(("arxiv", "title", "figures"), "")
        return {"name": name, **empty, "summary": str(error)}
    return {
        "name": entry.name,
        "arxiv": entry.arxiv,
        "title": entry.title,
        "figures": ", ".join(entry.figures),
        "summary": entry.summary,
    }


def _evaluations() -> list[Row]:
    from mugrow.bench.evaluation import evaluation, names

    return [
        {
            "name": entry.name,
            "of": ", ".join(entry.models),
            "parameters": _params(entry.params),
            "paper": entry.paper,
            "summary": entry.summary,
        }
        for entry in map(evaluation, names())
    ]


def _named(summaries: Mapping[str, str]) -> list[Row]:
    return [{"name": name, "summary": summary} for name, summary in summaries.items()]


def _params(params: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{name}={value}" for name, value in params.items())


LISTS: dict[Kind, Callable[[], list[Row]]] = {
    "studies": _studies,
    "methods": _methods,
    "parametrizations": _parametrizations,
    "optimizers": _optimizers,
    "corpora": _corpora,
    "samplers": _samplers,
    "forms": _forms,
    "figures": _figures,
    "papers": _papers,
    "evaluations": _evaluations,
}
