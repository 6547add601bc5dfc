"""Find what to check: a registered method, a plug-in, or a file that is neither yet."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from mugrow.bench.entries import in_one_line
from mugrow.bench.growth import GrowthMethod, method
from mugrow.bench.spec import UserError


def find(word: str) -> GrowthMethod:
    """The method of that name, or the ``METHOD`` of a Python file. Raises ``UserError``."""
    return from_file(Path(word)) if word.endswith(".py") else method(word)


def from_file(path: Path) -> GrowthMethod:
    """Import one file, under a name that hides no other module."""
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    spec = spec_from_file_location(f"mugrow_file_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # somebody else's file may raise anything
        raise UserError(f"{path} cannot be imported: {in_one_line(error)}") from error
    entry = getattr(module, "METHOD", None)
    if not isinstance(entry, GrowthMethod):
        raise UserError(f"{path} has no METHOD that is a GrowthMethod")
    return entry
