"""A page of a report: one file that needs no network, with its style, its scripts and a contents
list inside.

The contents are made from the headings that have an id, so that no chapter can be missing from them
and none that was dropped can stay. Everything that came from a file is escaped by the templates.
"""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup, escape

HERE = Path(__file__).parent
HEADING = re.compile(r'<h([23]) id="([^"]+)"[^>]*>(.*?)</h\1>', re.DOTALL)
TAG = re.compile(r"<[^>]+>")
PLACE = "<!--contents-->"
STYLES = ("page.css", "vendor/uplot/uPlot.min.css")


class Heading(NamedTuple):
    """A chapter (2) or a part of one (3)."""

    level: int
    anchor: str
    text: str


def rendered(template: str, **given: Any) -> str:
    """The page of a template; what it is ``given`` is escaped unless it is markup."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    charts = bool(given.get("charts"))
    found = environment.get_template(template).render(
        style=Markup("\n".join(map(_read, STYLES[: 1 + charts]))), scripts=scripts(charts), **given
    )
    return found.replace(PLACE, contents(headings(found)), 1)


def scripts(charts: bool) -> Markup:
    """What a page can do beside being read: every page works without it. The library that draws the
    axes of charts comes with its licence."""
    parts = [_read("page.js")]
    if charts:
        licence = f"/*\nuPlot\n{_read('vendor/uplot/LICENSE')}*/"
        parts += [licence, _read("vendor/uplot/uPlot.iife.min.js"), _read("charts.js")]
    return Markup("\n".join(f"<script>\n{part}</script>" for part in parts))


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def headings(page: str) -> Iterator[Heading]:
    """The headings of a page that can be linked to, in their order."""
    for level, anchor, text in HEADING.findall(page):
        yield Heading(int(level), anchor, unescape(" ".join(TAG.sub("", text).split())))


def contents(found: Iterator[Heading]) -> str:
    """A list of links, the parts of a chapter below it; nothing for a page of one chapter."""
    chapters: list[tuple[Heading, list[Heading]]] = []
    for heading in found:
        if heading.level == 2 or not chapters:
            chapters.append((heading, []))
        else:
            chapters[-1][1].append(heading)
    if len(chapters) < 2:
        return ""
    items = []
    for chapter, parts in chapters:
        below = "".join(f"<li>{_link(part)}</li>" for part in parts)
        items.append(f"<li>{_link(chapter)}{f'<ol>{below}</ol>' if below else ''}</li>")
    return f"<details open><summary>Contents</summary><ol>{''.join(items)}</ol></details>"


def _link(heading: Heading) -> str:
    return f'<a href="#{escape(heading.anchor)}">{escape(heading.text)}</a>'
