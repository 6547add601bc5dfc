"""A new growth method, written as a start: it works, passes the contract kit, and does something.

The method it writes grows in depth: the source's blocks, then new ones whose output projections are
zero, so that they add nothing yet and the logits are the source's.
"""

import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mugrow.bench.growth import REGISTRY, names
from mugrow.bench.record import write_atomically
from mugrow.bench.spec import UserError

METHOD = '''"""{name}: one line that says what it does.

    target block i = source block i          for i < L
                     a new one, output zero  from there on

Say here where the rule comes from, in the notation of its paper, and the one thing to know of it.
"""

import torch

from mugrow.bench.growth import GrowthMethod, Params
from mugrow.bench.model import Decoder, Weights, parameters
from mugrow.bench.spec import ModelSpec

OUTPUTS = (".attention.o.", ".mlp.down.")


def supports(small: ModelSpec, big: ModelSpec) -> str | None:
    """Why this pair of shapes cannot be grown, ``None`` when it can."""
    return None


def breaks(small: ModelSpec, big: ModelSpec, params: Params) -> str | None:
    """Why the logits are not the source's, ``None`` when they are."""
    return None


def grow(
    weights: Weights, small: Decoder, big: Decoder, init: Weights, rng: torch.Generator
) -> Weights:
    """The source's tensors by name; ``init`` are the target's own random weights."""
    grown = {{}}
    for name in parameters(big.spec):
        if name in weights:
            grown[name] = weights[name].clone()
        elif any(part in name for part in OUTPUTS):
            grown[name] = torch.zeros_like(init[name])
        else:
            grown[name] = init[name].clone()
    return grown


METHOD = GrowthMethod(
    name="{name}",
    summary="the source's blocks, then new ones that add nothing yet",
    paper="-",
    axes=("depth",),
    preserves="the logits, exactly",
    supports=supports,
    breaks=breaks,
    grow=grow,
)
'''
PROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "mugrow-{dashed}"
version = "0.1.0"
description = "The growth method {name}, for mugrow"
requires-python = ">=3.11"
dependencies = ["mugrow"]

[project.entry-points."{group}"]
{name} = "mugrow_{name}:METHOD"

[tool.hatch.build.targets.wheel]
packages = ["mugrow_{name}"]
"""
TEST = '''"""What {name} says about itself, measured; ``full=True`` tries all decoders."""

from mugrow.bench.checks import check_method, failures
from mugrow_{name} import METHOD


def test_the_contract() -> None:
    assert not failures(check_method(METHOD))
'''


@dataclass(frozen=True)
class NewMethod:
    """What was written: its ``files``, and of a package its folder, of one file that file."""

    name: str
    path: Path
    files: tuple[Path, ...]


def new_method(name: str, folder: Path, *, one_file: bool = False) -> NewMethod:
    """Write a growth method that passes the contract kit as it is: a package that registers it, or
    ``one_file``. Raises ``UserError``, with nothing written, for a name that is taken or cannot be
    a module's, and for files that exist."""
    check_name(name, names())
    files = single_file(name) if one_file else package(name)
    return NewMethod(name, write(files, folder), tuple(folder / path for path in files))


def package(name: str) -> dict[str, str]:
    """The files of an installable package, by path."""
    about = {"name": name, "dashed": name.replace("_", "-"), "group": REGISTRY.group}
    folder = f"mugrow-{about['dashed']}"
    return {
        f"{folder}/pyproject.toml": PROJECT.format(**about),
        f"{folder}/mugrow_{name}/__init__.py": METHOD.format(**about),
        f"{folder}/tests/test_{name}.py": TEST.format(**about),
    }


def single_file(name: str) -> dict[str, str]:
    """One Python file, by path."""
    return {f"{name}.py": METHOD.format(name=name)}


def check_name(name: str, taken: Iterable[str]) -> None:
    """Raise ``UserError`` for what cannot name a Python module, or does name a method."""
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        near = re.sub("[^a-z0-9_]+", "_", name.lower()).strip("_0123456789") or "my_method"
        near = f"{near}_" if keyword.iskeyword(near) else near
        raise UserError(
            f"method name {name!r} must be lower-case letters, digits and underscores; "
            f"the nearest that is: {near}"
        )
    if name in taken:
        raise UserError(f"there is a method {name!r} already; see mugrow list methods")


def write(files: dict[str, str], folder: Path) -> Path:
    """Write all files below a folder, none over another; returns what was made in it."""
    for path in files:
        if (folder / path).exists():
            raise UserError(f"{folder / path} exists already")
    for path, text in files.items():
        write_atomically(folder / path, partial(Path.write_text, data=text, encoding="utf-8"))
    return folder / Path(next(iter(files))).parts[0]
