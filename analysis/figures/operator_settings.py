"""Loss against an operator's own setting, a line for each growth: does one value serve them all?

A setting has no scale of its own. Shrink factors are chosen in even steps and noises in factors, so
the axis takes whichever makes the values tried more even.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.typing import ColorType

from mugrow.analysis.figures import style
from mugrow.analysis.figures import transfer_words as words
from mugrow.analysis.figures.lr_sweeps import ACROSS, LOSS, mark_at_top, mark_edge
from mugrow.analysis.transfer.operator_regret import GrowthOptimum
from mugrow.analysis.transfer.results import SettingResult, TransferResults
from mugrow.bench.spec import UserError


def operator_settings(found: TransferResults) -> Figure:
    """A panel for each comparison; its minima are starred."""
    compared = found.operator_settings.compared
    if not compared:
        raise UserError(
            "figure 'operator_settings' needs three values of an operator's setting at two "
            "growths, and the study has none"
        )
    columns = min(ACROSS, len(compared))
    figure, axes = style.panels(-(-len(compared) // columns), columns)
    for empty in axes.flat[len(compared) :]:
        empty.set_axis_off()
    colours = shades(compared)
    for axis, one in zip(axes.flat, compared, strict=False):
        draw_panel(axis, one, colours)
    for row in axes:
        row[0].set_ylabel(LOSS)
    style.legend_below(figure, legend(compared, colours))
    return figure


def shades(compared: Sequence[SettingResult]) -> dict[str, ColorType]:
    """A colour for the name of each growth, dark for the largest."""
    growths = {(rung.factor, rung.name) for one in compared for rung in one.rungs}
    ordered = [name for _, name in sorted(growths)]
    colours = style.shades([(place, 0) for place in range(len(ordered))])
    return {name: colours[place, 0] for place, name in enumerate(ordered)}


def draw_panel(axis: Axes, one: SettingResult, colours: dict[str, ColorType]) -> None:
    values = sorted({tried.value for rung in one.rungs for tried in rung.values})
    scale(axis, values)
    for rank, rung in enumerate(one.rungs):
        draw_growth(axis, rung, colours[rung.name], rank)
    axis.set_title(style.wrapped(style.plain(words.name(one)), 30))
    axis.set_xlabel(style.plain(words.setting(one)))


def draw_growth(axis: Axes, rung: GrowthOptimum, colour: ColorType, rank: int) -> None:
    """Seed band, mean and minimum; crosses at the top for values that diverged."""
    known = [tried for tried in rung.values if tried.known]
    x = [tried.value for tried in known]
    low, high = ([float(end(tried.per_seed)) for tried in known] for end in (np.min, np.max))
    axis.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
    axis.plot(x, [tried.loss.value for tried in known], "-o", color=colour, label="_mean")
    for tried in rung.values:
        if tried.status == "diverged":
            mark_at_top(axis, tried.value, 0.975 - 0.05 * rank, "x", colour)
    style.mark_minimum(axis, rung.best, rung.lowest_loss.value, colour)
    if rung.edge:
        mark_edge(axis, (rung.best, rung.lowest_loss.value), rung.edge)


def scale(axis: Axes, values: Sequence[float]) -> None:
    """Linear or logarithmic, with ticks at the values; 0 is left of a logarithmic axis."""
    if logarithmic(values):
        smallest = min(value for value in values if value > 0)
        axis.set_xscale("symlog", linthresh=smallest, linscale=0.5)
    axis.xaxis.set_major_locator(FixedLocator(list(values)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.value(value)))


def logarithmic(values: Sequence[float]) -> bool:
    """Whether ascending values are more even in their logarithm; 0 apart, which has none."""
    positive = [value for value in values if value > 0]
    if values[0] < 0 or len(positive) < 3:
        return False
    return unevenness(np.log(positive)) < unevenness(np.array(positive))


def unevenness(places: npt.NDArray[np.float64]) -> float:
    """The spread of the steps over their mean."""
    steps = np.diff(places)
    return float(steps.std() / steps.mean())


def legend(compared: Sequence[SettingResult], colours: dict[str, ColorType]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker="o", label=f"growth {name}")
        for name, colour in colours.items()
    ]
    handles.append(Line2D([], [], color=style.GREY, marker="*", ls="none", label="lowest mean"))
    tried = [value for one in compared for rung in one.rungs for value in rung.values]
    if any(one.status == "diverged" for one in tried):
        handles.append(Line2D([], [], color=style.GREY, marker="x", ls="none", label="diverged"))
    return handles
