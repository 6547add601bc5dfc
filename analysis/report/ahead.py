"""Figures drawn before a study has ended: those that its last runs can no longer change.

Figures on transfer are made of the sweeps alone, which end long before the last targets do. They
are drawn when a core is free for it, kept in memory, and used in the report only where all that
they are made of is by then what it was. So a report has the same bytes whether anything was drawn
ahead or not.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mugrow.analysis.figures import FIGURES, TRANSFER
from mugrow.analysis.read.store import Store, load
from mugrow.analysis.report.drawn import Drawing, drawing
from mugrow.analysis.summary import Summary, summarize
from mugrow.bench.spec import UserError


@dataclass(frozen=True, eq=False)
class Ahead:
    """Drawings by the figure's name, and what they are ``made_of``."""

    drawings: Mapping[str, Drawing] = field(default_factory=dict)
    made_of: object = None

    def still(self, summary: Summary, store: Store) -> Mapping[str, Drawing]:
        """The drawings, if they would be the same of this study; else none."""
        return self.drawings if same(self.made_of, _read_by_figures(summary, store)) else {}


def draw_ahead(folder: Path, leave: Callable[[], bool]) -> Ahead:
    """Draw what can be of the tables in ``folder``, as they are, until it is to ``leave``. None of
    it where they cannot be read, which is said when the report is made."""
    try:
        store = load(folder)
        summary = summarize(store)
    except (UserError, OSError):
        return Ahead()
    drawings = {}
    for name, entry in FIGURES.items():
        if leave():
            break
        if entry.section == TRANSFER:
            drawings[name] = drawing(name, entry, summary, store)
    return Ahead(drawings, _read_by_figures(summary, store))


def _read_by_figures(summary: Summary, store: Store) -> tuple[object, object]:
    """All that a figure on transfer, and what is said beside it, is made of."""
    return summary.transfer, store.study


def same(one: Any, other: Any) -> bool:
    """Whether two results, of any of the types that results have, are equal in all their parts; nan
    is nan."""
    if type(one) is not type(other):
        return False
    if dataclasses.is_dataclass(one):
        names = [part.name for part in dataclasses.fields(one)]
        return all(same(getattr(one, name), getattr(other, name)) for name in names)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return bool(one == other or (one != one and other != other))
