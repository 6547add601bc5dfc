"""What there is to run, to grow by, to fit and to draw: a row each, as ``mugrow list`` shows it.

A plug-in that cannot be loaded is a row too, whose summary is the reason.

The rows of our own entries are also in ``catalogue.json``, since making them imports torch and
matplotlib, seconds for a few names. It is what they are asked from unless plug-ins are installed. A
test compares it with the entries; ``python -m mugrow.sweeps.listing`` writes it anew.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeVar

from mugrow.bench import entries
from mugrow.bench.entries import Named, Registry, in_one_line
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
    "engines",
    "trackers",
]
Row = dict[str, str]
Entry = TypeVar("Entry", bound=Named)


def listing(kind: Kind) -> list[Row]:
    """A row for each entry of a kind, ours before the plug-ins. Every row has the same columns,
    ``name`` and ``summary`` among them; which others depends on the kind.

    >>> import mugrow
    >>> [row["name"] for row in mugrow.listing("optimizers")]
    ['adamw', 'lion', 'muon']
    """
    if kind not in LISTS:
        raise unknown("list", kind, LISTS)
    known = catalogue().get(kind)
    if known is None or any(entries.all_installed(group) for group in GROUPS[kind]):
        return LISTS[kind]()
    return [_here(dict(row)) for row in known]


@cache
def catalogue() -> Mapping[Kind, list[Row]]:
    """The rows of our own entries by kind, of those kinds that are slow to make."""
    rows: dict[Kind, list[Row]] = json.loads(CATALOGUE.read_text())
    return rows


def written_catalogue() -> str:
    """What ``catalogue.json`` has to say, made from the entries; without plug-ins."""
    ours = {kind: [_anywhere(row) for row in LISTS[kind]()] for kind in GROUPS}
    return json.dumps(ours, indent=1, ensure_ascii=False) + "\n"


def _anywhere(row: Row) -> Row:
    """A row without what is of this machine: whether the package it needs is installed."""
    return row | {"needs": row["needs"].partition(":")[0]} if "needs" in row else row


def _here(row: Row) -> Row:
    """The opposite."""
    if needs := row.get("needs"):
        row["needs"] = _needs(row["name"], needs, find_spec(needs) is not None)
    return row


def _rows(
    registry: Registry[Entry],
    columns: Sequence[str],
    row: Callable[[Entry], Row],
    get: Callable[[str], Entry] | None = None,
) -> list[Row]:
    """A row an entry; of one that cannot be loaded, or has not what such an entry has, the reason
    as its summary. Plug-ins that are ignored come last."""

    def shown(name: str) -> Row:
        try:
            return row((get or registry.get)(name))
        except UserError as error:
            reason = str(error)
        except Exception as error:  # somebody else's entry may have anything in its fields
            if not registry.is_plugin(name):
                raise
            reason = f"plug-in {registry.noun} {name!r} cannot be shown: {in_one_line(error)}"
        return {**dict.fromkeys(columns, ""), "name": name, "summary": reason}

    ignored = [
        {**dict.fromkeys(columns, ""), "name": name, "summary": reason}
        for name, reason in registry.ignored().items()
    ]
    return [*map(shown, registry.names()), *ignored]


def _studies() -> list[Row]:
    from mugrow.sweeps.recipes import RECIPES, REGISTRY
    from mugrow.sweeps.study import Study

    def row(study: Study) -> Row:
        return {"name": study.name, "summary": RECIPES.get(study.name, study.title)}

    return _rows(REGISTRY, ("name", "summary"), row)


def _methods() -> list[Row]:
    from mugrow.bench.growth import REGISTRY, GrowthMethod

    def row(entry: GrowthMethod) -> Row:
        return {
            "name": entry.name,
            "axes": ", ".join(entry.axes),
            "paper": entry.paper,
            "preserves": entry.preserves,
            "summary": entry.summary,
            "parameters": _params(entry.params),
        }

    columns = ("name", "axes", "paper", "preserves", "summary", "parameters")
    return _rows(REGISTRY, columns, row)


def _parametrizations() -> list[Row]:
    from mugrow.bench.parametrization import REGISTRY, Parametrization

    def row(entry: Parametrization) -> Row:
        return {
            "name": entry.name,
            "paper": entry.paper,
            "summary": entry.summary,
            "parameters": _params(entry.params),
        }

    return _rows(REGISTRY, ("name", "paper", "summary", "parameters"), row)


def _optimizers() -> list[Row]:
    from mugrow.bench.optim import REGISTRY, Optimizer

    def row(entry: Optimizer) -> Row:
        return {
            "name": entry.name,
            "paper": entry.paper,
            "state": ", ".join(entry.buffers),
            "summary": entry.summary,
            "parameters": _params(entry.params),
        }

    return _rows(REGISTRY, ("name", "paper", "state", "summary", "parameters"), row)


def _corpora() -> list[Row]:
    from mugrow.bench.data.corpora import corpora

    return _named(corpora())


def _samplers() -> list[Row]:
    from mugrow.sweeps.study import SAMPLERS

    return _named(SAMPLERS)


def _forms() -> list[Row]:
    from mugrow.analysis.laws import REGISTRY
    from mugrow.analysis.laws.form import Form

    def row(entry: Form) -> Row:
        return {
            "name": entry.name,
            "reads": ", ".join(entry.variables),
            "parameters": ", ".join(entry.params),
            "paper": entry.paper,
            "summary": entry.summary,
        }

    return _rows(REGISTRY, ("name", "reads", "parameters", "paper", "summary"), row)


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
    from mugrow.sweeps.paper import Paper
    from mugrow.sweeps.recipes.papers import REGISTRY, paper

    def row(entry: Paper) -> Row:
        return {
            "name": entry.name,
            "arxiv": entry.arxiv,
            "title": entry.title,
            "figures": ", ".join(entry.figures),
            "summary": entry.summary,
        }

    return _rows(REGISTRY, ("name", "arxiv", "title", "figures", "summary"), row, paper)


def _evaluations() -> list[Row]:
    from mugrow.bench.evaluation import REGISTRY, Evaluation

    def row(entry: Evaluation) -> Row:
        return {
            "name": entry.name,
            "of": ", ".join(entry.models),
            "parameters": _params(entry.params),
            "paper": entry.paper,
            "summary": entry.summary,
        }

    return _rows(REGISTRY, ("name", "of", "parameters", "paper", "summary"), row)


def _engines() -> list[Row]:
    from mugrow.sweeps.engines import REGISTRY, EngineKind

    def row(entry: EngineKind) -> Row:
        return {
            "name": entry.name,
            "needs": _needs(entry.name, entry.package, entry.is_installed),
            "options": ", ".join(entry.options),
            "summary": entry.summary,
        }

    return _rows(REGISTRY, ("name", "needs", "options", "summary"), row)


def _trackers() -> list[Row]:
    from mugrow.sweeps.trackers import REGISTRY, TrackerKind

    def row(entry: TrackerKind) -> Row:
        return {
            "name": entry.name,
            "needs": _needs(entry.name, entry.package, entry.is_installed),
            "summary": entry.summary,
        }

    return _rows(REGISTRY, ("name", "needs", "summary"), row)


def _needs(extra: str, package: str, is_installed: bool) -> str:
    """A package, and how to get it where it is not there."""
    return package if is_installed else f"{package}: pip install 'mugrow[{extra}]'"


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
    "engines": _engines,
    "trackers": _trackers,
}

CATALOGUE = Path(__file__).with_name("catalogue.json")
GROUPS: dict[Kind, tuple[str, ...]] = {  # of the plug-ins that would be rows, too
    "methods": ("mugrow.methods",),
    "parametrizations": ("mugrow.parametrizations",),
    "optimizers": ("mugrow.optimizers",),
    "forms": ("mugrow.forms",),
    "figures": ("mugrow.papers",),
    "papers": ("mugrow.papers",),
    "evaluations": ("mugrow.evaluations",),
    "engines": ("mugrow.engines",),
    "trackers": ("mugrow.trackers",),
}

if __name__ == "__main__":
    CATALOGUE.write_text(written_catalogue())
