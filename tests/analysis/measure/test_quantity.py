"""Expressions on arms: their values, seeds and intervals, on tables whose answers are known."""

import math

import numpy as np
import pandas as pd
import pytest

from mugrow.analysis.measure.claims import claim, ledger
from mugrow.analysis.measure.measured import factor_table, over_seeds
from mugrow.analysis.measure.quantity import (
    at_scale,
    best_at,
    each,
    evaluated,
    final,
    function,
    highest,
    log2,
    logged,
    logged_at,
    lowest,
    mean,
    percent,
    quantity,
    rank_correlation,
    recorded,
    slope,
    speedup,
    total_flops,
)
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import NOTHING, Interval, student_interval
from mugrow.bench.arm import ArmName, factors_json
from mugrow.bench.spec import UserError

A, B = ArmName("a", kind="a"), ArmName("b", kind="b")
C = B.varied(g=2)
LOSSES = {A: {0: 1.0, 1: 2.0, 2: 4.0}, B: {0: 2.0, 1: 2.5, 2: 5.0, 3: 90.0}, C: {0: 3.0, 1: 3.0}}


def tables(columns=("arm", "factors")):
    rows = [
        {"run_id": f"{arm}{seed}", "arm": str(arm), "factors": factors_json(arm), "seed": seed,
         "status": "finished", "final_val_loss": loss, "flops": 10.0, "flops_source": None}
        for arm, losses in LOSSES.items() for seed, loss in losses.items()
    ]  # fmt: skip
    runs = pd.DataFrame(rows).drop(columns={"arm", "factors"} - set(columns))
    curves = pd.concat(
        pd.DataFrame({"run_id": run_id, "step": [0, 1, 2], "val_loss": [9.0, 12.0, 3.0 + seed]})
        for run_id, seed in zip(runs["run_id"], runs["seed"], strict=True)
    )
    seen = pd.DataFrame([
        {"arm": "a", "seed": seed, "quantity": name, "value": value + seed, "params": params}
        for seed in range(3)
        for name, value, params in (
            ("rank/0", 1.0, '{"bits": 4}'), ("rank/1", 3.0, '{"bits": 4}'), ("loss", 7.0, "{}"),
        )
    ])  # fmt: skip
    return Store(runs, curves, pd.DataFrame(), {"scale": "cpu"}, seen)


STORE = tables()


def value(expression):
    return expression(STORE).value


def test_a_difference_is_students_over_the_seeds_in_common():
    found = (final(A) - final(B))(STORE)
    expected = student_interval([LOSSES[A][seed] - LOSSES[B][seed] for seed in LOSSES[A]])
    assert found.n == expected.n == 3
    for end in ("value", "lo", "hi"):
        assert getattr(found, end) == pytest.approx(getattr(expected, end), rel=1e-12)


def test_values_are_of_means_over_those_seeds():
    assert value(final(A)) == pytest.approx(7 / 3)
    assert value(lowest(A, C) - final(B)) == pytest.approx(1.5 - 2.25)  # seeds 0 and 1
    assert value(highest(A, B)) == pytest.approx(9.5 / 3)
    assert value(mean(A, B)) == pytest.approx((7 + 9.5) / 6)
    assert value(percent(final(A), final(C))) == pytest.approx(-50)
    assert value(2 * final(C) + 1) == pytest.approx(7)
    assert value(1 - final(C)) == pytest.approx(-2)
    assert value(abs(-final(C))) == pytest.approx(3)
    assert value(12 / final(C)) == pytest.approx(4)
    assert value(log2(final(C) + 5)) == pytest.approx(3)
    assert value(total_flops(A)) == 10


def test_a_ratio_is_jackknifed_in_its_logarithm():
    ratio, percents = final(A) / final(B), percent(final(A), final(B))
    logs = over_seeds(
        [0, 1, 2],
        lambda seeds: math.log(sum(LOSSES[A][s] for s in seeds) / sum(LOSSES[B][s] for s in seeds)),
    )
    found = ratio(STORE)
    assert (found.lo, found.hi) == pytest.approx((math.exp(logs.lo), math.exp(logs.hi)))
    inverse = (final(B) / final(A))(STORE)
    assert (inverse.lo, inverse.hi) == pytest.approx((1 / found.hi, 1 / found.lo))
    in_percent = percents(STORE)
    assert (in_percent.lo, in_percent.hi) == pytest.approx(
        (100 * found.lo - 100, 100 * found.hi - 100)
    )
    for less in (1 - ratio, -ratio + 1, -(ratio - 1)):
        saved = less(STORE)
        assert (saved.lo, saved.value, saved.hi) == pytest.approx(
            (1 - found.hi, 1 - found.value, 1 - found.lo)
        )
    assert (ratio + final(A) * 0)(STORE).value == pytest.approx(found.value)


def test_a_share_that_may_be_below_0_is_not():
    """A difference above: its sign is what is asked."""
    share = ((final(A) - final(B)) / final(B))(STORE)
    plain = over_seeds(
        [0, 1, 2],
        lambda seeds: sum(LOSSES[A][s] for s in seeds) / sum(LOSSES[B][s] for s in seeds) - 1,
    )
    assert (share.lo, share.hi) == pytest.approx((plain.lo, plain.hi))


def test_each_is_a_mean_of_ratios():
    assert value(each(final(A) / final(B))) == pytest.approx(np.mean([0.5, 0.8, 0.8]))
    assert value(final(A) / final(B)) == pytest.approx(7 / 9.5)


def test_a_constant_has_no_seeds():
    assert quantity(3)(STORE) == Interval(3.0, 3.0, 3.0, 0)


def test_over_a_factor():
    places = {1.0: final(A), 2.0: final(B), 3.0: final(C)}
    assert value(best_at(places)) == 1.0
    assert value(slope(places)) == pytest.approx(np.polyfit([1, 2, 3], [1.5, 2.25, 3], 1)[0])
    three = list(places.values())
    assert value(rank_correlation(three, three[::-1])) == pytest.approx(-1)
    assert math.isnan(value(rank_correlation(three, [final(A)] * 3)))


def test_curves_seed_by_seed():
    assert value(logged(A, "val_loss", "first")) == 9
    assert value(logged(A, "val_loss", "highest")) == 12
    assert value(logged(A, "val_loss", "last")) == pytest.approx(4)
    assert value(logged(A, "val_loss", "lowest")) == pytest.approx(4)
    assert value(logged_at(A, "val_loss", 0.5)) == 12
    assert value(logged_at(A, "val_loss", 1.0)) == pytest.approx(4)


def test_evaluations_by_the_beginning_of_their_name_and_by_their_parameters():
    assert value(evaluated("a", "rank/")) == pytest.approx(3)
    assert value(evaluated("a", "rank/1", bits=4)) == pytest.approx(4)
    assert value(evaluated("a", bits=None)) == pytest.approx(8)
    with pytest.raises(UserError, match="'a' has no evaluation loss"):
        evaluated("a", "loss", bits=4)(STORE)


def test_a_scale_chooses_and_a_function_has_its_own_interval():
    assert value(at_scale(lambda scale: final(A if scale == "cpu" else B))) == pytest.approx(7 / 3)
    interval = Interval(1.0, 0.5, 1.5, 9)
    assert function(lambda store: interval)(STORE) == interval


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda: 0 < final(A) < 9, r"write q\.within\(0, 1\)"),
        (lambda: final(A) < final(B), r"write final\(a\) - final\(b\) < 0"),
        (lambda: final(A).within(3, 1), "cannot hold from 3 to 1"),
        (lambda: final(A) > math.nan, "cannot hold from nan to inf"),
        (lambda: final(A) < math.inf, "cannot hold from -inf to inf"),
        (lambda: claim("one", "", "", "", final(A) == 0), "claim one holds where .* False says"),
        (lambda: 2 * speedup(A, B, "target") > 1, "compare them with numbers alone"),
        (lambda: final(A) / function(lambda store: NOTHING) > 1, "compare them with numbers"),
        (lambda: each(speedup(A, B, "target")) > 1, "compare them with numbers alone"),
        (lambda: speedup(A, B, "sorce"), "unknown accounting 'sorce'; did you mean 'source'"),
        (lambda: recorded(A, "paramz"), "unknown column 'paramz'; did you mean 'params'"),
        (lambda: logged(A, "val_los", "last"), "unknown column 'val_los'; did you mean 'val_l"),
        (lambda: logged(A, "val_loss", "lowst"), "unknown fold 'lowst'; did you mean 'lowest'"),
        (lambda: logged_at(A, "val_los", 0.5), "unknown column 'val_los'"),
        (lowest, "name at least one"),
        (lambda: best_at({}), "give at least one"),
        (lambda: slope({1.0: final(A)}), "takes two places or more, finite numbers, not 1"),
        (lambda: rank_correlation([final(A)], []), "takes pairs, two or more, not 1:0"),
    ],
)
def test_what_is_no_rule_is_refused_before_anything_trains(write, said):
    with pytest.raises(UserError, match=said):
        write()


def test_a_ratio_over_zero_is_no_number():
    found = final(A) / (final(A) - final(A))
    assert math.isnan(found(STORE).value)


@pytest.mark.parametrize("columns", [("arm", "factors"), ("arm",)])
def test_arms_are_found_by_factors_and_in_old_tables_by_name(columns):
    assert final(C)(tables(columns)).value == pytest.approx(3)


def test_factors_decide_where_a_table_has_them():
    with pytest.raises(UserError, match="arm 'a' has no finished run"):
        final(ArmName("a", kind="other"))(STORE)
    assert final(ArmName("called otherwise", kind="a"))(STORE).value == pytest.approx(7 / 3)


def test_names_are_made_of_factors():
    assert ArmName(lr=0.5, g=2) == "lr = 0.5, g = 2"
    assert (str(C), dict(C.factors)) == ("b, g = 2", {"kind": "b", "g": 2})
    assert factors_json(C) == '{"g": 2, "kind": "b"}'
    assert factors_json("b") is None


def test_factors_are_columns():
    table = factor_table(STORE.runs)
    assert set(STORE.runs[table["g"] == 2]["arm"]) == {"b, g = 2"}
    assert set(STORE.runs[table["kind"] == "b"]["arm"]) == {"b", "b, g = 2"}


def test_a_claim_holds_under_a_condition():
    rows = ledger(
        [
            claim("below", "a is below c", "here", "nats", final(A) - final(C) < 3),
            claim("above", "and above", "here", "nats", final(A) - final(C) > -9),
            claim("in", "and near", "here", "nats", (final(A) - final(C)).within(-30, 30)),
        ],
        STORE,
    )
    assert [row.holds_if for row in rows] == ["below 3", "above -9", "-30 to 30"]
    assert [row.value for row in rows] == [pytest.approx(-1.5)] * 3
