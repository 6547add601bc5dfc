"""Intervals of what is chosen from a grid: their coverage where the jackknife has no width."""

import math

import numpy as np
import pandas as pd
import pytest

from mugrow.analysis.measure.claims import claim, ledger
from mugrow.analysis.measure.quantity import by_seed, lowest, percent
from mugrow.analysis.measure.selection import AboveLowest, AtBest, FirstBelow, OnGrid, above_lowest
from mugrow.analysis.read.store import Store
from mugrow.bench.spec import UserError

NO_STORE = Store(pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), {})
STUDIES = 200


def of(losses):
    """A quantity of these losses by seed."""
    return by_seed(dict(enumerate(map(float, losses))))


def drawn(rng, means, seeds, noise=0.01):
    """Losses around means: what seeds share, and noise of each run."""
    shared = 3 * noise * rng.standard_normal((seeds, 1))
    return [
        of(column)
        for column in (means + shared + noise * rng.standard_normal((seeds, len(means)))).T
    ]


def covered(intervals, truth):
    return np.mean([one.lo - 1e-12 <= truth <= one.hi + 1e-12 for one in intervals])


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("regret", [0.0, 0.1])
def test_a_regret_covers_where_its_jackknife_has_no_width(seeds, regret):
    """The loss chosen lies ``regret`` percent above the lowest of six."""
    means = 2.0 * (1 + np.array([regret, 0, 0.5, 1, 2, 4]) / 100)
    rng = np.random.default_rng(0)
    studies = [drawn(rng, means, seeds, noise=0.005) for _ in range(STUDIES)]
    ours = [above_lowest(losses[0], losses)(NO_STORE) for losses in studies]
    plain = [percent(losses[0], lowest(*losses))(NO_STORE) for losses in studies]
    assert covered(ours, regret) >= 0.93
    if regret:
        assert covered(plain, regret) < 0.85
        assert sum(one.lo == one.hi for one in plain) > 4 * sum(one.lo == one.hi for one in ours)


def test_a_regret_of_several_choices_is_their_mean():
    chosen, others = of([2.0, 2.1, 2.0]), [of([2.1, 2.2, 2.2]), of([2.2, 2.4, 2.3])]
    one = above_lowest(chosen, [chosen, *others])
    both = AboveLowest(one.whole, one.over * 2)
    assert both(NO_STORE) == one(NO_STORE)
    assert (one(NO_STORE).value, one(NO_STORE).lo) == (0, 0)
    assert math.isnan(above_lowest(of([2.0]), [of([2.0])])(NO_STORE).lo)


def test_the_first_place_below_covers():
    """Shares at which the loss crosses that of the whole at 0.6: the first tried that does is 0.75,
    and the crossing lies between it and the one before."""
    rng, shares = np.random.default_rng(1), (0.25, 0.5, 0.75, 1.0)
    found = []
    for _ in range(STUDIES):
        bound, *losses = drawn(rng, np.array([2.0, *(2.0 + 0.05 * (0.6 - s) for s in shares)]), 3)
        found.append(FirstBelow(dict(zip(shares, losses, strict=True)), bound)(NO_STORE))
    assert covered(found, 0.6) >= 0.93
    assert len({one.value for one in found}) > 1
    sure = FirstBelow({0.25: of([1.0, 1.1, 1.2]), 0.5: of([1.0, 1.1, 1.0])}, of([2.0, 2.1, 2.2]))
    assert (sure(NO_STORE).lo, sure(NO_STORE).value, sure(NO_STORE).hi) == (0, 0.25, 0.25)
    never = FirstBelow({0.25: of([3.0, 3.1, 3.0])}, of([2.0, 2.1, 2.2]), otherwise=1.0)
    assert (never(NO_STORE).lo, never(NO_STORE).value, never(NO_STORE).hi) == (0.25, 1, 1)


def test_a_number_at_the_best_place_moves_by_half_a_step_or_is_unknown():
    values = tuple(of([at, at + 0.1, at]) for at in (1.0, 2.0, 4.0))
    losses = [of([3.0, 3.1, 3.2]), of([1.0, 1.1, 1.2]), of([3.0, 3.0, 3.0])]
    inside = AtBest(tuple(losses), values)(NO_STORE)
    plain = values[1](NO_STORE)
    assert inside.value == plain.value
    assert (inside.hi - plain.hi, plain.lo - inside.lo) == (pytest.approx(1), pytest.approx(1))
    edge = AtBest((losses[1], losses[0], losses[2]), values)
    assert edge(NO_STORE).value == pytest.approx(1 + 0.1 / 3)
    assert math.isnan(edge(NO_STORE).lo)


def test_ledgers_say_what_no_number_of_seeds_decides():
    noisy = of([0.9, 1.1, 1.0, 1.2])
    edge = AtBest((noisy, noisy + 1), (noisy, noisy))
    coarse = OnGrid(noisy, lambda store, level: 0.2)
    fine = OnGrid(noisy, lambda store, level: 0.01)
    claims = [
        claim(name, "says", "where", "quantity", measured > 1.0)
        for name, measured in {"edge": edge, "coarse": coarse, "fine": fine}.items()
    ]
    rows = {row.claim: row for row in ledger(claims, NO_STORE)}
    assert "at the edge" in rows["edge"].why
    assert "too far apart" in rows["coarse"].why
    assert math.isnan(rows["edge"].seeds_needed)
    assert math.isnan(rows["coarse"].seeds_needed)
    assert rows["fine"].why is None
    assert rows["fine"].seeds_needed > 4


def test_what_is_chosen_stands_alone():
    one = of([1.0, 2.0])
    for selected in (
        above_lowest(one, [one]),
        FirstBelow({1.0: one}, one),
        OnGrid(one, lambda s, v: 1),
    ):
        with pytest.raises(UserError, match="chosen from places tried"):
            selected - one
