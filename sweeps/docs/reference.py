"""The pages of the API: what ``mugrow`` exports, and a page for each package below it.

Only the pages' outline is written here; mkdocstrings fills it in from the docstrings.
"""

from collections.abc import Iterable
from pathlib import Path

PARTS = ("bench", "sweeps", "analysis")
HIDDEN = "sweeps/recipes/papers"  # a paper's folder is read in its recipe, not called


def pages(root: Path) -> dict[str, str]:
    """Markdown by file name, ``mugrow.md`` first, of the checkout at ``root``."""
    found = [path.parent for part in PARTS for path in (root / part).rglob("__init__.py")]
    names = sorted(path.relative_to(root).as_posix() for path in found)
    packages = [name for name in names if not name.startswith(HIDDEN)]
    ordered = sorted(packages, key=lambda name: (PARTS.index(name.split("/")[0]), name))
    listed = {f"{name.replace('/', '.')}.md": of_package(root, name) for name in ordered}
    return {"mugrow.md": of_names(listed)} | listed


def of_names(packages: Iterable[str]) -> str:
    """The page of what ``import mugrow`` gives, by ``__all__``."""
    import mugrow

    exported: tuple[str, ...] = tuple(getattr(mugrow, "__all__", ()))
    names = [name for name in exported if not name.startswith("_")]
    parts = ["# mugrow", "", (mugrow.__doc__ or "").strip(), ""]
    if names:
        parts += ["```python", f"from mugrow import {names[0]}", "```", ""]
    for name in names:
        parts += [_block(f"mugrow.{name}", root=True), ""]
    parts += ["## By package", ""]
    parts += [f"- [mugrow.{page.removesuffix('.md')}]({page})" for page in packages]
    return "\n".join([*parts, ""])


def of_package(root: Path, name: str) -> str:
    """The page of the package in the folder ``name``: itself, then its modules."""
    dotted = f"mugrow.{name.replace('/', '.')}"
    modules = sorted(path.stem for path in (root / name).glob("*.py"))
    parts = [f"# {dotted}", "", _block(dotted, root=False), ""]
    for module in modules:
        if module not in ("__init__", "__main__"):
            parts += [_block(f"{dotted}.{module}", root=True), ""]
    return "\n".join(parts)


def navigation(names: Iterable[str]) -> list[dict[str, object]]:
    """The menu: ``mugrow``, then each part with its packages."""
    names = list(names)
    menu: list[dict[str, object]] = [{"mugrow": "reference/mugrow.md"}]
    for part in PARTS:
        selected = [name for name in names if name.split(".")[0] == part]
        menu.append({part: [{name.removesuffix(".md"): f"reference/{name}"} for name in selected]})
    return menu


def _block(path: str, *, root: bool) -> str:
    options = ["    options:", f"      show_root_heading: {str(root).lower()}"]
    if root:
        options.append("      heading_level: 2")
    return "\n".join([f"::: {path}", *options])
