"""``mugrow coordcheck``: whether activations keep their size as the model grows."""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from mugrow.sweeps.commands.output import check_figure, print_table, write_figure

if TYPE_CHECKING:
    from mugrow.bench.coordcheck import Row

MOST_SAID = 3  # slopes that are not known, the vaguest first
LABELS = {"x": "|x|", "dx": "|x-x0|"}


@dataclass(frozen=True)
class CoordcheckCommand:
    """Measure how activations and their movement scale with width or depth; exit code 1 if a slope
    is out of its bounds. Where one is not known well enough, the verdict is "cannot say".

    The models train a few steps on one batch size and rate. Give several widths, or
    several depths.
    """

    parametrization: Annotated[tuple[str, ...], arg(metavar="P ...")]
    """Names of `mugrow list parametrizations`, with parameters as in completep:alpha=0.5."""
    widths: Annotated[tuple[int, ...], arg(metavar="WIDTH ...")] = ()
    """Widths to compare: 32 64 128 by default, or twice that after growth. With several depths one,
    64 by default."""
    depths: Annotated[tuple[int, ...], arg(metavar="DEPTH ...")] = ()
    """Depths to compare; one, 2 by default, with several widths."""
    method: str | None = None
    """Measure right after growth from half the size, by this method, as in szp:shrink=0.2."""
    base: int | None = None
    """The width (or depth) that hyperparameters are meant at; 32 (or 2) by default."""
    heads: int | None = None
    """This many heads at every width, so that the head size grows; else it is 16."""
    flavour: Literal["llama", "gpt2"] = "llama"
    """Which decoder."""
    lr: float | None = None
    """The learning rate at the base: 0.01 by default, of umup 0.9, of spectral 0.04."""
    init_std: float | None = None
    """The initial scale at the base: 0.08 by default, of umup 1."""
    steps: int | None = None
    """Updates to train; 4 by default, in depth 10."""
    seeds: Annotated[tuple[int, ...], arg(metavar="SEED ...")] = ()
    """Initial weights and batches, these alone; intervals are over them. By default as many as it
    takes to know every slope to ±0.05, 10 at least and 80 at most."""
    corpus: str = "synthetic"
    """A corpus by name or path; see `mugrow list corpora`."""
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    """What products are of."""
    figure: Path | None = None
    """Draw sizes over the axis, for every module and step, to this .svg, .png or .pdf file."""
    json: bool = False
    """Print as JSON: a row a module and step."""

    def __call__(self) -> None:
        from mugrow.bench.coordcheck import coordcheck

        check_figure(self.figure)
        rows = coordcheck(
            *self.parametrization,
            widths=self.widths,
            depths=self.depths,
            method=self.method,
            base=self.base,
            heads=self.heads,
            flavour=self.flavour,
            lr=self.lr,
            init_std=self.init_std,
            steps=self.steps,
            seeds=self.seeds,
            corpus=self.corpus,
            precision=self.precision,
        )
        if self.figure is not None:
            from mugrow.analysis.figures.coordcheck import of_rows

            write_figure(self.figure, lambda: of_rows(rows))
        if self.json:
            print(json.dumps([asdict(row) for row in rows], indent=2))
        else:
            _print(rows)
        if any(row.verdict == "fail" for row in rows):
            sys.exit(1)


def _print(rows: Sequence["Row"]) -> None:
    """A table for each parametrization, a line a module, and the verdict."""
    from mugrow.bench.coordcheck.pooling import KNOWN, unknown

    for parametrization in dict.fromkeys(row.parametrization for row in rows):
        checked = [row for row in rows if row.parametrization == parametrization]
        first = checked[0]
        after = "" if first.method == "scratch" else f", grown by {first.method}"
        sizes = " ".join(map(str, first.sizes))
        print(
            f"{parametrization}{after}: slopes of log2 mean|x| over log2 {first.axis}, {sizes}; "
            f"{first.seeds} seeds"
        )
        modules = dict.fromkeys((row.kind, row.module) for row in checked)
        print_table([_line([r for r in checked if (r.kind, r.module) == key]) for key in modules])
        if reasons := sorted({row.reason for row in checked if row.reason}):
            print(f"exempt: {'; '.join(reasons)}")
        if vague := dict.fromkeys(f"{LABELS[row.kind]} {row.module}" for row in unknown(checked)):
            print(f"not known to ±{KNOWN:g}: {', '.join(vague)}")
        open_ = [row for row in checked if row.verdict == "cannot say"]
        for row in sorted(open_, key=lambda row: -(row.half or 0.0))[:MOST_SAID]:
            print(_cannot_say(row))
        print(f"verdict: {_verdict(checked, len(modules))}\n")


def _verdict(rows: Sequence["Row"], modules: int) -> str:
    """Of all modules together: what fails decides, and then what nobody can say."""
    for verdict, text in (("fail", "FAIL"), ("cannot say", "CANNOT SAY")):
        found = {(row.kind, row.module) for row in rows if row.verdict == verdict}
        if found:
            return f"{text}, {len(found)} of {modules}"
    return "pass"


def _cannot_say(row: "Row") -> str:
    """The slope, what it is known to, and what would decide it."""
    from mugrow.bench.coordcheck.slopes import KNOWN

    return (
        f"cannot say: {LABELS[row.kind]} {row.module} at t={row.step}, slope {row.slope:+.2f} ± "
        f"{row.half:.2f} across a bound; about {row.seeds_to_know} seeds know it to ±{KNOWN:g}"
    )


def _line(rows: Sequence["Row"]) -> dict[str, str]:
    """A module's slopes by step, and the interval of the steepest of those that decide."""
    verdicts = {row.verdict for row in rows}
    verdict = next(known for known in ("fail", "cannot say", "pass", "exempt") if known in verdicts)
    deciding = [row for row in rows if row.verdict == verdict]
    steepest = max(deciding, key=lambda row: math.inf if row.slope is None else abs(row.slope))
    slopes = {f"t={row.step}": "–" if row.slope is None else f"{row.slope:+.2f}" for row in rows}
    return {
        "": LABELS[rows[0].kind],
        "module": rows[0].module,
        "t=0": "",
        **slopes,
        "steepest, 95 %": _interval(steepest),
        "verdict": verdict,
    }


def _interval(row: "Row") -> str:
    if row.interval is None:
        return "no slope"
    low, high = row.interval
    return f"{low:+.2f} to {high:+.2f}"
