"""How many seeds are taken, and what their slopes are then worth."""

from dataclasses import replace

import numpy as np
import pytest

from mugrow.bench.coordcheck import ModelSeries, check_series, pooling
from mugrow.bench.coordcheck.pooling import KNOWN, LOOKS, joined, unknown
from mugrow.bench.coordcheck.series import measured_series
from mugrow.bench.coordcheck.slopes import rows, t_interval
from mugrow.bench.data.batches import resolve
from mugrow.bench.spec import DataSpec, llama

SHAPE = {"depth": 2, "head_size": 8, "context": 8, "vocab_size": 64}
SERIES = ModelSeries(
    parametrization="mup",
    axis="width",
    models=tuple(llama(width=width, **SHAPE) for width in (32, 64, 128)),
    base=llama(width=32, **SHAPE),
    data=DataSpec(corpus="synthetic", corpus_sha256=""),
)
REAL = replace(
    SERIES,
    models=tuple(llama(width=width, **SHAPE) for width in (8, 16)),
    base=llama(width=8, **SHAPE),
    data=resolve("synthetic", val_tokens=8),
    steps=1,
)
UP, LOGITS = ("x", "blocks.0.mlp.up", 1), ("x", "blocks.0.attention.logits", 1)


@pytest.fixture
def planted(monkeypatch):
    """Seeds whose slopes are drawn beforehand, instead of models; which were asked for."""
    asked: list[tuple[int, ...]] = []

    def plant(slopes, key=UP):
        def measured(series, path=None):
            asked.append(series.seeds)
            own = np.asarray(slopes)[list(series.seeds)]
            return [{key: 3.0 * float(at) ** own} for at in series.sizes]

        monkeypatch.setattr(pooling, "measured_series", measured)
        return asked

    return plant


def drawn(sd, mean=0.0, seed=0):
    return np.random.default_rng(seed).normal(mean, sd, LOOKS[-1])


def half(row):
    return (row.interval[1] - row.interval[0]) / 2


@pytest.mark.parametrize(("sd", "seeds"), [(0.02, 10), (0.09, 20), (0.13, 40), (0.21, 80)])
def test_seeds_are_added_until_the_slope_is_known(planted, sd, seeds):
    slopes = drawn(sd)
    asked = planted(slopes)
    (row,) = check_series(SERIES)
    assert row.seeds == seeds
    assert sorted(seed for some in asked for seed in some) == list(range(seeds))
    assert half(row) <= KNOWN
    assert row.interval == pytest.approx(t_interval(slopes[:seeds]), abs=1e-9)
    fewer = t_interval(slopes[: seeds // 2])
    assert seeds == LOOKS[0] or fewer[1] - fewer[0] > 2 * KNOWN


def test_there_is_a_last_look_and_what_is_unknown_then_is_said(planted):
    planted(drawn(1.0))
    (row,) = found = check_series(SERIES)
    assert (row.seeds, unknown(found)) == (LOOKS[-1], [row])
    assert row.verdict == "cannot say"
    assert row.half > 0.15
    assert row.seeds_to_know > 1000


def test_an_unlucky_lot_of_seeds_is_no_fail(planted):
    """As the second block's attention in the GPT-2 flavour: 0.20 in the first 16, then 0.06."""
    slopes = drawn(0.14, 0.06)
    slopes[:16] += 0.20 - slopes[:16].mean()
    slopes[16:] += 0.06 - slopes[16:].mean()
    planted(slopes)
    (alone,) = rows(SERIES, pooling.measured_series(replace(SERIES, seeds=tuple(range(16)))))
    (row,) = check_series(SERIES)
    assert alone.verdict == "fail"
    assert row.verdict == "pass"
    assert row.slope == pytest.approx(slopes[: row.seeds].mean(), abs=1e-9)


def test_a_slope_that_is_out_of_bounds_still_fails(planted):
    planted(drawn(0.15, 0.17))
    (row,) = check_series(SERIES)
    assert row.verdict == "fail"
    planted(drawn(1.0, 3.0))  # a slope may fail for certain that is not known to ±0.05
    (row,) = check_series(SERIES)
    assert (row.verdict, row.half > KNOWN) == ("fail", True)


def test_what_is_exempt_waits_for_nothing(planted):
    growing = tuple(llama(width=w, **SHAPE | {"head_size": w // 4}) for w in (32, 64, 128))
    planted(drawn(1.0), LOGITS)
    (row,) = check_series(replace(SERIES, models=growing))
    assert (row.verdict, row.seeds) == ("exempt", LOOKS[0])


def test_seeds_that_are_given_are_all_that_are_used(planted):
    asked = planted(drawn(1.0))
    assert rows(SERIES, pooling.measured_series(replace(SERIES, seeds=(3, 5))))[0].seeds == 2
    assert asked == [(3, 5)]
    found = check_series(replace(REAL, seeds=(3, 5)))
    assert {row.seeds for row in found} == {2}


def test_wide_models_are_stacked_by_few(planted):
    wide = tuple(llama(width=width, **SHAPE) for width in (256, 512))
    asked = planted(drawn(1.0))
    check_series(replace(SERIES, models=wide))
    assert {len(some) for some in asked} == {10}
    asked.clear()
    check_series(SERIES)
    assert [len(some) for some in asked] == [10, 10, 20, 40]


def test_joined_is_what_they_are_together():
    series = REAL
    apart = [measured_series(replace(series, seeds=seeds)) for seeds in ((0, 1), (2, 3))]
    together = measured_series(replace(series, seeds=(0, 1, 2, 3)))
    for one, other in zip(joined(*apart), together, strict=True):
        assert one.keys() == other.keys()
        for key, size_K in one.items():
            np.testing.assert_allclose(size_K, other[key], rtol=1e-4)


@pytest.mark.parametrize("sd", [0.05, 0.1, 0.15])
def test_intervals_cover_nearly_at_their_rate_however_many_seeds_it_took(sd):
    draws = np.random.default_rng(1).normal(0, sd, (2000, LOOKS[-1]))
    covered = 0
    for slopes in draws:
        for seeds in LOOKS:
            low, high = t_interval(slopes[:seeds])
            if high - low <= 2 * KNOWN:
                break
        covered += low <= 0 <= high
    assert 0.92 <= covered / len(draws) <= 0.965
