"""Texts to documents: one file, a folder of files, and the standard library's sources.

A document is ``bytes`` of UTF-8. Every reader takes a path and gives the documents one by one, in a
fixed order; a file that cannot be read as what its name says is a ``UserError`` that says where it
breaks. Records with a text in them are ``mugrow.bench.data.records``, token ids
``mugrow.bench.data.token_files``.
"""

import os
import re
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from mugrow.bench.data.records import bad_byte, read_pieces, utf8
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
    paths: dict[str, Path] = {}
    for folder, below, names in os.walk(root):
        below[:] = set(below) - NOT_STDLIB  # which are not walked: packages have more than the rest
        files = (Path(folder, name) for name in names if name.endswith(".py"))
        paths |= {file.relative_to(root).as_posix(): file for file in files}
    sources = (
        path.read_bytes()
        for name, path in sorted(paths.items())
        if not name.startswith("_sysconfigdata")
    )
    return [source for source in sources if bad_byte(source) is None]


def text_file_documents(path: Path) -> Iterator[bytes]:
    """Sections of one text file: each ends at the first blank line after 16 kB.

    A single file marks no documents, but something must be held out that is not next to what is
    trained on, and larger than a context window.
    """
    text, at, before = bytearray(), 0, 0  # what is not cut yet, where to look on, what lies before
    for piece in read_pieces(path):
        text += piece
        cut = 0
        while blank := BLANK_LINE.search(text, at):
            at = blank.end()
            if at - cut >= SECTION_BYTES:
                yield utf8(bytes(text[cut:at]), str(path), before + cut)
                cut = at
        at = max(at, text.rfind(b"\n"))  # with what follows it may be a blank line's beginning
        del text[:cut]
        at, before = at - cut, before + cut
    yield utf8(bytes(text), str(path), before)


def text_folder_documents(path: Path, glob: str | None = None) -> tuple[Iterator[bytes], str]:
    """The files below a folder that a pattern matches, by relative path, each a document; and what
    is left out, in words.

    ``glob`` is one pattern or several between commas, ``*.md,*.rst``; ``*.txt`` by default. Under
    a pattern of one's own, files that are hidden or not UTF-8 are left out. Links to folders are
    not followed, unless the pattern names one: ``notes/*.md``.
    """
    below = [*path.rglob("*")]
    found = {file.relative_to(path).as_posix() for file in below if file.is_file()}
    matched = _matched(path, glob or TEXTS)
    hidden = {name for name in matched if glob and any(p.startswith(".") for p in name.split("/"))}
    names = sorted(matched.keys() - hidden)
    broken = [n for n in names if bad_byte(matched[n].read_bytes()) is not None] if glob else []
    kept = [matched[name] for name in names if name not in set(broken)]
    others = _endings(found - matched.keys())
    links = [one for one in below if one.is_symlink()]
    to_folders = sum(one.is_dir() for one in links)
    to_nothing = sum(not one.exists() for one in links)
    special = sum(not (one.is_file() or one.is_dir() or one.is_symlink()) for one in below)
    if not kept:
        wanted = ".txt file" if glob is None else f"text that matches {glob!r}"
        ending = others.split(", ")[0].partition(" ")[2]
        pattern = f"*{ending}" if ending.startswith(".") else "*"
        there = f"; it holds {others}: --glob '{pattern}'" if others else ""
        raise UserError(f"corpus folder '{path}' holds no {wanted}{there}")
    left_out = [
        others,
        f"{len(hidden)} hidden" if hidden else "",
        f"{len(broken)} that are not UTF-8 ({broken[0]}…)" if broken else "",
        f"{to_folders} that are links to folders" if to_folders else "",
        f"{to_nothing} that are links to nothing" if to_nothing else "",
        f"{special} that are no files" if special else "",
    ]
    texts = (utf8(file.read_bytes(), str(file)) for file in kept)
    return texts, ", ".join(filter(None, left_out))


def _matched(path: Path, glob: str) -> dict[str, Path]:
    """The files of a folder that one of the patterns matches, by relative path."""
    if ".." in glob.split("/"):
        raise UserError(f"--glob {glob!r} is no pattern of files in a folder: it leads out of it")
    try:
        files = [file for part in glob.split(",") for file in path.rglob(part.strip())]
        return {file.relative_to(path).as_posix(): file for file in files if file.is_file()}
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"--glob {glob!r} is no pattern of files in a folder: {error}") from None


def _endings(names: Iterable[str]) -> str:
    """How many files there are of each ending: ``20 .md, 8 .png``."""
    counts = Counter(Path(name).suffix or "without an ending" for name in names)
    return ", ".join(f"{count} {ending}" for ending, count in counts.most_common(5))
