"""How many seeds a coordinate check takes: until every slope that is judged is known to ±0.05.

Seeds 0 to 9 are trained, then up to 19, 39 and 79, all pooled. It ends at the first of these four
looks after which the interval of every slope that counts is ±0.05 or less, and at 80 seeds in any
case. Slopes differ between seeds by a standard deviation of up to 0.2, for what attention adds in
the last block, so 40 or 80 are usual: tens of seconds for the small models.

It stops for being precise, never for its verdict: no verdict is waited for. Still there are four
looks and not one, and a rule that stops when its own estimate of the noise is low covers a little
less than it says. Of 20,000 draws of normal slopes, intervals of 95 % cover the truth in 93.7 to
95 %, by the noise. And a table has some 160 slopes, so a few are always outside of their intervals:
what fails by a hair is to be asked again, with other ``seeds``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from mugrow.bench.coordcheck.activations import Sizes
from mugrow.bench.coordcheck.series import ModelSeries, measured_series
from mugrow.bench.coordcheck.slopes import KNOWN as KNOWN
from mugrow.bench.coordcheck.slopes import Row, rows

LOOKS = (10, 20, 40, 80)  # seeds
TOGETHER = 40 * 128  # seeds in a stack times the largest width: what there is memory for


def pooled(series: ModelSeries, path: str | None = None) -> list[Row]:
    """The rows of a series whose seeds are not given. Raises what ``measured_series`` does."""
    measured: list[Sizes] = []
    found: list[Row] = []
    together = max(10, TOGETHER // max(model.width for model in series.models))
    for seeds in _looks():
        for first in range(seeds.start, seeds.stop, together):
            these = tuple(range(first, min(first + together, seeds.stop)))
            more = measured_series(replace(series, seeds=these), path)
            measured = joined(measured, more) if measured else more
        found = rows(series, measured)
        if not unknown(found):
            break
    return found


def joined(measured: Sequence[Sizes], more: Sequence[Sizes]) -> list[Sizes]:
    """The sizes of each model, for the seeds of both."""
    return [
        {key: np.concatenate([sizes_K, others[key]]) for key, sizes_K in sizes.items()}
        for sizes, others in zip(measured, more, strict=True)
    ]


def unknown(found: Sequence[Row]) -> list[Row]:
    """Those that count and have a slope that is not known to ``KNOWN``."""
    return [
        row
        for row in found
        if row.verdict != "exempt" and row.half is not None and row.half > KNOWN
    ]


def _looks() -> Iterator[range]:
    """The seeds that each look adds."""
    return map(range, (0, *LOOKS), LOOKS)
