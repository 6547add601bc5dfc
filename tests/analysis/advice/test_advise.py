"""The decision, and the command that prints it."""

import json
import math
import re
from dataclasses import astuple, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mugrow.analysis.advice.advise import Question, advise, decide
from mugrow.analysis.advice.evidence import Evidence, Reach
from mugrow.analysis.advice.plan import LARGEST, GrowthPlan
from mugrow.analysis.measure.savings import ACCOUNTINGS
from mugrow.analysis.read.plain import to_json
from mugrow.analysis.read.store import load
from mugrow.analysis.stats import Interval
from mugrow.bench.spec import UserError

# the source costs a quarter of the target
PLAN = GrowthPlan(target_params=2e8, target_tokens=4e9, source_params=1e8, source_tokens=2e9)
BEFORE = Path(__file__).parents[2] / "stores" / "before_budgets"
VERDICTS = {"grow", "scratch", "too close to call", "cannot say"}


def evidence(lo, hi, limit="", name="law", at_least=False):
    middle = (lo + hi) / 2
    return Evidence(
        name=name,
        citation="",
        estimate=Interval(middle, lo, hi, 3),
        ends="bootstrap",
        reach=Reach(1.0, 1.0, 1.0),
        limit=limit,
        at_least=at_least,
    )


@pytest.mark.parametrize(
    ("lo", "hi", "verdict"),
    [
        (0.5, 0.74, "grow"),
        (0.5, 0.745, "too close to call"),  # not worth 1 %
        (0.5, 0.76, "too close to call"),
        (0.7, math.inf, "too close to call"),
        (0.76, 0.9, "scratch"),
        (1.0, math.inf, "scratch"),
    ],
)
def test_the_whole_interval_decides(lo, hi, verdict):
    found, rule = decide(PLAN, [[evidence(lo, hi)]])
    assert found == verdict
    assert "law" in rule


def test_a_sunk_source_changes_the_verdict():
    tiers = [[evidence(0.8, 0.9)]]
    assert decide(PLAN, tiers)[0] == "scratch"
    assert decide(replace(PLAN, source_sunk=True), tiers)[0] == "grow"


def test_one_method_that_saves_is_enough_and_all_must_fail():
    good, bad, open_ = evidence(0.1, 0.2, name="szp"), evidence(1, 2), evidence(0.5, 1)
    assert decide(PLAN, [[bad, good]])[0] == "grow"
    assert "szp" in decide(PLAN, [[bad, good]])[1]
    assert decide(PLAN, [[bad, bad]])[0] == "scratch"
    assert decide(PLAN, [[bad, open_]])[0] == "too close to call"


def test_the_closest_evidence_that_reaches_decides():
    near, far = evidence(0.1, 0.2), evidence(1, 2)
    assert decide(PLAN, [[near], [far]])[0] == "grow"
    out_of_reach = replace(near, limit="too far")
    assert decide(PLAN, [[out_of_reach], [far]])[0] == "scratch"
    assert decide(PLAN, [[out_of_reach], []])[0] == "cannot say"
    assert decide(PLAN, [])[0] == "cannot say"


def test_savings_that_may_be_larger_decide_for_growing_only():
    """Measured at the loss that scratch's schedule ends at, which holds grown models back."""
    assert decide(PLAN, [[evidence(0.5, 0.6, at_least=True)]])[0] == "grow"
    for lo, hi in ((0.7, 0.9), (0.9, 1.2)):
        bound = evidence(lo, hi, name="szp", at_least=True)
        found, rule = decide(PLAN, [[bound]])
        assert found == "cannot say"
        assert "has not measured equal compute" in rule
        saving = PLAN.saving_interval(bound.cost_ratio, "source")
        assert f"at least {saving.value:.0%} ({saving.lo:.0%} to {saving.hi:.0%}) by szp" in rule
        assert decide(PLAN, [[bound], [evidence(1, 2)]])[0] == "scratch"


def test_a_source_as_dear_as_the_target_needs_no_law():
    dear = GrowthPlan(target_params=2e8, target_tokens=4e9, source_params=1e8, source_tokens=8e9)
    assert decide(dear, [[evidence(0, 0.1)]])[0] == "scratch"
    assert decide(replace(dear, source_sunk=True), [[evidence(0, 0.1)]])[0] == "grow"


# --- advice ------------------------------------------------------------------------------------


def test_without_a_store_the_interval_is_unknown():
    advice = advise(Question(params=2.87e8, tokens=5.74e9))
    law = advice.evidence[0]
    assert law.decides
    assert law.interval.startswith("unknown")
    assert advice.verdict == "too close to call"
    assert advice.source.share == pytest.approx(0.25)


def test_far_from_all_data_it_cannot_say():
    advice = advise(Question(params=7e10, tokens=1.4e12))
    assert advice.verdict == "cannot say"
    assert not any(one.decides for one in advice.evidence)
    assert all(math.isnan(one.cost_ratio.lo) for one in advice.evidence)
    assert advice.evidence[0].extrapolation.params > 50


@pytest.mark.parametrize(("params", "tokens"), [(1e9, 1e9), (2e7, 4e8), (462_336, 614_400)])
def test_where_no_rule_reaches_it_cannot_say(params, tokens):
    """Rules that know such sizes, not such budgets, asked for sources of 4, 2 and 198 targets."""
    advice = advise(Question(params=params, tokens=tokens))
    assert advice.verdict == "cannot say"
    assert not advice.source.proposed
    assert advice.source.share == pytest.approx(0.25)
    assert not any(one.in_range and one.source_share < 1 for one in advice.starting_points)


@given(st.floats(5, 11), st.floats(5, 13))
def test_a_proposed_source_costs_less_than_its_target(params, tokens):
    advice = advise(Question(params=10.0**params, tokens=10.0**tokens))
    assert advice.source.share < 1
    assert not (advice.verdict == "scratch" and "the source alone" in advice.rule)
    rules = {one.rule for one in advice.starting_points if one.in_range}
    assert advice.source.proposed == (advice.source.rule in rules)


@pytest.mark.parametrize(
    ("params", "tokens", "reaching"),
    [
        (1e9, 2e10, {"warmstarting", "staged training"}),
        (1e9, 2e11, {"G_stack"}),
        (1e9, 1e8, {"staged training"}),
        (1e9, 1e12, set()),
        (3e9, 2e10, set()),
    ],
)
def test_rules_reach_the_parameters_and_the_tokens_they_were_measured_at(params, tokens, reaching):
    found = advise(Question(params=params, tokens=tokens))
    assert {one.rule.split(",")[0] for one in found.starting_points if one.in_range} == reaching
    assert found.when_to_grow.g_stack_in_range == ("G_stack" in reaching)
    assert found.when_to_grow.staged_in_range == ("staged training" in reaching)


def test_the_error_of_the_published_laws_is_said():
    """Held out were 1.2 B parameters at 10 tokens each: 1.51736 from scratch, 1.49651 grown."""
    said = advise(Question(params=1e9, tokens=2e10)).held_out
    assert said.gap_measured == pytest.approx(1 - 1.49651 / 1.51736)
    scratch = 0.402 + 186341.0 / said.params**0.767 + 5.79 / said.tokens**0.068
    grown = 1.305 + 814.69 / said.params**0.423 + 130.04 / said.tokens**0.295
    assert said.gap_predicted == pytest.approx(1 - grown / scratch)
    assert said.gap_predicted > 2 * said.gap_measured


def test_a_store_of_fixed_losses_does_not_say_that_growing_is_not_worth_it():
    advice = advise(Question(params=9e5, tokens=3e5), BEFORE)
    assert advice.verdict == "cannot say"
    assert advice.rule.startswith("study zoo has not measured equal compute")
    measured = [one for one in advice.evidence if " measured at " in one.name]
    assert any(one.decides for one in measured)
    assert all(one.at_least for one in measured)


def test_savings_of_evidence_are_those_of_its_cost_ratio():
    question = Question(
        params=6e8,
        tokens=6e9,
        source_params=3e8,
        source_tokens=3e9,
        tuning_flops=6e8 * 6e9,
    )
    advice = advise(question)
    ratio, savings = advice.evidence[0].cost_ratio, advice.evidence[0].savings
    assert tuple(savings) == ACCOUNTINGS
    share, tuning = 0.25, 1 / 6
    assert savings["target"].value == pytest.approx(1 - ratio.value)
    assert savings["source"].lo == pytest.approx(1 - ratio.hi - share)
    expected = 1 - (ratio.value + share + tuning) / (1 + tuning)
    assert savings["full"].value == pytest.approx(expected)


def test_advice_from_a_store_at_its_own_target(study_dir):
    """szp halves the target's cost; its source costs 80 of 100 steps at a quarter of the size."""
    store = load(study_dir)
    target = store.runs[store.runs["role"] == "target"].iloc[0]
    question = Question(params=float(target["params"]), tokens=float(target["tokens"]))
    advice = advise(question, store)
    assert advice.verdict == "grow"
    assert "szp measured at w128-d2" in advice.rule
    assert advice.source.rule == "szp, as measured at w128-d2"
    cloning = next(one for one in advice.evidence if one.name.startswith("hypercloning"))
    assert cloning.state == "never_reached"
    szp = next(one for one in advice.evidence if one.name.startswith("szp"))
    source = store.runs[store.runs["role"] == "source"].iloc[0]
    share = source["params"] * 80 / (target["params"] * 100)
    assert szp.savings["source"].value == pytest.approx(0.5 - share)
    assert astuple(szp.extrapolation) == pytest.approx((1, 1, 1))


def test_a_store_says_nothing_of_targets_far_away(study_dir):
    advice = advise(Question(params=7e10, tokens=1.4e12), load(study_dir))
    assert advice.verdict == "cannot say"
    measured = [one for one in advice.evidence if "measured" in one.name]
    assert len(measured) == 2
    assert all("beyond a factor" in one.limit for one in measured)


def test_the_experiment_is_cheaper_than_the_target_and_adds_up():
    advice = advise(Question(params=1e9, tokens=2e10))
    ladder = advice.experiment
    cost = runs = 0.0
    for params in ladder.target_params:
        source = params / ladder.growth_factor
        cost += 6 * source**2 * ladder.source_tokens_per_param
        runs += 1
        for ratio in ladder.tokens_per_param:
            cost += 2 * 6 * params**2 * ratio
            runs += 2
    assert ladder.flops == pytest.approx(ladder.seeds * cost)
    assert ladder.runs == ladder.seeds * runs
    assert ladder.share_of_target == pytest.approx(ladder.flops / 1.2e20)
    assert ladder.share_of_target < 1


@pytest.mark.parametrize("source", [{}, {"source_params": 1e8}, {"source_tokens": 1e9}])
def test_a_sunk_source_is_described(source):
    with pytest.raises(UserError, match=r"^source_sunk needs source_params and source_tokens"):
        Question(params=1e9, tokens=2e10, source_sunk=True, **source)


@pytest.mark.parametrize("source", [{"source_params": 1e8}, {"source_tokens": 1e9}])
def test_a_source_is_described_whole(source):
    with pytest.raises(UserError, match=r"^source_params and source_tokens describe one source"):
        Question(params=1e9, tokens=2e10, **source)


def test_a_target_has_something_smaller():
    with pytest.raises(UserError, match="params must be at least 2, for a source of half the size"):
        Question(params=1.5, tokens=1e9)
    assert advise(Question(params=2, tokens=1)).verdict == "cannot say"


def test_far_out_of_range_no_law_gives_a_number():
    advice = advise(Question(params=1e30, tokens=1))
    assert advice.verdict == "cannot say"
    assert {one.state for one in advice.evidence} == {"unknown"}
    assert "params 1e+30 is outside" in advice.evidence[0].limit
    assert "beyond 100 times the law's range" in advice.evidence[1].limit


# powers of ten, and a source that is as large as its target but for rounding
sizes = st.floats(0, 30).map(lambda power: 10.0**power)
shares = st.sampled_from([1 - 2.0**-53, 1 - 2.0**-50, 1 - 1e-12, 1 - 1e-9, 0.999999]) | st.floats(
    0, 1
)


@given(
    sizes,
    sizes,
    st.none() | st.tuples(sizes, sizes) | st.tuples(shares, sizes, st.just(True)),
    st.booleans(),
    st.sampled_from([0, 1e21]),
)
def test_any_question_is_answered_or_is_one_line(params, tokens, source, sunk, tuning):
    if source and len(source) == 3:
        source = (source[0] * params, source[1])
    small, trained = source or (params / 2, max(1, tokens / 2))
    try:
        question = Question(
            params=params,
            tokens=tokens,
            source_params=source and source[0],
            source_tokens=source and source[1],
            source_sunk=sunk and source is not None,
            tuning_flops=tuning,
        )
        advice = advise(question)
    except UserError:
        assert not (1 <= small < params and 1 <= trained <= LARGEST)
        return
    assert advice.verdict in VERDICTS
    json.dumps(to_json(advice), allow_nan=False)
    if source is None:  # whatever is proposed costs less than the target
        assert 0 < advice.source.share < 1
    assert not (advice.source.proposed and source)


# --- mugrow advise -----------------------------------------------------------------------------


def test_command_prints_json(mugrow, study_dir):
    ended = mugrow("advise", "--params", "7e9", "--tokens", "2e12", "--store", study_dir, "--json")
    assert (ended.code, ended.err) == (0, "")
    advice = json.loads(ended.out)
    assert advice["verdict"] == "cannot say"
    assert advice["when_to_grow"]["source_tokens_g_stack"] == pytest.approx(11.11e9, rel=1e-3)


def test_command_prints_the_verdict_first_and_fits_a_screen(mugrow):
    ended = mugrow("advise", "--params", "7e9", "--tokens", "2e12")
    lines = ended.out.splitlines()
    assert lines[0].startswith("CANNOT SAY: ")
    assert len(lines) <= 40
    assert "outside the range of the Chinchilla law" in ended.out
    assert "a grown loss 3.5% below scratch; 1.4% was measured" in ended.out
    assert "(no proposal: no rule, half the size" in ended.out
    assert "nan" not in ended.out
    assert "11.1 B" in ended.out


def test_a_target_out_of_all_range_prints_no_absurd_number(mugrow):
    ended = mugrow("advise", "--params", "1e30", "--tokens", "1")
    assert ended.out.startswith("CANNOT SAY: ")
    assert not re.search(r"-\d{4,}%|nan|e-\d\d tokens", ended.out)
    assert "less than a token" in ended.out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--params 0 --tokens 1e9", "params must be a number from 1"),
        ("--params nan --tokens 1e9", "params must be a number from 1"),
        ("--params 1e9 --tokens -1", "tokens must be a number from 1"),
        ("--params 1e9 --tokens inf", "tokens must be a number from 1"),
        ("--params 1e9 --tokens 1e9 --source-params 1e8", "give both"),
        ("--params 1e9 --tokens 1e9 --source-sunk", "--source-sunk needs"),
        (
            "--source-sunk",
            "advise needs --params and --tokens of the target, and --source-params and "
            "--source-tokens of the source that is sunk, as in --params 1e9 --tokens 2e10",
        ),
        ("", "advise needs --params and --tokens of the target, as in --params 1e9"),
        ("--params 1e9", "advise needs --tokens of the target, as in"),
        (
            "--params 1e9 --tokens 1e9 --source-params 2e9 --source-tokens 1e9",
            "source_params 2e+09 is not below target params 1e+09",
        ),
        (
            "--params 1e9 --tokens 1e9 --source-params 0 --source-tokens 1e9",
            "source_params must be a number from 1",
        ),
        ("--params 1e9 --tokens 1e9 --tuning-budget -1", "tuning_budget must be from 0"),
        ("--params 1e9 --tokens 1e9 --store nowhere", "nowhere is not a directory"),
    ],
)
def test_a_mistake_is_one_line(mugrow, words, line):
    ended = mugrow("advise", *words.split())
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert line in ended.err
