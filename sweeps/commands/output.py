"""What commands share at the edge: checks of flags, and tables on the terminal."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mugrow.bench.spec import UserError
from mugrow.sweeps import machine
from mugrow.sweeps.program import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = (".svg", ".png", ".pdf")


def check_positive(option: str, *values: int) -> None:
    """Raise the ``UserError`` of a flag whose values must be at least 1."""
    machine.check_positive(f"--{option}", *values)


def check_folder(out: Path | None) -> None:
    """Raise the ``UserError`` of an --out that is a file."""
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; --out takes a folder")


def check_once(folders: tuple[Path, ...]) -> None:
    """Raise the ``UserError`` of a folder that is named twice."""
    whole = [folder.resolve() for folder in folders]
    for place, folder in enumerate(whole):
        if folder in whole[:place]:
            raise UserError(f"{folders[place]} is named twice")


def check_figure(path: Path | None, option: str = "--figure") -> None:
    """Raise the ``UserError`` of a file that is none that figures are written to."""
    if path is not None and path.suffix not in FIGURES:
        raise UserError(f"{option} draws {', '.join(FIGURES[:-1])} or {FIGURES[-1]}, not {path}")


def check_priced(price: str | None) -> None:
    """Raise the ``UserError`` of a price where something is to be trained."""
    if price is not None:
        raise UserError("--price is of --dry-run: without it runs train on --device")


def write_figure(path: Path, draw: Callable[[], "Figure"]) -> None:
    """Draw in the house style and write the file, by its suffix, whole or not at all."""
    from mugrow.analysis.figures import style
    from mugrow.bench.record import write_atomically

    figure = style.drawn(draw)
    drawn = {
        ".svg": lambda: style.svg_bytes(figure, path.stem),
        ".png": lambda: style.png_bytes(figure),
        ".pdf": lambda: style.pdf_bytes(figure),
    }[path.suffix]()
    write_atomically(path, lambda temporary: temporary.write_bytes(drawn))


def print_summary(folder: Path, page: Path, as_json: bool) -> None:
    """A study's numbers as JSON, or where its report is."""
    if as_json:
        print((folder / "summary.json").read_text(encoding="utf-8"), end="")
    else:
        print(f"report: {page}")


def print_notes(notes: Iterable[object]) -> None:
    """What was noticed on the way to a result, a line each, beside it: on stderr."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def print_table(rows: list[dict[str, Any]]) -> None:
    """A line a row under the keys of the first; numbers with four digits, ``None`` as a dash."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*(rows[0] if rows else ()), box=None, header_style="bold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row.values()))  # nothing is markup
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))
