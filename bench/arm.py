"""The arm of a comparison: which values its factors have, and what it is called.

An arm is a cell of an experiment's design. ``ArmName("stack", axis="depth", g=2)`` has its
factors, and is the text that tables and figures show. The text is made from the factors in
one place of a recipe and is never taken apart again: what selects runs is the factors, which travel
beside it in the column ``factors`` of ``runs.parquet``, as JSON.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Self

from mugrow.bench.spec import Scalar


class ArmName(str):
    """The name of an arm, with its ``factors``. Compares and prints as its text.

    Without a text it is the factors': ``ArmName(lr=0.1)`` is ``"lr = 0.1"``.
    """

    factors: Mapping[str, Scalar]

    def __new__(cls, text: str = "", **factors: Scalar) -> Self:
        made = super().__new__(cls, text or _text(factors))
        made.factors = factors
        return made

    def varied(self, text: str = "", **factors: Scalar) -> "ArmName":
        """The arm that differs from this one in these factors: ``stack, g = 2``."""
        return ArmName(f"{self}, {text or _text(factors)}", **{**self.factors, **factors})


def factors_of(arm: str | None) -> Mapping[str, Scalar]:
    """The factors of an arm; none of one that is a text alone."""
    return arm.factors if isinstance(arm, ArmName) else {}


def factors_json(arm: str | None) -> str | None:
    """The factors of an arm as the table keeps them; ``None`` where it has none."""
    factors = factors_of(arm)
    return json.dumps(dict(factors), sort_keys=True) if factors else None


@lru_cache(maxsize=4096)
def factors_from_json(text: str) -> Mapping[str, Scalar]:
    """The inverse: factors by name."""
    found: dict[str, Scalar] = json.loads(text)
    return found


def _text(factors: Mapping[str, Scalar]) -> str:
    said = ((name, f"{v:g}" if isinstance(v, float) else v) for name, v in factors.items())
    return ", ".join(f"{name} = {value}" for name, value in said)
