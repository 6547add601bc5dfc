"""A table of a report: text in cells, as the page and LaTeX both print it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """``rows`` hold one text per column; ``note`` says how to read it."""

    name: str
    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
