"""The law of each resample: that of a fit to the rows drawn, or none."""

import numpy as np
import pytest
from law_points import TRUTH, rows_of

from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.fit import fit
from mugrow.analysis.laws.resample import draw_counts
from mugrow.analysis.laws.resampled import resampled_params

FORM = get_form("chinchilla")
POINTS = rows_of("chinchilla", TRUTH["chinchilla"], rows=48, noise=0.003)
GROUPS = np.repeat(np.arange(6), 8).tolist()


def test_each_is_what_a_fit_to_its_rows_finds() -> None:
    found = fit(FORM, POINTS).params
    draws = resampled_params(FORM, POINTS, found, groups=GROUPS, resamples=5, seed=3)
    for params, count in zip(draws, draw_counts(6, 5, seed=3), strict=True):
        rows = np.repeat(np.arange(48), np.repeat(count, 8).astype(int))
        alone = fit(FORM, {name: column[rows] for name, column in POINTS.items()})
        assert params == pytest.approx(alone.params, rel=1e-4)


def test_a_resample_that_cannot_tell_has_none() -> None:
    """One group has all sizes but one: a resample without it cannot tell alpha."""
    size = np.where(np.array(GROUPS) == 0, POINTS["n"], 1e8)
    law = TRUTH["chinchilla"]
    loss = law[0] + law[1] / size ** law[3] + law[2] / POINTS["d"] ** law[4]
    points = {"n": size, "d": POINTS["d"], "loss": loss}
    draws = resampled_params(
        FORM, points, fit(FORM, points).params, groups=GROUPS, resamples=20, seed=0
    )
    drawn = draw_counts(6, 20, seed=0)[:, 0] > 0
    assert 0 < drawn.sum() < 20
    assert [bool(params) for params in draws] == drawn.tolist()


def test_a_resample_without_warm_starts_says_nothing_of_them() -> None:
    """A fit of its rows would call kappa 0, but nothing in them says so."""
    warm = get_form("transfer_tokens")
    points = rows_of("transfer_tokens", TRUTH["transfer_tokens"], rows=60)
    groups = [0 if grown else 1 + i % 5 for i, grown in enumerate(points["d1"] > 0)]
    found = fit(warm, points).params
    draws = resampled_params(warm, points, found, groups=groups, resamples=20, seed=0)
    drawn = draw_counts(6, 20, seed=0)[:, groups_of(groups, 0)] > 0
    assert 0 < drawn.sum() < 20
    assert [bool(params) for params in draws] == drawn.tolist()


def groups_of(groups: list[int], name: int) -> int:
    """The number of a group, in order of appearance."""
    return list(dict.fromkeys(groups)).index(name)
