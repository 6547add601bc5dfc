"""Texts to documents: one file, a folder of files, and the standard library's sources.

A document is ``bytes`` of UTF-8. Every reader takes a path and gives the documents in a fixed
order; a file that cannot be read as what its name says is a ``UserError`` that says where it
breaks. Records with a text in them are ``mugrow.bench.data.records``, token ids
``mugrow.bench.data.token_files``.
"""

import re
import sysconfig
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mugrow.bench.data.records import bad_byte, read_whole, utf8
from mugrow.bench.spec import UserError

SECTION_BYTES = 16_384
BLANK_LINE = re.compile(rb"\n[ \t\r]*\n")
NOT_STDLIB = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
TEXTS = "*.txt"  # of a folder, unless another pattern is given


def stdlib_documents() -> list[bytes]:
    """The running interpreter's standard-library sources by relative path, tests left out.

    Files that are not UTF-8 are left out too, and so is ``_sysconfigdata*.py``: it holds paths of
    the machine that built Python, and would make the corpus differ where the sources do not.
    """
    root = Path(sysconfig.get_path("stdlib"))
    paths = {path.relative_to(root).as_posix(): path for path in root.rglob("*.py")}
    sources = (
        path.read_bytes()
        for name, path in sorted(paths.items())
        if not NOT_STDLIB.intersection(name.split("/")) and not name.startswith("_sysconfigdata")
    )
    return [source for source in sources if bad_byte(source) is None]


def text_file_documents(path: Path) -> list[bytes]:
    """Sections of one text file: each ends at the first blank line after 16 kB.

    A single file marks no documents, but something must be held out that is not next to what is
    trained on, and larger than a context window.
    """
    text = utf8(read_whole(path), str(path))
    cuts = [0]
    for blank in BLANK_LINE.finditer(text):
        if blank.end() - cuts[-1] >= SECTION_BYTES:
            cuts.append(blank.end())
    return [text[start:end] for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True)]


def text_folder_documents(path: Path, glob: str | None = None) -> tuple[list[bytes], str]:
    """The files below a folder that a pattern matches, by relative path, each a document; and what
    is left out, in words.

    ``glob`` is one pattern or several between commas, ``*.md,*.rst``; ``*.txt`` by default. Under
    a pattern of one's own, files that are hidden or not UTF-8 are left out.
    """
    found = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    matched = _matched(path, glob or TEXTS)
    hidden = {name for name in matched if glob and any(p.startswith(".") for p in name.split("/"))}
    read = {name: found[name].read_bytes() for name in sorted(matched - hidden)}
    broken = [name for name, text in read.items() if bad_byte(text) is not None] if glob else []
    kept = [utf8(text, str(found[name])) for name, text in read.items() if name not in broken]
    others = _endings(found.keys() - matched)
    if not kept:
        wanted = ".txt file" if glob is None else f"text that matches {glob!r}"
        there = f"; it holds {others}: --glob '*.md'" if others else ""
        raise UserError(f"corpus folder '{path}' holds no {wanted}{there}")
    left_out = [
        others,
        f"{len(hidden)} hidden" if hidden else "",
        f"{len(broken)} that are not UTF-8 ({broken[0]}…)" if broken else "",
    ]
    return kept, ", ".join(filter(None, left_out))


def _matched(path: Path, glob: str) -> set[str]:
    """The files of a folder that one of the patterns matches, by relative path."""
    if ".." in glob.split("/"):
        raise UserError(f"--glob {glob!r} is no pattern of files in a folder: it leads out of it")
    try:
        files = [file for part in glob.split(",") for file in path.rglob(part.strip())]
        return {file.relative_to(path).as_posix() for file in files if file.is_file()}
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"--glob {glob!r} is no pattern of files in a folder: {error}") from None


def _endings(names: Iterable[str]) -> str:
    """How many files there are of each ending: ``20 .md, 8 .png``."""
    counts = Counter(Path(name).suffix or "without an ending" for name in names)
    return ", ".join(f"{count} {ending}" for ending, count in counts.most_common(5))
