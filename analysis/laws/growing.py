"""What growing changes, by laws: where a grown model is better than scratch, and from how small.

Two laws, of scratch and of a method's grown runs, give the difference

    delta(N, D) = L_grown(N, D) - L_scratch(N, D),

whose zero is where growing breaks even, by target compute alone (Mallik, Janowski, Hog et al. 2026,
arXiv 2605.13405). It is computed within the sizes and tokens that both have runs of. A difference
of two fits is less certain than either: with the law printed there, its error on a held-out run is
larger than the effect it is to measure. So a point counts as certain only where the 95 % intervals
of the two laws do not overlap, which is more than a test of the difference would ask.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.fit import fit
from mugrow.analysis.laws.growth_factor import FORM as GROWTH_FACTOR
from mugrow.analysis.laws.growth_factor import GrowthLevel, levels_of
from mugrow.analysis.laws.law import (
    Contour,
    DrawnLevel,
    GrowthFactors,
    GrowthPanel,
    Law,
    LawDifference,
    Parabola,
)
from mugrow.analysis.laws.parabola import FEWEST, levels, parabolas
from mugrow.analysis.laws.resample import Index, residual_factors
from mugrow.analysis.stats import Array
from mugrow.bench.spec import UserError

GRID = 41
CURVE = 60


def contours(rows: pd.DataFrame, laws: Iterable[Law]) -> list[Contour]:
    """The difference of each grown law from scratch's; ``laws`` are those of ``rows``, as
    ``mugrow.analysis.laws.scaling`` has both. What cannot be drawn has a reason in its place."""
    found = list(laws)
    baselines = {one.parametrization: one for one in found if one.scratch}
    return [
        _contour(rows, baselines.get(one.parametrization), one) for one in found if not one.scratch
    ]


def _contour(rows: pd.DataFrame, scratch: Law | None, grown: Law) -> Contour:
    def without(reason: str) -> Contour:
        return Contour(grown.label, grown.parametrization, reason)

    if scratch is None:
        return without("there are no runs from scratch")
    for one in (scratch, grown):
        if one.status != "converged":
            return without(f"the law of {one.label} is {one.status}")
        if one.horizons == 1:
            return without(f"all runs of {one.label} have one token count")
    drawn = difference(rows, scratch, grown)
    if drawn is None:
        return without("scratch and grown runs have no sizes and tokens in common")
    return Contour(grown.label, grown.parametrization, "", drawn)


def difference(rows: pd.DataFrame, scratch: Law, grown: Law) -> LawDifference | None:
    """Of two laws with numbers, where ``rows`` has runs of both; None where there is no such place.
    A law at a bound has no intervals, and then there is no gap."""
    both = [_rows_of(rows, one) for one in (scratch, grown)]
    box = {name: _common(*(of_law[name] for of_law in both)) for name in ("n", "d")}
    if not all(low < high for low, high in box.values()):
        return None
    n, d = (np.geomspace(*box[name], GRID) for name in ("n", "d"))
    losses, lows, highs = zip(
        *(
            _predicted(one, of_law, n, d)
            for one, of_law in zip((scratch, grown), both, strict=True)
        ),
        strict=True,
    )
    return LawDifference(
        baseline=scratch.label,
        n=n,
        d=d,
        difference=losses[1] - losses[0],
        gap=np.maximum(lows[1] - highs[0], lows[0] - highs[1]),
        runs={name: both[1][name].to_numpy() for name in ("n", "d")},
    )


def _rows_of(rows: pd.DataFrame, law: Law) -> pd.DataFrame:
    of_law = (rows["law"] == law.label) & (rows["parametrization"] == law.parametrization)
    found: pd.DataFrame = rows[of_law]
    return found


def _common(one: "pd.Series[float]", other: "pd.Series[float]") -> tuple[float, float]:
    return float(max(one.min(), other.min())), float(min(one.max(), other.max()))


def _predicted(law: Law, rows: pd.DataFrame, n: Array, d: Array) -> tuple[Array, Array, Array]:
    """Losses of a law on the grid, with the ends of their intervals, each (n, d)."""
    assert law.fit is not None
    form = get_form(law.fit.form)
    grid = dict(zip(("n", "d"), (axis.ravel() for axis in np.meshgrid(n, d, indexing="ij")),
                    strict=True))  # fmt: skip
    points = {name: rows[name].to_numpy(float) for name in ("n", "d", "loss")}
    for columns in (grid, points):
        columns["m"] = columns["d"] / columns["n"]
    inside = law.status == "converged"
    starts = {name: [value] for name, value in law.params.items()} if inside else None
    result = fit(
        form,
        points,
        groups=rows["cluster"].tolist(),
        bootstrap=law.fit.bootstrap.resamples if inside else 0,
        predict=np.stack([grid[name] for name in form.variables], axis=1).tolist(),
        starts=starts,
    )
    nothing = (np.nan, np.nan)
    table = np.array([(one.loss, *(one.interval or nothing)) for one in result.predictions])
    loss, low, high = table.T.reshape(3, len(n), len(d))
    return loss, low, high


def growth_factors(rows: pd.DataFrame, resamples: int) -> GrowthFactors:
    """A panel for each target size and variant with growth factors enough for a parabola.

    ``rows`` are those of ``mugrow.analysis.laws.scaling``.
    """
    most, panels = 0, []
    for one in _targets(rows):
        count = int(one["g"].nunique())
        most = max(most, count)
        if count >= FEWEST:
            panels.append(_panel(one, resamples))
    return GrowthFactors(panels, most, FEWEST)


def _targets(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The grown rows of each variant at each target size, beside scratch's of that size."""
    known = rows[rows["g"].notna()]
    for _, sized in known.groupby(["parametrization", "n"]):
        scratch = sized[sized["scratch"]].assign(g=1.0)
        for variant, grown in sized[~sized["scratch"]].groupby("variant", sort=False):
            yield pd.concat([scratch, grown]).assign(variant=variant)


def _panel(rows: pd.DataFrame, resamples: int) -> GrowthPanel:
    points = {name: rows[name].to_numpy(float) for name in ("g", "c", "loss")}
    first = rows.iloc[0]
    of_target = first["variant"], first["parametrization"], first["n"]
    try:
        found = levels(points["c"])
    except UserError as why:
        return GrowthPanel(*of_target, "unidentified", str(why))
    groups = rows["cluster"].tolist()
    result = fit(GROWTH_FACTOR, points, groups=groups, bootstrap=resamples)
    pairs = zip(found, levels_of(result), strict=True)
    drawn = [_drawn(points, of_level, level) for of_level, level in pairs]
    return GrowthPanel(*of_target, result.status, result.reason, drawn, result)


def _drawn(points: dict[str, Array], of_level: Index, level: GrowthLevel) -> DrawnLevel:
    """A level with its points, and its parabola where one goes through them."""
    g, loss = points["g"][of_level], points["loss"][of_level]
    parabola = None
    if level.status != "few":
        curve = parabolas(np.log(g), loss, residual_factors(np.zeros(len(g), np.intp), 0, 0))
        x = np.linspace(0.0, np.log(g).max(), CURVE)
        parabola = Parabola(np.exp(x), curve(x))
    return DrawnLevel(**vars(level), g=g, loss_at_g=loss, parabola=parabola)
