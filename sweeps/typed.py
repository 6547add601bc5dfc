"""The types of a configuration's values, checked: an annotation says what a value must be.

Dataclasses do not check. A study whose ``proxy_steps`` is ``"300"``, or whose ``seeds`` are a list,
would be found out in the middle of a plan, or never; here it is one line that names the field, what
it holds and what it should.
"""

import dataclasses
import math
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from mugrow.bench.spec import UserError

WORDS: dict[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
}
WORDS_OF_MANY: dict[object, str] = {int: "whole numbers", float: "finite numbers", str: "texts"}


def check_types(config: Any, within: str = "") -> None:
    """Raise the ``UserError`` of the first field of a dataclass that holds another type than its
    annotation says; ``within`` is put before its name."""
    for name, kind in hints(type(config)).items():
        _check(within + name, getattr(config, name), kind)


def hints(config: type) -> dict[str, Any]:
    """The types of a dataclass's fields, by name."""
    if config not in _hints:
        known = get_type_hints(config)
        _hints[config] = {field.name: known[field.name] for field in dataclasses.fields(config)}
    return _hints[config]


_hints: dict[type, dict[str, Any]] = {}  # a plan makes many studies


def words(kind: object) -> str:
    """What a value of a type is called."""
    if get_origin(kind) is tuple:
        element = get_args(kind)[0]
        return f"a tuple of {WORDS_OF_MANY.get(element) or f'{element.__name__}'}"
    return WORDS.get(kind) or f"a {getattr(kind, '__name__', kind)}"


def fits(value: object, kind: object) -> bool:
    """Whether a value is of a type; a whole number is a finite number too, true is neither."""
    if kind is int or kind is float:
        number = isinstance(value, int if kind is int else int | float)
        return number and not isinstance(value, bool) and math.isfinite(value)  # type: ignore[arg-type]
    if get_origin(kind) is Literal:
        return isinstance(value, str)  # which of the words, its own class checks
    return isinstance(value, kind) if isinstance(kind, type) else True


def _check(name: str, value: object, kind: Any) -> None:
    if get_origin(kind) in (Union, UnionType):
        optional = NoneType in get_args(kind) and len(get_args(kind)) == 2
        if optional and value is not None:
            _check(name, value, next(one for one in get_args(kind) if one is not NoneType))
        return
    if get_origin(kind) is tuple:
        element, *rest = get_args(kind)
        if not isinstance(value, tuple):
            raise UserError(f"{name} must be {words(kind)}, not {_said(value)}")
        if rest == [...]:
            for one in value:
                _check_element(name, one, element)
        return
    if not fits(value, kind):
        raise UserError(f"{name} must be {words(kind)}, not {_said(value)}")
    if dataclasses.is_dataclass(kind):
        check_types(value, f"{name}.")


def _check_element(name: str, value: object, kind: Any) -> None:
    if get_origin(kind) is None and not fits(value, kind):
        of = WORDS_OF_MANY.get(kind) or kind.__name__
        raise UserError(f"{name} is a tuple of {of}, and {_said(value)} is none")
    if dataclasses.is_dataclass(kind):
        check_types(value, f"{name}.")


def _said(value: object) -> str:
    """A value in a line, cut where it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
