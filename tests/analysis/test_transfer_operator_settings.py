"""An operator's own setting over growths: what is compared, what is refused, and what it costs."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from transfer_rows import SEEDS, source_rows, starts, sweep_rows, table

from mugrow.analysis.read.store import load
from mugrow.analysis.report import transfer as words
from mugrow.analysis.transfer.operator_regret import edge, rungs
from mugrow.analysis.transfer.operator_setting import Growth, SettingComparison, ValueRuns
from mugrow.analysis.transfer.results import transfer_results
from mugrow.analysis.transfer.sweep import Sweep, SweepSource, by_setting
from mugrow.analysis.transfer.verdict import TransferVerdict, setting_verdict

COMMITTED = Path(__file__).parents[2] / "results" / "reference" / "transfer-growth"
VALUES = (0.2, 0.4, 0.6, 0.8)
SOURCES = source_rows(-7.0)
WIDTHS = (64, 128)


def tried(value, width, loss, *, method="szp", key="shrink", sources=SOURCES, **fields):
    """The runs of one value at one width, as targets at the transferred rate."""
    grown_from = starts(sources, method, **({} if key == "start.noise" else {key: value}))
    if key == "start.noise":
        grown_from = {
            seed: dataclasses.replace(one, noise=value) for seed, one in grown_from.items()
        }
    fields = {"log2_lrs": [-7.0], "role": "target"} | fields
    return sweep_rows(lambda _: loss, starts=grown_from, model_width=width, **fields)


def varied(best, values=VALUES, **fields):
    """Parabolas whose optimum at each width is that of ``best``, 1 nat high at a distance of 1."""
    return [
        row
        for width, at in best.items()
        for value in values
        for row in tried(value, width, 2 + (value - at) ** 2, **fields)
    ]


def found(*rows):
    return transfer_results(by_setting(table(SOURCES, *rows))).operator_settings


def only(*rows):
    settings = found(*rows)
    assert settings.skipped == ()
    (one,) = settings.compared
    return one


def reason(*rows):
    settings = found(*rows)
    assert settings.compared == ()
    (one,) = settings.skipped
    return one.reason


def test_the_regret_of_a_planted_shift():
    one = only(varied({64: 0.4, 128: 0.6}))
    assert (one.method, one.parameter, one.axis) == ("szp", "shrink", "width")
    assert (one.log2_lr, one.n_seeds) == (-7.0, 3)
    small, large = one.rungs
    assert [(rung.name, rung.shapes, rung.best, rung.edge)
            for rung in (small, large)] == [
        ("×2", "w32-d2 to w64-d2", 0.4, None), ("×4", "w32-d2 to w128-d2", 0.6, None),
    ]  # fmt: skip
    assert small.kept is None
    kept = large.kept
    assert (kept.value, kept.regret_at) == (0.4, "tested")
    assert kept.regret_nats.value == pytest.approx(0.04)
    assert kept.regret_percent.value == pytest.approx(100 * 0.04 / 2.01)  # seeds add 0.01 a seed
    assert one.verdict.word == "drifts"
    assert one.verdict.why == "the regret is above 1 % at ×4"
    points = {point.value: point for point in large.values}
    assert points[0.2].loss.value == pytest.approx(2.01 + 0.16)
    assert points[0.2].above_percent.value == pytest.approx(100 * 0.16 / 2.01)
    assert points[0.2].per_seed == pytest.approx([2.16 + 0.01 * seed for seed in SEEDS])


def test_a_setting_that_stays_transfers_at_every_larger_growth():
    one = only(varied({48: 0.4, 64: 0.4, 128: 0.4}))
    assert [rung.name for rung in one.rungs] == ["×1.5", "×2", "×4"]
    assert [rung.kept.regret_percent.hi for rung in one.rungs[1:]] == [0, 0]
    assert one.verdict.word == "transfers"
    back = only(varied({48: 0.4, 64: 0.6, 128: 0.4}))
    assert back.verdict == TransferVerdict("drifts", "the regret is above 1 % at ×2")


def test_intervals_are_students_over_seeds_paired():
    noise = np.random.default_rng(5).normal(0, 1e-3, (2, len(VALUES), len(SEEDS)))
    rows = varied({64: 0.4, 128: 0.6})
    for row, error in zip(rows, noise.reshape(-1), strict=True):
        row["final_val_loss"] += error
    kept = only(rows).rungs[1].kept.regret_nats
    losses = np.array([row["final_val_loss"] for row in rows]).reshape(2, len(VALUES), -1)[1]
    differences = losses[1] - losses[2]
    low, high = stats.t.interval(0.95, 2, differences.mean(), stats.sem(differences))
    assert (kept.value, kept.lo, kept.hi) == pytest.approx((differences.mean(), low, high))
    assert kept.n == 3


def test_wide_intervals_and_single_seeds_are_inconclusive():
    rows = varied({64: 0.4, 128: 0.4})
    place = next(k for k, row in enumerate(rows) if (row["width"], shrink_of(row)) == (128, 0.6))
    rows[place]["final_val_loss"] -= 0.1  # without another seed, 0.6 is best there
    torn = only(rows)
    kept = torn.rungs[1].kept.regret_percent
    assert (torn.rungs[1].best, kept.value) == (0.4, 0)
    assert kept.hi > 1
    assert torn.verdict.word == "inconclusive"
    assert torn.verdict.why == "the regret may be within or beyond at ×4"
    alone = only([row for row in varied({64: 0.4, 128: 0.6}) if row["seed"] == 0])
    assert alone.verdict == TransferVerdict("inconclusive", "one seed gives no interval")


def test_the_best_value_at_an_end_is_censored_but_for_zero():
    one = only(varied({64: 0.4, 128: 0.9}))
    assert one.rungs[1].edge == "high"
    assert one.verdict.word == "censored"
    assert one.verdict.why.endswith("at ×4 (high)")
    low = only(varied({64: 0.1, 128: 0.4}))
    assert (low.rungs[0].edge, low.verdict.word) == ("low", "censored")
    zero = only(varied({64: 0.0, 128: 0.0}, (0.0, 0.1, 0.3), key="start.noise"))
    assert ([rung.best for rung in zero.rungs], zero.verdict.word) == (
        [0, 0],
        "transfers",
    )
    assert (edge(np.array([-1.0, 0.0]), 0), edge(np.array([0.0, 1.0]), 1)) == ("low", "high")


def with_status(rows, status, width, value):
    for row in rows:
        if (row["width"], shrink_of(row)) == (width, value):
            row |= {"status": status, "final_val_loss": None}
    return rows


def shrink_of(row):
    (run,) = by_setting(table(SOURCES, [row]))
    return run.setting["start.params.shrink"]


def test_a_kept_value_without_a_loss_is_said():
    one = only(with_status(varied({64: 0.4, 128: 0.6}), "diverged", 128, 0.4))
    assert one.rungs[1].kept.regret_at == "diverged"
    assert one.verdict.word == "drifts"
    assert one.verdict.why.endswith("diverges at ×4")
    lost = only(with_status(varied({64: 0.4, 128: 0.6}), "failed", 128, 0.4))
    assert lost.rungs[1].kept.regret_at == "unknown"
    assert lost.rungs[1].best == 0.6  # what did not finish is no candidate
    assert lost.verdict.word == "inconclusive"
    untested = only([row for row in varied({64: 0.4, 128: 0.6}, (0.2, 0.4, 0.5, 0.6, 0.8))
                     if (row["width"], shrink_of(row)) != (128, 0.4)])  # fmt: skip
    assert untested.rungs[1].kept.regret_at == "untested"
    assert untested.verdict.word == "inconclusive"


def test_what_cannot_be_compared_is_refused_with_the_reason():
    rows = varied({64: 0.4, 128: 0.6})
    assert reason(varied({64: 0.4, 128: 0.6}, (0.2, 0.4))) == "×2 has 2 values; a best one takes 3"
    assert reason(varied({64: 0.4})) == "×2 is the only growth; transfer takes 2"
    assert reason(rows[:-1]) == "×4 lacks seed 2 at shrink 0.8"
    everywhere = [row | {"status": "failed", "final_val_loss": None} for row in rows[12:]]
    assert reason(rows[:12], everywhere) == "×4 finished none of its 4 values"
    unknown = transfer_results(by_setting(table(rows))).operator_settings  # without the sources
    assert [one.reason for one in unknown.skipped] == [
        "the store does not have the runs that they were grown from"
    ]


def test_a_run_at_one_value_is_no_part_of_a_comparison():
    single = [*tried(0.4, 64, 2.0), *tried(0.4, 128, 2.0)]
    assert found(single) == found()
    whole = transfer_results(by_setting(table(SOURCES, single)))
    assert (whole.sweeps, whole.ladders, whole.skipped) == ((), (), ())  # no search
    one = only(varied({64: 0.4, 128: 0.6}), tried(0.4, 256, 2.0))
    assert [rung.name for rung in one.rungs] == ["×2", "×4"]


def test_nothing_else_may_differ():
    """Rates, parametrizations and other parameters are compared apart, or not at all."""
    rows = varied({64: 0.4, 128: 0.6})
    apart = found(varied({64: 0.4}), varied({128: 0.6}, log2_lrs=[-6.0]))
    assert apart.compared == ()
    assert {one.reason for one in apart.skipped} == {
        f"{name} is the only growth; transfer takes 2" for name in ("×2", "×4")
    }
    for fields in ({"log2_lrs": [-6.0]}, {"parametrization": "sp"}, {"steps": 200}):
        both = found(rows, varied({64: 0.6, 128: 0.6}, **fields)).compared
        assert {one.verdict.word for one in both} == {"drifts", "transfers"}
    other = source_rows(-6.0)
    both = transfer_results(
        by_setting(table(SOURCES, other, rows, varied({64: 0.6, 128: 0.6}, sources=other)))
    )
    assert len(both.operator_settings.compared) == 2
    settings = found(varied({64: 0.4, 128: 0.6}, (0.2, 0.4), log2_lrs=[-8.0, -6.0]), rows)
    assert len(settings.compared) == 1
    assert [one.log2_lrs for one in settings.skipped] == [(-8.0, -6.0)]
    assert words.tried(settings.skipped[0]) == (
        "shrink 0.2 0.4, growth in width, log2 lr −8.00 −6.00"
    )


def test_proxies_of_grown_models_count_too():
    rows = varied({64: 0.4, 128: 0.6}, log2_lrs=[-7.0, -6.0], role="proxy")
    assert [one.log2_lr for one in found(rows).compared] == [-7.0, -6.0]


def test_a_starts_noise_is_not_the_methods_own():
    rows = [
        *varied({64: 0.4, 128: 0.4}, key="start.noise", method="hypercloning"),
        *varied({64: 0.6, 128: 0.6}, key="noise", method="mup_upscale"),
    ]
    names = {(one.method, one.parameter): one.rungs[1].best
             for one in found(rows).compared}  # fmt: skip
    assert names == {("hypercloning", "start.noise"): 0.4, ("mup_upscale", "noise"): 0.6}


def test_growths_of_one_factor_are_told_apart_by_their_shapes():
    wide = source_rows(-7.0, model_width=64)
    rows = [*varied({64: 0.4}), *varied({128: 0.6}, sources=wide)]
    (one,) = transfer_results(by_setting(table(SOURCES, wide, rows))).operator_settings.compared
    assert [rung.name for rung in one.rungs] == [
        "×2 (w32-d2 to w64-d2)", "×2 (w64-d2 to w128-d2)",
    ]  # fmt: skip


def test_depth_is_an_axis_of_its_own():
    def deep(depth, best):
        grown_from = {value: starts(SOURCES, "szp", shrink=value) for value in VALUES}
        return [row for value in VALUES for row in sweep_rows(
            lambda _, v=value: 2 + (v - best) ** 2, starts=grown_from[value], log2_lrs=[-7.0],
            role="target", model_depth=depth)]  # fmt: skip

    one = only(deep(4, 0.4), deep(8, 0.6))
    assert (one.axis, [rung.name for rung in one.rungs]) == ("depth", ["×2", "×4"])


def comparison(small, large):
    """Of losses (seeds, values) at two growths."""
    seeds = tuple((seed, seed) for seed in range(len(small)))

    def growth(width, losses):
        return Growth(tuple(
            ValueRuns(Sweep(
                {"model.width": width, "model.depth": 2, "start.params.shrink": value},
                seeds, np.array([-7.0]), losses[:, [place]], ("finished",),
                source=SweepSource(32, 2, -7.0, 1.0, 1.0), searched=False,
            ), 0, "start.params.shrink")
            for place, value in enumerate(VALUES)
        ))  # fmt: skip

    return SettingComparison("shrink", (growth(64, small), growth(128, large)))


def test_intervals_cover_a_planted_regret_and_verdicts_are_rarely_wrong():
    """A regret of 1.2 % with noise of a fifth of the tolerance and with noise of all of it."""
    random = np.random.default_rng(3)
    truth = [2 + 0.6 * (np.array(VALUES) - best) ** 2 for best in (0.6, 0.4)]
    regret = 100 * (truth[1][2] - truth[1].min()) / truth[1].min()
    for noise in (0.004, 0.02):
        drawn = []
        for _ in range(200):
            common = random.normal(0, 0.05, (3, 1))
            small, large = (exact + common + random.normal(0, noise, (3, 4)) for exact in truth)
            drawn.append(rungs(comparison(small, large)))
        kept = [two[1].kept.regret_percent for two in drawn]
        assert np.mean([one.lo <= regret <= one.hi for one in kept]) > 0.88
        assert np.mean([setting_verdict(two).word == "transfers" for two in drawn]) < 0.08


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(1, 3), min_size=24, max_size=24), st.permutations(range(3)))
def test_regret_is_never_negative_and_seeds_have_no_order(losses, order):
    small, large = np.array(losses).reshape(2, 3, 4)
    kept = rungs(comparison(small, large))[1].kept
    other = rungs(comparison(small[list(order)] + 1, large[list(order)] + 1))[1].kept
    assert kept.regret_nats.value >= 0
    assert kept.regret_nats.lo >= 0
    if len(set(losses)) == len(losses):
        assert other.regret_nats.value == pytest.approx(kept.regret_nats.value, abs=1e-9)


def test_the_committed_study():
    """Of five shrink factors 0.6 is best at all growths, and three seeds leave the regret open; of
    four noises the largest is best, so the optimum lies beyond."""
    runs = load(COMMITTED).runs
    settings = transfer_results(by_setting(runs)).operator_settings
    by_name = {one.parameter: one for one in settings.compared}
    assert {name: [rung.best for rung in one.rungs] for name, one in by_name.items()} == {
        "shrink": [0.6, 0.6, 0.6], "noise": [1.0, 1.0],
    }  # fmt: skip
    assert by_name["shrink"].verdict.word == "inconclusive"
    assert by_name["noise"].verdict.word == "censored"
    targets = runs[(runs["role"] == "target") & (runs["method"] == "szp")]
    means = means_by_shrink(targets)
    for rung in by_name["shrink"].rungs:
        for point in rung.values:
            width = round(32 * rung.factor)
            assert point.loss.value == pytest.approx(means[width, point.value])
    (skipped,) = settings.skipped
    assert (skipped.values, len(skipped.log2_lrs)) == ((0.2, 0.4), 8)


def means_by_shrink(targets: pd.DataFrame) -> dict[tuple[int, float], float]:
    shrink = targets["spec"].str.extract(r'"shrink",\s*([\d.]+)')[0].astype(float)
    return targets["final_val_loss"].groupby([targets["width"], shrink]).mean().to_dict()


def test_tables_say_the_numbers():
    results = transfer_results(by_setting(table(SOURCES, varied({64: 0.4, 128: 0.6}))))
    shown = words.operator_settings(results)
    ((*cells,),) = shown.rows
    row = dict(zip(shown.columns, cells, strict=True))
    assert row["setting"] == "shrink at log2 lr −7.00"
    assert (row["growth"], row["kept"], row["best there"]) == ("×2 to ×4", "0.4", "0.6")
    assert row["regret (nats)"].startswith("0.0400 [0.0400")
    assert row["regret (%)"].startswith("1.99 %")
    assert row["worst (%)"].startswith("7.96 %")
    assert row["worst (%)"].endswith("at 0.2")
    assert row["transfers"] == "no"
    assert len(words.operator_losses(results).rows) == 8
