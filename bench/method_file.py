"""A growth method in a file: part of a study without a package, and of its runs' identity.

A run names it ``NAME@HASH``: NAME as the file's ``METHOD`` says, HASH the first eight hex digits of
the file's sha256. A file that has changed is thus another method, whose runs are other runs, and
where the file lies is no part of it. The hash is of that one file: not of what it imports.

A process knows the methods that it has read. One that trains is handed their text, so it neither
looks for the file nor sees it change.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from mugrow.bench.entries import is_python_file
from mugrow.bench.growth import FROM_FILES, REGISTRY
from mugrow.bench.spec import UserError

HASH_DIGITS = 8


@dataclass(frozen=True)
class MethodFile:
    """A method's file as it was read: ``name`` is the one in a run's identity."""

    name: str
    path: str
    text: str


_read: dict[str, MethodFile] = {}


def is_file(word: str) -> bool:
    """Whether a word is the path of a Python file, and not a method's name."""
    return is_python_file(word)


def read_method(path: Path) -> MethodFile:
    """The method that a file defines, known to this process from now on. Raises ``UserError``."""
    text = REGISTRY.text_of(path)
    entry = REGISTRY.from_text(text, path)
    if entry.name in REGISTRY.names():
        raise UserError(f"{path} defines a method {entry.name!r}, which there is already")
    digest = hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]
    file = MethodFile(f"{entry.name}@{digest}", str(path), text)
    _read[file.name] = file
    FROM_FILES[file.name] = replace(entry, name=file.name)
    return file


def know(file: MethodFile) -> None:
    """Make a method known that another process has read. Raises ``UserError``."""
    if file.name not in FROM_FILES:
        entry = REGISTRY.from_text(file.text, Path(file.path))
        _read[file.name] = file
        FROM_FILES[file.name] = replace(entry, name=file.name)


def files_of(names: set[str]) -> tuple[MethodFile, ...]:
    """The files of those methods that come from one, by name."""
    return tuple(_read[name] for name in sorted(names & _read.keys()))
