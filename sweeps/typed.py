"""A study's fields hold values of their types: what is given from Python is checked like ``--set``.

A dataclass takes whatever it is given, and a ``"500"`` or a nan shows hours later, in a comparison
or a schedule. Here a value is held against the annotation of its field, into tuples and nested
dataclasses; the first that does not fit is a ``UserError`` that names it.
"""

import dataclasses
import math
import types
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from mugrow.bench.spec import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

EXPECTED: dict[object, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    type(None): "None",
}


def check_types(config: "DataclassInstance", within: str = "") -> None:
    """Raises ``UserError`` for the first field, ``within`` others, whose value is not of its
    type."""
    for name, kind in hints(type(config)).items():
        _check(within + name, getattr(config, name), kind)


@cache
def hints(config: type) -> Mapping[str, Any]:
    return get_type_hints(config)


def _check(key: str, value: object, kind: Any) -> None:
    if get_origin(kind) is tuple:
        _check_tuple(key, value, get_args(kind))
    elif dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        if not isinstance(value, kind):
            raise UserError(f"{key} must be a {kind.__name__}, not {value!r}")
        check_types(value, f"{key}.")
    elif get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise UserError(f"{key} must be one of {', '.join(get_args(kind))}, not {value!r}")
    else:
        kinds = get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
        if not any(fits(value, one) for one in kinds):
            named = [one for one in kinds if not (one is int and float in kinds)]
            expected = " or ".join(EXPECTED[one] for one in named)
            raise UserError(f"{key} must be {expected}, not {value!r}{_nearest(value, kinds)}")


def _check_tuple(key: str, value: object, kinds: tuple[Any, ...]) -> None:
    if not isinstance(value, tuple):
        right = tuple(value) if isinstance(value, list | set | range) else (value,)
        raise UserError(f"{key} must be a tuple, not {value!r}; write {right!r}")
    if kinds[-1] is not Ellipsis and len(value) != len(kinds):
        raise UserError(f"{key} must be a tuple of {len(kinds)}, not {value!r}")
    for at, element in enumerate(value):
        _check(key, element, kinds[0 if kinds[-1] is Ellipsis else at])


def fits(value: object, kind: type) -> bool:
    """Whether a value is of a plain type; a whole number is a finite number too."""
    if kind is float:
        return isinstance(value, int | float) and _number(value) and math.isfinite(value)
    return isinstance(value, kind) and (kind is not int or _number(value))


def _number(value: object) -> bool:
    return not isinstance(value, bool)


def _nearest(value: object, kinds: tuple[type, ...]) -> str:
    """The number that was meant, where one can tell."""
    try:
        number = float(value) if isinstance(value, str | float) else math.nan
    except ValueError:
        return ""
    if not math.isfinite(number) or not {int, float} & set(kinds):
        return ""
    return f"; the nearest is {round(number) if int in kinds else number:g}"
