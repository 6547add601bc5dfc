"""Entries: what has a name, its own parameters, and a place where others can add theirs.

A growth method, a parametrization, an optimizer and a scaling law are each one file of a package of
ours that defines one constant, or a plug-in: an entry point of the kind's group. Plug-ins are
somebody else's code, so whatever loading one raises becomes one line that names it, and none can
take the name of an entry of ours.

The parameters of an entry are the keyword-only arguments of its function, each with a default, and
are typed ``NAME:PARAMETER=VALUE``. A value is of its default's kind: true or false, a whole number,
a finite number, or one of a few words.
"""

import inspect
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from traceback import extract_tb, walk_tb
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar

from mugrow.bench.spec import Scalar, UserError, shortened, unknown
from mugrow.bench.switches import kept_switches

Choices = Mapping[str, tuple[str, ...]]


class Named(Protocol):
    """What every entry has."""

    @property
    def name(self) -> str:
        """What users type."""


class Parametric(Named, Protocol):
    """An entry that is named in one string with its parameters behind it."""

    @property
    def params(self) -> Mapping[str, Scalar]:
        """Its own parameters and their defaults."""

    @property
    def choices(self) -> Choices:
        """The values of parameters that are one of a few words, the default first."""


Entry = TypeVar("Entry", bound=Named)
_theirs: set[str] = set()  # modules of others that have been loaded, or the packages they are of
OLD_IMPORT = re.compile(r"(?:from|import) ((?:bench|sweeps|analysis)(?:\.\w+)*)")
Parameters = TypeVar("Parameters", bound=Parametric)


@dataclass(frozen=True)
class Registry(Generic[Entry]):
    """The entries of one kind: ``noun`` is what users call it, ``builtin`` are ours in the order
    they are listed, each the ``constant`` of a module of ``package``; ``group`` is the plug-ins'. A
    constant, and what a plug-in names, is an entry or a function of no arguments that makes it."""

    noun: str
    type: type[Entry]
    package: str
    constant: str
    builtin: tuple[str, ...]
    group: str

    def names(self) -> tuple[str, ...]:
        """Every entry by name: ours, then the plug-ins."""
        return (*self.builtin, *sorted(self._plugins()))

    def ignored(self) -> dict[str, str]:
        """The plug-ins whose name is taken, and why they are not used."""
        theirs = all_installed(self.group)
        names = [one.name for one in theirs]
        of_ours = {
            one.name: f"ignored: plug-in {one.value} has the name of a {self.noun} of ours"
            for one in theirs
            if one.name in self.builtin
        }
        doubled = {
            one.name: f"plug-in {one.value} is ignored: another has its name"
            for one in theirs
            if names.count(one.name) > 1 and one != _installed(self.group)[one.name]
        }
        return doubled | of_ours

    def loadable(self) -> tuple[list[Entry], list[str]]:
        """All entries that can be loaded, and why others cannot, a line each."""
        entries, reasons = [], list(self.ignored().values())
        for name in self.names():
            try:
                entries.append(self.get(name))
            except UserError as error:
                reasons.append(str(error))
        return entries, reasons

    def is_plugin(self, name: str) -> bool:
        """Whether the entry is another package's."""
        return name in self._plugins()

    def get(self, name: str) -> Entry:
        """The entry called ``name``; ``UserError`` when there is none, or when its plug-in cannot
        be loaded."""
        if name not in self.names():
            raise unknown(self.noun, name, self.names())
        if self.is_plugin(name):
            return self._load(self._plugins()[name])
        module = import_module(f"{self.package}.{name.replace('-', '_')}")
        entry = self._made(getattr(module, self.constant))
        assert isinstance(entry, self.type)
        return entry

    def from_file(self, path: Path) -> Entry:
        """The entry that a Python file defines under the constant's name, whatever it is called.
        The file is imported under a name that hides no other module. Raises ``UserError``."""
        return self.from_text(self.text_of(path), path)

    def text_of(self, path: Path) -> str:
        """What a Python file says. Raises ``UserError``."""
        if path.is_dir():
            raise UserError(f"{path} is a folder, not a Python file")
        if not path.exists():
            raise UserError(f"no such file: {path}")
        if not is_python_file(str(path)):
            raise UserError(f"{path} is no Python file: its name does not end in .py")
        try:
            return path.read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read: {in_one_line(error)}") from error

    def from_text(self, text: str, path: Path) -> Entry:
        """``from_file`` where the file, which lies or lay at ``path``, has been read."""
        module = ModuleType(f"mugrow_file_{path.stem}_{sha256(text.encode()).hexdigest()[:8]}")
        module.__file__ = str(path)
        _theirs.add(module.__name__)
        sys.modules[module.__name__] = module  # where dataclasses look up names in annotations
        try:
            with kept_switches():
                exec(compile(text, str(path), "exec"), module.__dict__)
                entry = self._made(getattr(module, self.constant, None))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # somebody else's file may raise anything, and may exit
            raise UserError(f"{path} cannot be imported: {_why(error)}") from error
        if not isinstance(entry, self.type):
            raise UserError(f"{path} has no {self.constant} that is a {self.type.__name__}")
        return entry

    def find(self, word: str) -> Entry:
        """The entry of that name, or of the file of that path where it ends in ``.py``."""
        return self.from_file(Path(word)) if is_python_file(word) else self.get(word)

    def _made(self, found: object) -> object:
        """An entry, or what a function of no arguments makes of one."""
        return found() if callable(found) and not isinstance(found, self.type) else found

    def _plugins(self) -> dict[str, EntryPoint]:
        return {
            name: one for name, one in _installed(self.group).items() if name not in self.builtin
        }

    def _load(self, plugin: EntryPoint) -> Entry:
        told = f"plug-in {self.noun} {plugin.name!r}"
        _theirs.add(re.split("[.:]", plugin.value)[0])
        try:
            with kept_switches():
                entry = self._made(plugin.load())
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # somebody else's module may raise anything, and may exit
            raise UserError(f"{told} cannot be loaded: {_why(error)}") from error
        if not isinstance(entry, self.type) or entry.name != plugin.name:
            raise UserError(
                f"{told}: {plugin.value} is not a {self.type.__name__} of the name {plugin.name!r}"
            )
        return entry


def is_python_file(word: str) -> bool:
    """Whether a word is the path of a Python file, in any case, and not an entry's name."""
    return word.lower().endswith(".py")


def blamed_on(error: BaseException) -> str | None:
    """The last line of somebody else's code that an error came through, ``FILE:LINE``; ``None``
    where it is all our own."""
    found = None
    for frame, line in walk_tb(error.__traceback__):
        name = frame.f_globals.get("__name__", "")
        if name in _theirs or name.partition(".")[0] in _theirs:
            found = f"{frame.f_code.co_filename}:{line}"
    return found


def _why(error: BaseException) -> str:
    """What loading a plug-in raised. Before version 0.2 plug-ins imported ``bench``, ``sweeps`` and
    ``analysis``; of one that still does, what to import instead."""
    if isinstance(error, UserError):
        return str(error)
    absent = error.name or "" if isinstance(error, ImportError) else ""
    if absent.partition(".")[0] in ("bench", "sweeps", "analysis"):
        lines = (frame.line or "" for frame in extract_tb(error.__traceback__))
        typed = [found[1] for line in lines if (found := OLD_IMPORT.match(line))]
        wanted = typed[-1] if typed else absent
        return f"it imports {wanted}; import mugrow.{wanted} instead"
    return in_one_line(error)


@lru_cache
def _installed(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in all_installed(group)}


def all_installed(group: str) -> tuple[EntryPoint, ...]:
    """The plug-ins of a group, also those that are ignored."""
    return tuple(entry_points(group=group))


def in_one_line(error: BaseException) -> str:
    """``ZeroDivisionError: division by zero``."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".removesuffix(": ")


def keyword_params(function: Callable[..., Any]) -> dict[str, Scalar]:
    """The keyword-only arguments of a function and their defaults."""
    return {p.name: p.default for p in _parameters(function) if p.kind is p.KEYWORD_ONLY}


@lru_cache  # a plan asks for every run
def _parameters(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    return tuple(inspect.signature(function).parameters.values())


def split(noun: str, text: str) -> tuple[str, dict[str, str]]:
    """``szp:shrink=0.2`` as the name and the values by parameter, none of them checked."""
    name, *given = text.split(":")
    return name, assigned(given, f"behind {noun} {name!r} go parameters as PARAMETER=VALUE")


def with_params(noun: str, text: str) -> tuple[str, dict[str, Scalar]]:
    """``szp:shrink=0.2`` as the name and the parameters, each as its narrowest type."""
    name, given = split(noun, text)
    return name, {key: scalar(value) for key, value in given.items()}


def assigned(parts: Iterable[str], wanted: str) -> dict[str, str]:
    """``key=value`` texts by key. Raises ``UserError``; ``wanted`` says what was asked for."""
    values: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals:
            raise UserError(f"{wanted}, not {part!r}")
        if key in values:
            raise UserError(f"{key} is given twice: {values[key]!r} and {value!r}")
        values[key] = value
    return values


def scalar(text: str) -> Scalar:
    """The narrowest of true or false, whole number, finite number and word that reads ``text``."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            value = kind(text)
            if math.isfinite(value):
                return value
        except (ValueError, OverflowError):
            continue
    return text


def parse(registry: Registry[Parameters], text: str) -> tuple[Parameters, dict[str, Scalar]]:
    """``completep:alpha=0.5`` as the entry and the parameters that are given, each of its default's
    type. Raises ``UserError`` for an unknown name or parameter and for a wrong value."""
    name, params = with_params(registry.noun, text)
    entry = registry.get(name)
    check_params(f"{registry.noun} {name!r}", entry.params, entry.choices, params)
    return entry, {key: _as(entry.params[key], value) for key, value in params.items()}


def _as(default: Scalar, value: Scalar) -> Scalar:
    """One spelling of a number: 1 is 1.0, and -0.0 is 0.0."""
    return float(value) + 0.0 if isinstance(default, float) else value


def canonical(registry: Registry[Parameters], text: str) -> str:
    """The one spelling of an entry with its parameters: only those that are not at their default,
    sorted. Raises what ``parse`` raises."""
    entry, params = parse(registry, text)
    chosen = {key: params[key] for key in sorted(params) if params[key] != entry.params[key]}
    return ":".join([entry.name, *(f"{key}={value}" for key, value in chosen.items())])


def check_params(
    of: str, defaults: Mapping[str, Scalar], choices: Choices, given: Mapping[str, Scalar]
) -> None:
    """Raise the ``UserError`` of parameters that the entry does not have, or of wrong values;
    ``of`` is the entry in words, ``method 'szp'``."""
    for name, value in given.items():
        if not defaults:
            raise UserError(f"{of} has no parameters, so no {name!r}")
        if name not in defaults:
            raise unknown(f"parameter of {of}:", name, defaults)
        if name in choices and value not in choices[name]:
            raise unknown(f"{name} of {of}:", str(value), choices[name])
        if expected := _expected(defaults[name], value):
            raise UserError(
                f"{name} of {of} must be {expected} like {defaults[name]}, not {shortened(value)}"
            )


def _expected(default: Scalar, value: Scalar) -> str | None:
    """What a parameter should have been, if it is not of its default's kind."""
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "true or false,"
    if isinstance(default, int):
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        return None if whole else "a whole number, at least 1,"
    if isinstance(default, float):
        return None if _is_number(value) else "a finite number"
    return None


def _is_number(value: Scalar) -> bool:
    return not isinstance(value, bool | str) and math.isfinite(value)
