"""Words of the command line before they are taken apart: an option may be given again.

An option that takes several values takes them at once, ``--source-cost a=1 b=2``, or one by one,
``--source-cost a=1 --source-cost b=2``: its later values are put behind the first. Numbers may have
a suffix there, ``--params 1.3B``. A key that is given twice is refused, for one of its values would
be lost; so are two values of an option that takes one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from tyro.constructors import PrimitiveConstructorSpec

from mugrow.bench.spec import UserError


def words_of(command: type, words: Sequence[str]) -> list[str]:
    """The words behind a command's name for ``tyro``."""
    check_once(words, options_of_one(command))
    return gathered(words, options_of_several(command))


def _amount(words: list[str]) -> float:
    from mugrow.analysis.read.cells import amount

    try:
        return amount(words[0])
    except UserError as error:
        raise ValueError(str(error)) from None  # tyro says which option it is of


Amount = Annotated[
    float,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="NUMBER",
        instance_from_str=_amount,
        is_instance=lambda value: isinstance(value, float | int),
        str_from_instance=lambda value: [f"{value:g}"],
    ),
]
"""A number that may have a suffix: 1300000000, 1.3e9 or 1.3B."""


def options_of_several(command: type) -> set[str]:
    """The options of a command, ``--method``, that take several values at once."""
    found = set()
    for name, plain, _ in _options(command):
        several = get_origin(plain) is tuple and get_args(plain)[-1:] == (...,)
        if several and get_origin(get_args(plain)[0]) is not tuple:
            found.add(f"--{name.replace('_', '-')}")
    return found


def _options(command: type) -> Iterator[tuple[str, Any, list[Any]]]:
    """Name, type and annotations of each, those of options that commands share among them."""
    for name, kind in get_type_hints(command, include_extras=True).items():
        plain, *about = get_args(kind) if get_origin(kind) is Annotated else (kind,)
        if isinstance(plain, type) and is_dataclass(plain):
            yield from _options(plain)
        else:
            yield name, plain, about


def options_of_one(command: type) -> dict[str, str]:
    """The options of a command that take one value, ``--out``, by each of their spellings."""
    found: dict[str, str] = {}
    for name, plain, about in _options(command):
        kinds = get_args(plain) if get_origin(plain) is UnionType else (plain,)
        if not any(one is bool or get_origin(one) is tuple for one in kinds):
            option = f"--{name.replace('_', '-')}"
            aliases = [one for each in about for one in getattr(each, "aliases", None) or ()]
            found |= dict.fromkeys([option, *aliases], option)
    return found


def check_once(words: Sequence[str], one: Mapping[str, str]) -> None:
    """Raise the ``UserError`` of an option of one value that has two which differ."""
    given: dict[str, str] = {}
    before_end = words[: words.index("--")] if "--" in words else words
    for place, word in enumerate(before_end):
        name, equals, value = word.partition("=")
        option = one.get(name.replace("_", "-"))
        if option is None:
            continue
        if not equals:
            value = words[place + 1] if place + 1 < len(words) else ""
        if given.setdefault(option, value) != value:
            raise UserError(f"{option} is given twice: {given[option]!r} and {value!r}")


def gathered(words: Sequence[str], several: set[str]) -> list[str]:
    """The words with the values of each option of several at its first place."""
    head: list[str] = []
    values: dict[str, list[str]] = {}
    places: dict[str, int] = {}
    taking = head
    for place, word in enumerate(words):
        if word == "--":
            return [*_spread(head, places, values), *words[place:]]
        name, equals, value = word.partition("=")
        option = name.replace("_", "-")
        if not word.startswith("-") or _is_number(word):
            taking.append(word)
        elif option in several:
            if option not in places:
                places[option] = len(head)
                head.append(option)
            taking = values.setdefault(option, [])
            taking += [value] if equals else []
        else:
            taking = head
            head.append(word)
    return _spread(head, places, values)


def _spread(
    head: Sequence[str], places: Mapping[str, int], values: Mapping[str, Sequence[str]]
) -> list[str]:
    at = {place: option for option, place in places.items()}
    return [one for place, word in enumerate(head)
            for one in ([word, *values[at[place]]] if place in at else [word])]  # fmt: skip


def _is_number(word: str) -> bool:
    return word[1:2].isdigit() or word[1:2] == "."
