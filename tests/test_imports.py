"""Packages import in one direction: no two need each other, imports in functions counted.

And results are typed: few dictionaries of anything are left where rows become claims.
"""

import ast
from collections.abc import Iterable
from pathlib import Path

import mugrow.analysis

ANALYSIS = Path(mugrow.analysis.__file__).resolve().parent
ROOT = ANALYSIS.parent
PACKAGES = ("bench", "analysis", "sweeps")
"""The three packages: each may import those before it."""
PARTS = (
    ("stats",),
    ("read",),
    ("transfer",),
    ("measure",),
    ("words", "laws"),
    ("advice",),
    ("summary",),
    ("figures",),
    ("report",),
)
"""The parts of `mugrow.analysis`, likewise; those of one tuple import neither each other."""


def imported(source: str) -> set[str]:
    """The dotted names that a module's text imports anywhere, `from a import b` as ``a.b``."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def within(names: Iterable[str], package: str) -> set[str]:
    """The parts of the package among the names: ``read`` for ``mugrow.analysis.read.store``."""
    prefix = package + "."
    return {name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix)}


def modules(package: Path) -> dict[Path, str]:
    found = {path.relative_to(package): path.read_text() for path in package.rglob("*.py")}
    assert found
    return found


def test_imports_inside_functions_are_seen() -> None:
    text = "def f():\n    from mugrow.analysis import read\n    import mugrow.bench.spec\n"
    assert within(imported(text), "mugrow") == {"analysis", "bench"}
    assert within(imported(text), "mugrow.analysis") == {"read"}


def test_packages_import_in_one_direction() -> None:
    wrong = [
        f"{package}/{path} imports {other}"
        for rank, package in enumerate(PACKAGES)
        for path, text in modules(ROOT / package).items()
        for other in sorted(within(imported(text), "mugrow") & set(PACKAGES[rank + 1 :]))
    ]
    assert not wrong, "\n".join(wrong)


def test_parts_of_analysis_import_in_one_direction() -> None:
    rank = {part: place for place, parts in enumerate(PARTS) for part in parts}
    wrong = []
    for path, text in modules(ANALYSIS).items():
        part = path.parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        assert part in rank, f"{part} has no place in the order"
        for other in sorted(within(imported(text), "mugrow.analysis") - {part}):
            assert other in rank, f"{path} imports {other}, which has no place in the order"
            if rank[other] >= rank[part]:
                wrong.append(f"{path} imports {other}")
    assert not wrong, "\n".join(wrong)


def untyped(source: str) -> list[str]:
    """Every ``dict[str, Any]`` and the like in a module's text: type checkers see nothing there."""
    shapes = {f"{one}[str, {of}]" for one in ("dict", "Mapping") for of in ("Any", "object")}
    found = [ast.unparse(n) for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Subscript)]
    return [one for one in found if one in shapes]


def test_results_are_typed() -> None:
    """What is left is JSON: specs and configurations as read, and what is written."""
    assert sorted(untyped("def f(a: dict[str, Any]) -> Mapping[str, object]: ...")) == [
        "Mapping[str, object]", "dict[str, Any]"
    ]  # fmt: skip
    counted = {str(path): len(untyped(text)) for path, text in modules(ANALYSIS).items()}
    assert sum(counted.values()) <= 25, {path: n for path, n in counted.items() if n}
