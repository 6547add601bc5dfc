"""A study in a TOML file: the fields of ``Study``, each by its name.

    name = "widening"                                         proxy_widths = [32, 64]
    ladder = ["64:2:128:2"]                                   [model]
    methods = ["scratch", "szp:shrink=0.2", "./mine.py"]      width = 32

A list of numbers or words is a list; steps of the ladder, methods, rungs, shapes, variants and
multipliers of modules are written as in ``--set``; ``model``, ``hyper`` and ``schedule`` are
tables. What is left out is at its default. Paths, of a corpus or of a method, are relative to the
file.

The other form is Python (``mugrow.sweeps.recipes``), for what is computed.
"""

import dataclasses
import tomllib
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

from mugrow.bench.data.corpora import below
from mugrow.bench.spec import UserError, unknown
from mugrow.sweeps.override import METHOD_FILE, is_record, parse, settings
from mugrow.sweeps.study import Method, Study
from mugrow.sweeps.typed import fits, hints

LARGEST_BYTES = 1_000_000
FOLLOWS = "model.vocab_size follows from the corpus; set tokenizer to bpe:VOCAB"


WORDS: dict[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
}


def read_study(path: Path) -> Study:
    """The study of a TOML file. Raises ``UserError``, which names the file and the field."""
    table = _table(path)
    try:
        return Study(**_fields(table, path.parent))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _table(path: Path) -> dict[str, Any]:
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a TOML file")
    if not path.exists():
        raise UserError(f"no such file: {path}")
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise UserError(f"{path} is no study: it has {path.stat().st_size:,} bytes")
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UserError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not TOML: {' '.join(str(error).split())}") from error


def _fields(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The arguments of ``Study``, each of its field's type."""
    types = hints(Study)
    for name in table:
        if name not in types:
            nested = [key for key in settings(Study) if key.endswith(f".{name}")]
            raise unknown("setting", name, nested or types)
    if isinstance(table.get("model"), dict) and "vocab_size" in table["model"]:
        raise UserError(FOLLOWS)
    values = {name: _value(name, value, types[name], folder) for name, value in table.items()}
    _check_complete(Study, table, "")
    if "corpus" in values:
        values["corpus"] = below(folder, values["corpus"])
    return values


def _check_complete(config: type, table: dict[str, Any], within: str) -> None:
    for field in dataclasses.fields(config):
        absent = field.name not in table
        if absent and field.default is field.default_factory is dataclasses.MISSING:
            raise UserError(f"{within}{field.name} is missing; it has no default")


def _value(name: str, value: object, kind: Any, folder: Path) -> Any:
    """A value of TOML as one of a field's type."""
    kind = _present(kind)
    if get_origin(kind) is tuple:
        element = get_args(kind)[0]
        if not isinstance(value, list):
            raise UserError(f"{name} must be a list, in brackets, not {value!r}")
        return tuple(_element(name, one, element, folder) for one in value)
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        if not isinstance(value, dict):
            raise UserError(f"{name} must be a table, [{name}], not {value!r}")
        types = hints(kind)
        for key in value:
            if key not in types:
                raise unknown("setting", f"{name}.{key}", [f"{name}.{known}" for known in types])
        _check_complete(kind, value, f"{name}.")
        each = {key: _value(f"{name}.{key}", one, types[key], folder) for key, one in value.items()}
        return kind(**each)
    kind = str if get_origin(kind) is Literal else kind  # which word, its own class checks
    if not fits(value, kind):
        raise UserError(f"{name} must be {WORDS[kind]}, not {value!r}")
    return float(value) if kind is float else value  # type: ignore[arg-type]  # it fits


def _present(kind: Any) -> Any:
    """``int`` of ``int | None``: what a value is where it is given."""
    others = [one for one in get_args(kind) if one is not NoneType]
    return others[0] if isinstance(kind, UnionType) and len(others) == 1 else kind


def _element(name: str, value: object, kind: Any, folder: Path) -> Any:
    if not is_record(kind):
        if not fits(value, kind):
            of = WORDS[kind].removeprefix("a ") + "s"
            raise UserError(f"{name} is a list of {of}, and {value!r} is none")
        return _value(name, value, kind, folder)
    if not isinstance(value, str):
        raise UserError(f"{name} is a list of texts as --set has them, and {value!r} is none")
    if kind is Method and METHOD_FILE.match(value):
        value = str(folder / value)
    return parse(name, value, kind)
