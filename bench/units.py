"""Units: what the axes of a parameter count, and so what must grow together.

    residual     coordinates of the residual stream
    heads        rows of all heads of queries
    kv_heads     rows of all heads of keys and of values
    head_rows    rows of one head, where all heads share a gain
    mlp          units of the MLP

A matrix reads the units of its columns and writes those of its rows. Tokens and positions are no
units: their number never grows.
"""

from collections.abc import Mapping
from typing import Literal

Role = Literal["residual", "heads", "kv_heads", "head_rows", "mlp"]
ROLES: Mapping[str, tuple[Role | None, ...]] = {
    "embed": (None, "residual"),
    "positions": (None, "residual"),
    "head": (None, "residual"),
    **dict.fromkeys(("norm", "norm1", "norm2"), ("residual",)),
    **dict.fromkeys(("q_norm", "k_norm"), ("head_rows",)),
    "q": ("heads", "residual"),
    **dict.fromkeys(("k", "v"), ("kv_heads", "residual")),
    "o": ("residual", "heads"),
    **dict.fromkeys(("gate", "up"), ("mlp", "residual")),
    "down": ("residual", "mlp"),
}


def roles(name: str) -> tuple[Role | None, ...]:
    """Which kind of unit each axis of a parameter counts, ``None`` for tokens and positions."""
    layer, tensor = name.split(".")[-2:]
    return ROLES[layer][:1] if tensor == "bias" else ROLES[layer]
