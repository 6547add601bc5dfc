"""``mugrow transfer``: does the best learning rate hold as models grow, in a study or a table?"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from mugrow.bench.spec import UserError
from mugrow.sweeps.commands.output import print_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mugrow.analysis.transfer.own_sweep import OwnTransfer
    from mugrow.analysis.transfer.results import TransferResults


@dataclass(frozen=True)
class TransferCommand:
    """Whether the best learning rate of small models is that of large ones.

    Of a study's folder, every ladder of sweeps (width, depth, tokens, batch, growth): shift and
    drift of the optimum, regret, the bowls' curvature, what the search cost, and a verdict by the
    rule that is printed with it. Of operators' own settings, such as a shrink factor, what it costs
    to keep at larger growths the value that was best at the smallest. What cannot be compared is
    listed with the reason.

    Of a table of runs, in a file or several (see `mugrow read`), the same along --size; the flags
    after --figures are for tables. EXPR is a column or an expression on columns, such as
    "2 ** log2_lr"; of several files the column run has their names, and `--size run` takes the
    number in each.
    """

    source: Annotated[Positional[tuple[Path, ...]], arg(metavar="FOLDER|TABLE ...")]
    """A folder of `mugrow run`, or tables with a row a run."""
    json: bool = False
    """Print as JSON."""
    figures: Path | None = None
    """Draw the figures on transfer (SVG and PNG) into this folder."""
    size: Annotated[str | None, arg(metavar="EXPR")] = None
    """What grows: width, depth, tokens, batch, parameters."""
    lr: Annotated[str | None, arg(metavar="EXPR")] = None
    """The learning rate."""
    loss: Annotated[str | None, arg(metavar="EXPR")] = None
    """The final loss. NaN is a run that diverged, an empty cell one that did or is missing."""
    seeds: Annotated[str | None, arg(metavar="COLUMN")] = None
    """The column that tells runs of one size and rate apart; without it there is no interval."""
    by: Annotated[tuple[str, ...], arg(metavar="COLUMN ...")] = ()
    """Columns whose values are compared each by itself, as a parametrization."""
    where: Annotated[str | None, arg(metavar="EXPR")] = None
    """The rows to use, as in 'optimizer == "adamw"'."""
    report: Path | None = None
    """Write a page with verdicts, figures and tables into this folder."""

    def __call__(self) -> None:
        given = [name for name in FLAGS if getattr(self, name)]
        if not self.source:
            raise UserError("name a folder of `mugrow run`, or tables with a row a run")
        first, *others = self.source
        if not (others or given or first.is_file()):
            return self._of_study(first)
        for one in self.source:
            if one.is_dir() and (one / "study.json").exists():
                why = f"--{given[0]} is for a table" if given else "it is no table of runs"
                raise UserError(f"{why}; {one} is a study's folder")
        self._of_table()

    def _of_study(self, folder: Path) -> None:
        from mugrow.analysis.figures.transfer import BY_NAME
        from mugrow.analysis.read.plain import to_json
        from mugrow.analysis.read.store import load
        from mugrow.analysis.report.transfer import nothing
        from mugrow.analysis.transfer.results import transfer_results
        from mugrow.analysis.transfer.sweep import by_setting

        found = transfer_results(by_setting(load(folder).runs))
        if not (found.ladders or found.operator_settings.compared):
            raise UserError(f"{folder} has no ladder to compare: {nothing(found)}")
        if self.figures is not None:
            _draw(self.figures, BY_NAME, found)
        if self.json:
            print(json.dumps(to_json(found), indent=2))
        else:
            _show(found)

    def _of_table(self) -> None:
        from mugrow.analysis.report.own_sweep import as_json, build_sweep, drawn
        from mugrow.analysis.report.transfer import nothing
        from mugrow.analysis.transfer.own_sweep import OwnTransfer, SweepColumns
        from mugrow.analysis.transfer.results import transfer

        name = str(self.source[0])
        if len(self.source) > 1:
            name += f" and {len(self.source) - 1} more"
        found = transfer(
            self.source, size=self.size, lr=self.lr, loss=self.loss, seeds=self.seeds, by=self.by,
            where=self.where,
        )  # fmt: skip
        assert isinstance(found, OwnTransfer)
        assert self.size is not None
        assert self.lr is not None
        assert self.loss is not None
        for note in found.notes:
            print(note, file=sys.stderr)
        if not found.ladders:
            raise UserError(f"{name} has no ladder to compare: {nothing(found)}")
        if self.figures is not None:
            _draw(self.figures, drawn(found), found)
        if self.report is not None:
            columns = SweepColumns(self.size, self.lr, self.loss, self.seeds, self.by, self.where)
            page = build_sweep(found, Path(name).name, columns, self.report)
            print(f"report: {page}", file=sys.stderr)
        if self.json:
            print(json.dumps(as_json(found), indent=2))
            return
        _show_verdicts(found)
        _show(found)


FLAGS = ("size", "lr", "loss", "seeds", "by", "where", "report")


def _show_verdicts(found: "OwnTransfer") -> None:
    from mugrow.analysis.report.transfer import sentences

    for ladder, line in zip(found.ladders, sentences(found), strict=True):
        print(line.replace("undecided (", "cannot say ("))
        rates = [f"{2**rung.best_log2_lr.value:.3g} at {rung.size:g}" for rung in ladder.rungs]
        print(f"Best rates: {', '.join(rates)}.\n")


def _show(found: "TransferResults") -> None:
    from mugrow.analysis.report.transfer import listed

    for title, rows in listed(found):
        print(title)
        print_table(rows)
        print()
    print(f"Verdicts. {found.rule}.")
    if found.operator_settings.compared:
        print(f"Of operators' own settings. {found.operator_settings.rule}.")
    print(f"Intervals: {found.intervals}.")


def _draw(
    folder: Path,
    figures: "Mapping[str, Callable[[TransferResults], Figure]]",
    found: "TransferResults",
) -> None:
    from mugrow.analysis.figures import style

    for name, draw in figures.items():
        try:
            style.save(style.drawn(partial(draw, found)), folder, name)
            print(folder / f"{name}.svg", file=sys.stderr)
        except UserError as reason:
            for stale in (folder / f"{name}.svg", folder / f"{name}.png"):
                stale.unlink(missing_ok=True)
            print(f"{name}: {reason}", file=sys.stderr)
