"""A table of a report: text in cells, as the page and LaTeX both print it."""

import re
from dataclasses import dataclass

NUMBER = re.compile(r"[<>≤≥−+-]?\s?\d")
NOTHING = ("", "–")


@dataclass(frozen=True)
class Table:
    """``rows`` hold one text per column; ``note`` says how to read it."""

    name: str
    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers alone, to be aligned on the right."""
        columns = zip(*self.rows, strict=True)
        return tuple(
            all(cell in NOTHING or NUMBER.match(cell) is not None for cell in column)
            and any(cell not in NOTHING for cell in column)
            for column in columns
        ) or (False,) * len(self.columns)
