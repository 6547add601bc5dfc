"""A figure's SVG inside a page: the same picture in a third of the bytes.

matplotlib writes every letter as a reference to its outline, every look at every line, and points
to a millionth of a point. Inside a page, where a figure of forty panels would be half of the
weight, points are to a tenth, a seventh of a pixel of a wide screen; they go from one to the next;
looks that several lines share are classes, and ids that nothing refers to are gone.
"""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from markupsafe import Markup

SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
POINTS = {"M": 1, "L": 1, "Q": 2, "C": 3, "z": 0}  # of each command of a path
COMMAND = re.compile(r"([A-Za-z])([^A-Za-z]*)")
MOVED = re.compile(r"translate\((\S+) (\S+)\)")
REFERENCE = re.compile(r"url\(#([^)]+)\)")
ROOT = ' xmlns="http://www.w3.org/2000/svg" style="stroke-linejoin:round;stroke-linecap:butt"'


def inline(svg: bytes, name: str, says: str) -> Markup:
    """An SVG of matplotlib to put inside HTML, without a size of its own. Its alternative text is
    what it ``says``; ids and classes begin with the figure's ``name``, since they must be unique on
    a page."""
    root = ET.fromstring(svg)
    ids = {old: f"{name}-{place}" for place, old in enumerate(dict.fromkeys(_referred(root)))}
    looks = Counter(one.get("style", "") for one in root.iter())
    shared = [style for style, count in looks.items() if style and count > 2]
    classes = {style: f"{name}-l{place}" for place, style in enumerate(shared)}
    rules = "".join(f".{of}{{{_tight(style)}}}" for style, of in classes.items())
    inside = "".join(_text(one, ids, classes) for one in root)
    named = f'role="img" aria-label={quoteattr(says)} viewBox={quoteattr(root.get("viewBox", ""))}'
    return Markup(f"<svg {named}{ROOT}><style>{rules}</style>{inside}</svg>")


def _referred(root: ET.Element) -> Iterator[str]:
    for one in root.iter():
        if one.get(HREF, "").startswith("#"):
            yield one.attrib[HREF][1:]
        for value in one.attrib.values():
            yield from REFERENCE.findall(value)


def _text(one: ET.Element, ids: dict[str, str], classes: dict[str, str]) -> str:
    """An element with what is in it; of a group without a look of its own only that."""
    tag = one.tag.removeprefix(SVG)
    if tag in ("metadata", "style"):  # its one rule is the root's look
        return ""
    attributes = dict(_attributes(one, ids, classes))
    inside = "".join(_text(each, ids, classes) for each in one)
    if tag == "g" and (not attributes or not inside):
        return inside
    if tag == "defs" and not inside:
        return ""
    inside += escape((one.text or "").strip())
    shown = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{tag}{shown}>{inside}</{tag}>" if inside else f"<{tag}{shown}/>"


def _attributes(
    one: ET.Element, ids: dict[str, str], classes: dict[str, str]
) -> Iterator[tuple[str, str]]:
    moved = MOVED.fullmatch(one.get("transform", "")) if one.tag == f"{SVG}use" else None
    for key, value in one.attrib.items():
        value = REFERENCE.sub(lambda found: f"url(#{ids[found[1]]})", value)
        if key == "id":
            if value in ids:
                yield "id", ids[value]
        elif key == HREF:
            yield "href", f"#{ids[value[1:]]}" if value.startswith("#") else value
        elif key == "style":
            yield ("class", classes[value]) if value in classes else ("style", _tight(value))
        elif key == "transform" and moved:
            yield from (("x", _number(moved[1])), ("y", _number(moved[2])))
        elif key == "d":
            yield "d", path(value)
        elif key in ("x", "y") and one.tag == f"{SVG}use":
            yield key, _number(value)
        else:
            yield key, value


def _tight(style: str) -> str:
    return re.sub(r"([:;,]) ", r"\1", style)


def _number(text: str) -> str:
    return _tenths(round(10 * float(text)))


def _tenths(count: int) -> str:
    """``-5`` of them are ``-.5``."""
    whole, tenth = divmod(abs(count), 10)
    text = f"{whole or ''}.{tenth}" if tenth else str(whole)
    return f"-{text}" if count < 0 else text


def path(absolute: str) -> str:
    """A path of absolute points, each to a tenth and from the one before; what is not made of
    lines and curves stays.

    >>> path("M 10 20 L 10.04 20.5 L 9.5 20.5 z")
    'm10 20 0 .5-.5 0z'
    """
    steps: list[tuple[str, list[int]]] = []
    x = y = begun_x = begun_y = 0
    for command, given in COMMAND.findall(absolute):
        values = [round(10 * float(value)) for value in given.split()]
        if POINTS.get(command, -1) * 2 != len(values):
            return absolute
        if command == "z":
            x, y = begun_x, begun_y
        elif command == "L" and values == [x, y] and len(steps) > 1:
            continue
        steps.append((command.lower(), [value - (y if n % 2 else x)
                                        for n, value in enumerate(values)]))  # fmt: skip
        x, y = values[-2:] or (x, y)
        if command == "M":
            begun_x, begun_y = x, y
    return "".join(_written(steps))


def _written(steps: list[tuple[str, list[int]]]) -> Iterator[str]:
    """A command that is repeated, and a line behind a move, need no letter; a number that begins
    with its sign, or with its point behind another's, no space."""
    before, last = "", ""
    for command, values in steps:
        if command != before or command in "mz":
            if not (command == "l" and before == "m"):
                yield command
                last = ""
            before = command
        for value in values:
            text = _tenths(value)
            apart = last and text[0] != "-" and not (text[0] == "." and "." in last)
            yield f" {text}" if apart else text
            last = text
