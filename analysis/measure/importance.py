"""What each multiplier of a module is worth: a quadratic model of a search around its best trial.

With x the log2 of learning rate, initial scale and multipliers, less those of the best trial,

    loss(x) = a + sum over i of (b_i x_i + c_i x_i^2)

is fitted by least squares to the half of the points that is nearest to the best, since further out
there are cliffs. (They are chosen by where they are and never by their loss, which would bend the
model. A point that was asked for again is the same runs, so it counts once.) A multiplier's *worth*
is what setting it to 1 costs, all others left as they are, against the lowest loss along its axis
as far as it was tried. Its interval is from the least to the most worth in the joint 95 % region of
(b_i, c_i), by 2,000 draws from Student's distribution of the fit, so noise between seeds and what
the model leaves out are both in it. A search goes where noise has been kind, so quantiles of worth
itself cover too little: in simulated searches by ``trust``, of 3 to 20 multipliers, the intervals
here held 94 to 99 % of the worths above ``MARGIN``, quantiles 91 to 95 %. A multiplier is *flat*
where the whole interval is below ``MARGIN``: it need not be searched. Products of multipliers are
not in the model; what only pays jointly is not seen.
"""

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mugrow.bench.spec import UserError

MARGIN = 0.005  # nats per token
LEAST_PER_NUMBER = 2  # points for each number that is fitted
DRAWS, LEVEL = 2000, 0.95
SMALLEST = 1e-9  # of the largest singular value

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True)
class Importance:
    """Of one multiplier: its ``worth`` with the ends of its interval, in nats per token, and the
    log2 of where it is best."""

    name: str
    worth: float
    low: float
    high: float
    best_log2: float

    @property
    def flat(self) -> bool:
        """Whether searching it is worth less than the margin."""
        return self.high < MARGIN


def importance(trials: pd.DataFrame) -> tuple[Importance, ...]:
    """Of the multipliers of a search, the most important first. ``trials`` are rows of
    ``trials.parquet``; of several sweeps with multipliers it is the one with the lowest loss.
    Raises ``UserError`` where there are too few."""
    of_modules = trials[trials["modules"].notna()]
    complete = of_modules[of_modules["value"].notna()]
    if not complete.empty:
        sweep = complete["sweep"].iloc[int(complete["value"].argmin())]
        of_modules = of_modules[of_modules["sweep"] == sweep]
        complete = complete[complete["sweep"] == sweep].drop_duplicates(
            ["modules", "lr", "init_std"]
        )
    found = [json.loads(text) for text in complete["modules"]]
    names = sorted({name for text in of_modules["modules"] for name in json.loads(text)})
    if not names:
        raise UserError("no trial has multipliers of modules; `modules` of a study searches them")
    log2 = np.array([[one.get(name, 1.0) for name in names] for one in found], dtype=float)
    ends = complete[["lr", "init_std"]].to_numpy(dtype=float)
    every = np.log2(np.hstack([log2.reshape(len(found), len(names)), ends]))
    every = every[:, [True] * len(names) + [len(set(column)) > 1 for column in ends.T]]
    numbers = 1 + 2 * every.shape[1]
    if len(every) < LEAST_PER_NUMBER * numbers:
        raise UserError(
            f"importance of {len(names)} multipliers takes complete trials at "
            f"{LEAST_PER_NUMBER * numbers} points, not {len(every)}"
        )
    loss = complete["value"].to_numpy(dtype=float)
    best = every[loss.argmin()]
    near = np.argsort(((every - best) ** 2).sum(1), kind="stable")
    near = near[: max(len(near) // 2, LEAST_PER_NUMBER * numbers)]
    draws = _draws(every[near] - best, loss[near])
    reach = every[near, : len(names)]
    rows = [
        _of_axis(name, draws[:, :, place], -best[place], reach[:, place] - best[place])
        for place, name in enumerate(names)
    ]
    return tuple(sorted(rows, key=lambda one: -one.worth))


def _draws(x: Array, loss: Array) -> Array:
    """(b, c) of every axis, the fitted first: ``(1 + DRAWS, 2, axes)``."""
    design = np.hstack([np.ones((len(x), 1)), x, x**2])
    norms = np.linalg.norm(design, axis=0)
    norms[norms == 0] = 1.0  # an axis that does not vary there
    left, singular, right = np.linalg.svd(design / norms, full_matrices=False)
    inverse = np.where(singular > SMALLEST * singular[0], 1 / np.maximum(singular, SMALLEST), 0.0)
    fitted = right.T @ (inverse * (left.T @ loss)) / norms
    freedom = len(x) - design.shape[1]
    variance = ((loss - design @ fitted) ** 2).sum() / freedom
    # the symmetric root of the covariance, which no sign of a singular vector changes
    root = (right.T * inverse) @ right / norms[:, None] * np.sqrt(variance)
    rng = np.random.Generator(np.random.Philox(0))
    scale = np.sqrt(freedom / rng.chisquare(freedom, (DRAWS, 1)))
    drawn = fitted + scale * (rng.standard_normal((DRAWS, len(fitted))) @ root.T)
    return np.vstack([fitted, drawn])[:, 1:].reshape(1 + DRAWS, 2, x.shape[1])


def _of_axis(name: str, draws_N2: Array, one: float, reach: Array) -> Importance:
    """``one`` is the multiplier of 1, and ``reach`` what was tried, less the best trial's."""
    slope, bend = draws_N2.T
    low, high = min(reach.min(), one), max(reach.max(), one)
    with np.errstate(divide="ignore", invalid="ignore"):
        vertex = np.where(bend > 0, np.clip(-slope / (2 * bend), low, high), low)
    at = np.stack([vertex, np.full_like(vertex, low), np.full_like(vertex, high)])
    losses = slope * at + bend * at**2
    places = losses.argmin(0)
    worth = slope * one + bend * one**2 - losses.min(0)
    inside = worth[_joint_region(draws_N2)]
    best_log2 = float(at[places[0], 0] - one)
    return Importance(name, float(worth[0]), float(inside.min()), float(inside.max()), best_log2)


def _joint_region(draws_N2: Array) -> npt.NDArray[np.intp]:
    """Which of the draws, the fitted first, are in the smallest ellipse that has ``LEVEL`` of
    them."""
    away = draws_N2 - draws_N2[0]
    far = ((away @ np.linalg.pinv(away.T @ away)) * away).sum(1)
    return np.flatnonzero(far <= np.quantile(far, LEVEL))
