"""Changing a study from the command line: ``--set key=value``.

A key is a field of ``Study``, dotted into what is nested: ``seeds``, ``model.depth``,
``hyper.weight_decay``. A value has the type of its field. A tuple is comma-separated, and the
fields of a tuple's element are colon-separated:

    --set log2_lr=-9,-8,-7   --set rungs=0.5:0.5   --set ladder=64:2:128:2
    --set methods=scratch,hypercloning,szp:shrink=0.2:schedule=continue

All assignments are applied together, so two that are wrong one by one may be right as a pair.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from mugrow.bench.entries import scalar, split
from mugrow.bench.spec import Scalar, UserError, shortened, unknown
from mugrow.sweeps.study import CHOICES, Method, Study


def override(study: Study, assignments: Iterable[str]) -> Study:
    """The study with ``key=value`` assignments applied; a later one wins.

    Raises ``UserError`` for a key that does not exist, a value of the wrong type, and whatever the
    study itself refuses.
    """
    types = _settings(Study)
    changes: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise UserError(f"{assignment!r} is not of the form key=value")
        if key not in types:
            raise unknown("setting", key, types)
        group, dot, field = key.rpartition(".")
        values = changes.setdefault(group, {}) if dot else changes
        values[field] = _parse(key, text.strip(), types[key])
    try:
        nested = {
            group: dataclasses.replace(getattr(study, group), **values)
            for group, values in changes.items()
            if isinstance(values, dict)
        }
        return dataclasses.replace(study, **(changes | nested))
    except OverflowError as error:
        raise UserError(f"a setting is too large to compute with: {error}") from error


def _settings(config: type) -> dict[str, Any]:
    """Every key that can be set, with the type of its value."""
    found = {}
    for name, kind in get_type_hints(config).items():
        if dataclasses.is_dataclass(kind):
            inner = get_type_hints(kind)
            found.update({f"{name}.{field}": inner[field] for field in inner})
        else:
            found[name] = kind
    return found


def _parse(key: str, text: str, kind: Any) -> Any:
    """``text`` as a value of type ``kind``."""
    if get_origin(kind) is tuple:
        element = get_args(kind)[0]
        return tuple(_parse(key, part.strip(), element) for part in text.split(",") if text)
    if kind is Method:
        return _method(key, text)
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        types = get_type_hints(kind)
        parts = text.split(":", len(types) - 1)
        if len(parts) != len(types):
            raise UserError(f"{key} is made of {':'.join(types)}, not {text!r}")
        return kind(*map(_parse, [key] * len(parts), parts, types.values()))
    if kind is str or get_origin(kind) is Literal:
        return text
    if kind == int | None:
        return None if text == "none" else _parse(key, text, int)
    try:
        return PARSERS[kind](text)
    except (ValueError, KeyError):
        raise UserError(f"{key} must be {EXPECTED[kind]}, not {shortened(text)}") from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _whole(text: str) -> int:
    value = int(text)
    if abs(value) > LARGEST:
        raise ValueError
    return value


LARGEST = 2**53  # up to which whole numbers are exact as floats, which they are multiplied with
PARSERS: dict[type, Any] = {
    bool: {"true": True, "false": False}.__getitem__,
    int: _whole,
    float: _finite,
}
EXPECTED = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
}


def _method(key: str, text: str) -> Method:
    """``szp:shrink=0.2:optimizer=carry`` as a method, its parameters and its policy. A parameter
    of the method's own goes before a policy of that name."""
    name, given = split("method", text)
    types = get_type_hints(Method)
    params, policy = [], {}
    for param, value in given.items():
        if param in CHOICES and param not in _method_params(name):
            policy[param] = _parse(param, value, types[param])
        else:
            params.append((param, scalar(value)))
    return Method(name, tuple(params), **policy)


def _method_params(name: str) -> Mapping[str, Scalar]:
    from mugrow.bench.growth import method, names  # brings in torch

    return method(name).params if name in names() else {}
