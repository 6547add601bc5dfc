"""What a method or parametrization is, in the first line of its own chapter, where a page names it.

The line is read from the file's text, for importing it would import torch. Those of a plug-in have
no file here, and no line.
"""

import ast
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import mugrow.bench
from mugrow.analysis import words as fmt
from mugrow.analysis.measure.arms import BASELINE

FOLDER = Path(mugrow.bench.__file__).parent
OPEN = "an end that the runs leave open, for they stop before it"


@cache
def first_line(kind: str, name: str) -> str:
    """Of the chapter of a ``growth`` method or a ``parametrization``; empty for one that is not
    ours."""
    path = next((one for one in (FOLDER / kind).glob("*.py") if one.stem == name), None)
    if path is None:
        return ""
    chapter = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    line, _, _ = chapter.partition("\n")
    return line.rstrip(".")


def explained(
    texts: Iterable[str], methods: Iterable[str], parametrizations: Iterable[str]
) -> list[tuple[str, str]]:
    """Of what ``texts`` name, each method and parametrization with its line, and an interval's open
    end; in their order, the baseline left out."""
    text = "\n".join(texts)
    named = [(name, "growth", name) for name in dict.fromkeys(methods) if name != BASELINE]
    named += [
        (fmt.parametrization(name), "parametrization", name.partition(":")[0])
        for name in dict.fromkeys(parametrizations)
    ]
    found = [
        (shown, line)
        for shown, kind, name in named
        if re.search(rf"(?<!\w){re.escape(shown)}(?!\w)", text) and (line := first_line(kind, name))
    ]
    return [*found, ("?", OPEN)] if re.search(r"\[\?|\?\]", text) else found
