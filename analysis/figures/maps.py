"""Maps of loss over learning rate and batch size, side by side in one colour scale."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from mugrow.analysis.figures import style
from mugrow.analysis.measure.maps import Cell, Plane

CIRCLED = "#D55E00"
LUMINANCE = (0.2126, 0.7152, 0.0722)  # of red, green and blue (Rec. 709)


def draw(planes: Sequence[Mapping[str, tuple[Plane, Cell | None]]]) -> Figure:
    """A row of maps for each mapping, flush right, each with the cell to be circled, if any."""
    columns = max(map(len, planes))
    figure, axes = style.panels(len(planes), columns)
    figure.set_figheight(2.3 * len(planes))
    everything = [plane.above.ravel() for row in planes for plane, _ in row.values()]
    top = 3 * float(np.nanmedian(np.concatenate(everything)))
    for panels, row in zip(axes, planes, strict=True):
        first = columns - len(row)
        for empty in panels[:first]:
            empty.set_axis_off()
        panels[first].set_ylabel("batch (tokens)")
        for axis, (name, (plane, circled)) in zip(panels[first:], row.items(), strict=True):
            image = draw_plane(axis, plane, circled, top)
            axis.set_title(f"{name}\nlowest {np.nanmin(plane.loss):.3f}", fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("log₂ learning rate")
    figure.colorbar(image, ax=list(axes.flat), label="loss above the lowest (nats)", pad=0.02)
    return figure


def draw_plane(axis: Axes, plane: Plane, circled: Cell | None, top: float) -> AxesImage:
    """One map; its lowest cell starred."""
    image = axis.imshow(
        plane.above, cmap="cividis_r", vmin=0, vmax=top or 1, aspect="auto", origin="lower"
    )
    axis.set_xticks(range(len(plane.log2_lr)), [f"{rate:.3g}" for rate in plane.log2_lr])
    axis.set_yticks(range(len(plane.batches)), [str(batch) for batch in plane.batches])
    axis.grid(False)
    if circled is not None:
        axis.plot(circled[1], circled[0], "o", ms=17, mfc="none", mec=CIRCLED, mew=1.4)
    style.mark_minimum(axis, plane.best[1], plane.best[0], CIRCLED)
    return image


def draw_table(
    axis: Axes, table: pd.DataFrame, words: Callable[[float], str], **colours: Any
) -> AxesImage:
    """A table as coloured cells with their values in ``words``, its index and columns as ticks."""
    image = axis.imshow(table, aspect="auto", **colours)
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        light = (
            np.dot(image.cmap(image.norm(value))[:3], LUMINANCE) > 0.5
        )  # none: transparent black
        colour = "black" if light or not np.isfinite(value) else "white"
        axis.text(column, row, words(value), ha="center", va="center", fontsize=8, color=colour)
    axis.set_xticks(range(len(table.columns)), [str(name) for name in table.columns])
    axis.set_yticks(range(len(table)), [str(name) for name in table.index])
    axis.grid(visible=False)
    return image
