"""Results as JSON's own types, at the edge where a file is written or a line is printed."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

JsonValue: TypeAlias = (
    "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
)


def to_json(value: Any) -> Any:
    """The value in JSON's types; ``value`` may be anything, so ``Any`` is meant.

    A dataclass is what its method ``to_json`` gives, or its fields; an array a list; nan and
    infinite numbers are None, since JSON has neither.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if hasattr(value, "to_json"):
            value = value.to_json()
        else:
            value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [to_json(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
