"""Changing a study from the command line: ``--set key=value``.

A key is a field of ``Study``, dotted into what is nested: ``seeds``, ``model.depth``,
``hyper.weight_decay``. A value has the type of its field. A tuple is comma-separated, and the
fields of a tuple's element are colon-separated:

    --set log2_lr=-9,-8,-7   --set rungs=0.5:0.5   --set ladder=64:2:128:2
    --set source=FOLDER ladder=imported:1152:30     --set hyper.modules=lr.qk:2,eps.head:0.5
    --set methods=scratch,hypercloning,szp:shrink=0.2:schedule=continue,./my_method.py:scale=2

All assignments are applied together, so two that are wrong one by one may be right as a pair.
"""

import dataclasses
import difflib
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from mugrow.bench.entries import assigned, scalar, split
from mugrow.bench.spec import Multiplier, Scalar, UserError, shortened, unknown
from mugrow.sweeps.study import CHOICES, Method, Step, Study

IMPORTED = "imported"  # of the ladder: the source that is given, as it is
METHOD_FILE = re.compile(r"(.*?\.py)(?=:|$)", re.IGNORECASE)  # a method that is a file's path


def override(study: Study, assignments: Iterable[str]) -> Study:
    """The study with ``key=value`` assignments applied.

    Raises ``UserError`` for a key that does not exist or is given twice, a value of the wrong type,
    and whatever the study itself refuses.
    """
    types = settings(Study)
    changes: dict[str, Any] = {}
    for key, text in assigned(assignments, "settings are of the form key=value").items():
        if key not in types:
            raise unknown("setting", key, types)
        group, dot, field = key.rpartition(".")
        values = changes.setdefault(group, {}) if dot else changes
        values[field] = parse(key, text.strip(), types[key])
    try:
        nested = {
            group: dataclasses.replace(getattr(study, group), **values)
            for group, values in changes.items()
            if isinstance(values, dict)
        }
        return dataclasses.replace(study, **(changes | nested))
    except OverflowError as error:
        raise UserError(f"a setting is too large to compute with: {error}") from error


def settings(config: type) -> dict[str, Any]:
    """Every key that can be set, with the type of its value."""
    found = {}
    for name, kind in get_type_hints(config).items():
        if dataclasses.is_dataclass(kind):
            inner = get_type_hints(kind)
            found.update({f"{name}.{field}": inner[field] for field in inner})
        else:
            found[name] = kind
    return found


def parse(key: str, text: str, kind: Any) -> Any:
    """``text`` as a value of type ``kind``."""
    if get_origin(kind) is tuple:
        element = get_args(kind)[0]
        parts = text.split(",") if text else []
        parts = _with_commas(parts) if element is Method else parts
        return tuple(parse(key, part.strip(), element) for part in parts)
    if kind is Method:
        return _method(key, text)
    if kind is Step and text.partition(":")[0] == IMPORTED:
        return _imported_step(key, text)
    if is_record(kind):
        types = get_type_hints(kind)
        parts = text.split(":", len(types) - 1)
        if len(parts) != len(types):
            raise UserError(f"{key} is made of {':'.join(types)}, not {text!r}")
        return kind(*map(parse, [key] * len(parts), parts, types.values()))
    if kind is str or get_origin(kind) is Literal:
        return text
    if kind in (int | None, float | None):
        return None if text == "none" else parse(key, text, get_args(kind)[0])
    try:
        return PARSERS[kind](text)
    except (ValueError, KeyError):
        raise UserError(f"{key} must be {EXPECTED[kind]}, not {shortened(text)}") from None


def is_record(kind: Any) -> bool:
    """Whether a value is written as its fields, with colons between."""
    return dataclasses.is_dataclass(kind) or kind is Multiplier


def _with_commas(parts: list[str]) -> list[str]:
    """The parts of a list of methods, with those put together again that are the path of a file
    which is there and has commas in its name."""
    found = []
    while parts:
        joined = (",".join(parts[:count]) for count in range(1, len(parts) + 1))
        files = ((one, METHOD_FILE.match(one.strip())) for one in joined)
        whole = next((one for one, file in files if file and Path(file[1]).is_file()), parts[0])
        found.append(whole)
        parts = parts[whole.count(",") + 1 :]
    return found


def _imported_step(key: str, text: str) -> Step:
    """``imported:1152:30``: the imported source grown into a target of that width and depth."""
    parts = text.split(":")[1:]
    if len(parts) != 2:
        raise UserError(f"{key} from the imported source is {IMPORTED}:WIDTH:DEPTH, not {text!r}")
    return Step(0, 0, *(parse(key, part, int) for part in parts))


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
    file = METHOD_FILE.match(text)
    name, given = split("method", text[file.end(1) :] if file else text)
    name = file[1] if file else name
    types = get_type_hints(Method)
    params, policy = [], {}
    for param, value in given.items():
        near = difflib.get_close_matches(param, CHOICES)
        if near and param not in (own := _method_params(name)):
            if param not in CHOICES:
                raise unknown(f"parameter of method {name!r}:", param, {*own, *CHOICES})
            policy[param] = parse(param, value, types[param])
        else:
            params.append((param, scalar(value)))
    return Method(name, tuple(params), **policy)


def _method_params(name: str) -> Mapping[str, Scalar]:
    from mugrow.bench.growth import method, names  # brings in torch
    from mugrow.bench.method_file import is_file, read_method

    if is_file(name):
        name = read_method(Path(name)).name
        return method(name).params
    return method(name).params if name in names() else {}
