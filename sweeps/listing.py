"""What there is to run: a row each, for ``mugrow list``."""

from collections.abc import Iterator
from importlib import import_module

from mugrow.bench.spec import UserError


def listing(what: str) -> list[dict[str, str]]:
    """Rows of names with their facts; ``what`` as in ``mugrow list``."""
    match what:
        case "studies":
            from mugrow.sweeps.recipes import RECIPES

            return _named(RECIPES)
        case "samplers":
            from mugrow.sweeps.study import SAMPLERS

            return _named(SAMPLERS)
        case "corpora":
            from mugrow.bench.data.corpora import corpora

            return _named(corpora())
        case "figures":
            from mugrow.analysis.figures import FIGURES

            own = {name: entry.title for name, entry in FIGURES.items()}
            return _named(own | dict(_paper_figures()))
        case "papers":
            from mugrow.sweeps.recipes.papers import PAPERS, paper

            return [
                {
                    "name": name,
                    "arxiv": arxiv,
                    "title": paper(name).title,
                    "figures": ", ".join(paper(name).figures),
                    "summary": paper(name).summary,
                }
                for name, arxiv in PAPERS.items()
            ]
        case "methods":
            from mugrow.bench.growth import names

            return [_method(name) for name in names()]
        case "evaluations":
            from mugrow.bench.evaluation import evaluation
            from mugrow.bench.evaluation import names as kinds

            return [
                {
                    "name": entry.name,
                    "of": ", ".join(entry.models),
                    "parameters": ", ".join(f"{k}={v}" for k, v in entry.params.items()),
                    "paper": entry.paper,
                    "summary": entry.summary,
                }
                for entry in map(evaluation, kinds())
            ]
        case "forms":
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
        case "optimizers":
            from mugrow.bench.optim import names as optimizers
            from mugrow.bench.optim import optimizer

            return [
                {
                    "name": entry.name,
                    "paper": entry.paper,
                    "state": ", ".join(entry.buffers),
                    "summary": entry.summary,
                    "parameters": ", ".join(f"{k}={v}" for k, v in entry.params.items()),
                }
                for entry in map(optimizer, optimizers())
            ]
    assert what == "parametrizations"
    module = import_module("mugrow.bench.parametrization")
    return [
        {
            "name": entry.name,
            "paper": entry.paper,
            "summary": entry.summary,
            "parameters": ", ".join(f"{k}={v}" for k, v in entry.params.items()),
        }
        for entry in map(module.parametrization, module.names())
    ]


def _paper_figures() -> Iterator[tuple[str, str]]:
    from mugrow.sweeps.recipes.papers import PAPERS, paper

    for name in PAPERS:
        for figure, entry in paper(name).figures.items():
            yield f"{name}/{figure}", entry.title


def _method(name: str) -> dict[str, str]:
    """One growth method; of a plug-in that cannot be loaded, the reason."""
    from mugrow.bench.growth import method

    try:
        entry = method(name)
    except UserError as error:
        unread = dict.fromkeys(("axes", "paper", "preserves"), "")
        return {"name": name, **unread, "summary": str(error), "parameters": ""}
    return {
        "name": entry.name,
        "axes": ", ".join(entry.axes),
        "paper": entry.paper,
        "preserves": entry.preserves,
        "summary": entry.summary,
        "parameters": ", ".join(f"{k}={v}" for k, v in entry.params.items()),
    }


def _named(lines: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "summary": line} for name, line in lines.items()]
