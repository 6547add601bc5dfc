"""The site, whole: evidence rendered, its gallery and the API's pages written, mkdocs run strictly.

The sources in ``docs/`` are copied and completed in a temporary folder, and the site is put in its
place only when all of it is there. Nothing is fetched, at build or when it is read.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from mugrow.bench.spec import UserError
from mugrow.sweeps.docs import gallery, reference
from mugrow.sweeps.docs.render import REFERENCE, committed, render_all

CONFIGURATION = "mkdocs.yml"
ROOT_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md")
MADE = "objects.inv"  # every site has one: the API's index


def build(
    root: Path, out: Path, only: Sequence[str], workers: int, say: Callable[[str], None]
) -> list[str]:
    """Build the site of the checkout ``root`` into ``out``; returns a line for each study or paper
    that broke, and for a site that did: with any of them, ``out`` is left as it was.

    Raises ``UserError`` where there is no checkout, no mkdocs, or no place for a site.
    """
    _check(root, out)
    evidence = committed(root / REFERENCE, only)
    with tempfile.TemporaryDirectory(prefix="mugrow-docs-") as temporary:
        work = Path(temporary)
        docs = work / "docs"
        shutil.copytree(root / "docs", docs)
        rendered = []
        for one in render_all(evidence, docs / "reports", workers):
            rendered.append(one)
            say(f"{one.evidence.name}: {one.error or 'rendered'} ({one.seconds:.0f} s)")
        broken = [f"{one.evidence.name}: {one.error}" for one in rendered if one.error]
        if broken:
            return broken
        gallery.write(rendered, docs)
        (work / CONFIGURATION).write_text(json.dumps(complete(root, docs)), encoding="utf-8")
        if not _mkdocs(work):
            return [f"{CONFIGURATION}: the site has warnings, which are errors"]
        if out.exists():
            shutil.rmtree(out)
        shutil.move(work / "site", out)
    return []


def complete(root: Path, docs: Path) -> dict[str, object]:
    """Write the pages that are made from the checkout; returns mkdocs' configuration with them."""
    for name in ROOT_PAGES:
        text = (root / name).read_text(encoding="utf-8")
        (docs / name.lower()).write_text(text.replace("](docs/", "]("), encoding="utf-8")
    shutil.copy(root / "README.md", docs.parent)  # the home page quotes it
    pages = reference.pages(root)
    (docs / "reference").mkdir()
    for name, text in pages.items():
        (docs / "reference" / name).write_text(text, encoding="utf-8")
    return configuration(root, pages)


def configuration(root: Path, pages: Mapping[str, str]) -> dict[str, object]:
    """``mkdocs.yml`` with the API's pages in its menu and their sources' place."""
    import yaml

    found: dict[str, object] = yaml.safe_load((root / CONFIGURATION).read_text(encoding="utf-8"))
    menu = found["nav"]
    assert isinstance(menu, list)
    found["nav"] = [
        {"API": reference.navigation(list(pages)[1:])} if "API" in entry else entry
        for entry in menu
    ]
    plugins = found["plugins"]
    assert isinstance(plugins, dict)
    plugins["mkdocstrings"]["handlers"]["python"]["paths"] = [str(root.resolve())]
    return found


def _check(root: Path, out: Path) -> None:
    if not (root / CONFIGURATION).is_file():
        raise UserError(f"no {CONFIGURATION} in {root.resolve()}: run it at a checkout's root")
    if any(find_spec(name) is None for name in ("mkdocs", "material", "mkdocstrings")):
        raise UserError("the site needs more packages: pip install -c constraints.txt -e '.[docs]'")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; --out takes a folder")
    if out.exists() and any(out.iterdir()) and not (out / MADE).is_file():
        raise UserError(f"{out} holds something else than a site; give --out another folder")


def _mkdocs(work: Path) -> bool:
    """Run mkdocs in ``work``, warnings as errors; what it says of them goes to stderr."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    quiet = {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, cwd=work, env=os.environ | quiet, capture_output=True, text=True)
    said = re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr)
    if done.returncode:
        print(said, file=sys.stderr, end="")
    return done.returncode == 0
