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
from typing import Any

import numpy as np
import pandas as pd

from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.clusters import Index, residual_factors
from mugrow.analysis.laws.fit import fit
from mugrow.analysis.laws.growth_factor import FORM as GROWTH_FACTOR
from mugrow.analysis.laws.parabola import FEWEST, levels, parabolas
from mugrow.analysis.stats import Array
from mugrow.bench.spec import UserError

Row = dict[str, Any]

GRID = 41
CURVE = 60


def contours(rows: pd.DataFrame, laws: Iterable[Row]) -> list[Row]:
    """The difference of each grown law from scratch's, for ``laws`` of ``rows``; see ``chapter``.

    ``difference`` and ``gap``, what is between the two intervals (below 0 where they overlap), are
    (n, d), in nats. What cannot be drawn has a ``reason`` in their place.
    """
    found = list(laws)
    baselines = {one["parametrization"]: one for one in found if one["scratch"]}
    return [
        _contour(rows, baselines.get(one["parametrization"]), one)
        for one in found
        if not one["scratch"]
    ]


def _contour(rows: pd.DataFrame, scratch: Row | None, grown: Row) -> Row:
    facts: Row = {"label": grown["label"], "parametrization": grown["parametrization"]}
    if scratch is None:
        return facts | {"reason": "there are no runs from scratch"}
    for one in (scratch, grown):
        if one["status"] != "converged":
            return facts | {"reason": f"the law of {one['label']} is {one['status']}"}
        if one["horizons"] == 1:
            return facts | {"reason": f"all runs of {one['label']} have one token count"}
    both = [_rows_of(rows, one) for one in (scratch, grown)]
    box = {name: _common(*(own[name] for own in both)) for name in ("n", "d")}
    if not all(low < high for low, high in box.values()):
        return facts | {"reason": "scratch and grown runs have no sizes and tokens in common"}
    n, d = (np.geomspace(*box[name], GRID) for name in ("n", "d"))
    losses, lows, highs = zip(
        *(_predicted(one, own, n, d) for one, own in zip((scratch, grown), both, strict=True)),
        strict=True,
    )
    return facts | {
        "reason": "",
        "baseline": scratch["label"],
        "n": n.tolist(),
        "d": d.tolist(),
        "difference": (losses[1] - losses[0]).tolist(),
        "gap": np.maximum(lows[1] - highs[0], lows[0] - highs[1]).tolist(),
        "runs": {name: both[1][name].tolist() for name in ("n", "d")},
    }


def _rows_of(rows: pd.DataFrame, law: Row) -> pd.DataFrame:
    own = (rows["law"] == law["label"]) & (rows["parametrization"] == law["parametrization"])
    found: pd.DataFrame = rows[own]
    return found


def _common(one: "pd.Series[float]", other: "pd.Series[float]") -> tuple[float, float]:
    return float(max(one.min(), other.min())), float(min(one.max(), other.max()))


def _predicted(law: Row, rows: pd.DataFrame, n: Array, d: Array) -> tuple[Array, Array, Array]:
    """Losses of a law on the grid, with the ends of their intervals, each (n, d)."""
    form = get_form(law["form"])
    grid = dict(zip(("n", "d"), (axis.ravel() for axis in np.meshgrid(n, d, indexing="ij")),
                    strict=True))  # fmt: skip
    points = {name: rows[name].to_numpy(float) for name in ("n", "d", "loss")}
    for columns in (grid, points):
        columns["m"] = columns["d"] / columns["n"]
    result = fit(
        form,
        points,
        groups=rows["cluster"].tolist(),
        bootstrap=law["bootstrap"]["resamples"],
        predict=np.stack([grid[name] for name in form.variables], axis=1).tolist(),
        starts={name: [value] for name, value in law["params"].items()},
    )
    nothing = (np.nan, np.nan)
    table = np.array([(one["loss"], *(one["interval"] or nothing)) for one in result.predictions])
    loss, low, high = table.T.reshape(3, len(n), len(d))
    return loss, low, high


def growth_factors(rows: pd.DataFrame, resamples: int) -> dict[str, Any]:
    """A panel for each target size and variant with growth factors enough for a parabola.

    ``most`` is the largest number of different factors at one target, scratch's 1 among them.
    """
    most, panels = 0, []
    for one in _targets(rows):
        count = one["g"].nunique()
        most = max(most, count)
        if count >= FEWEST:
            panels.append(_panel(one, resamples))
    return {"panels": panels, "most": most, "needed": FEWEST}


def _targets(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The grown rows of each variant at each target size, beside scratch's of that size."""
    known = rows[rows["g"].notna()]
    for _, sized in known.groupby(["parametrization", "n"]):
        scratch = sized[sized["scratch"]].assign(g=1.0)
        for variant, grown in sized[~sized["scratch"]].groupby("variant", sort=False):
            yield pd.concat([scratch, grown]).assign(variant=variant)


def _panel(rows: pd.DataFrame, resamples: int) -> Row:
    points = {name: rows[name].to_numpy(float) for name in ("g", "c", "loss")}
    first = rows.iloc[0]
    facts = {name: first[name] for name in ("variant", "parametrization", "n")}
    try:
        found = levels(points["c"])
    except UserError as why:
        return facts | {"status": "unidentified", "reason": str(why), "levels": []}
    groups = rows["cluster"].tolist()
    result = fit(GROWTH_FACTOR, points, groups=groups, bootstrap=resamples)
    row = result.to_json()
    pairs = zip(found, row.pop("extras")["levels"], strict=True)
    return facts | row | {"levels": [_drawn(points, own, level) for own, level in pairs]}


def _drawn(points: dict[str, Array], own: Index, level: Row) -> Row:
    """A level with its points, and its parabola where one goes through them."""
    g, loss = points["g"][own], points["loss"][own]
    shown = level | {"g": g.tolist(), "loss_at_g": loss.tolist(), "parabola": None}
    if level["status"] == "few":
        return shown
    curve = parabolas(np.log(g), loss, residual_factors(np.zeros(len(g), np.intp), 0, 0))
    x = np.linspace(0.0, np.log(g).max(), CURVE)
    return shown | {"parabola": {"g": np.exp(x).tolist(), "loss": curve(x).tolist()}}
