"""Studies beside each other: what may be compared is, paired by seed, and nothing else."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import ttest_rel

from mugrow.analysis.measure.across import compare
from mugrow.analysis.read.store import load
from mugrow.analysis.report import across
from mugrow.analysis.report.across import build_across
from mugrow.bench.spec import UserError

QUICK = Path(__file__).parents[2] / "results" / "reference" / "quick"


@pytest.fixture(scope="module")
def quick():
    return load(QUICK)


def changed(store, method, *, by=0.0, spec=None, ids=True):
    """The store with all runs under other ids, and losses of a method's targets ``by`` higher."""
    runs, curves = store.runs.copy(), store.curves
    mine = (runs["role"] == "target") & (runs["method"] == method)
    runs.loc[mine, "final_val_loss"] += by
    if ids:
        for column in ("run_id", "source_run_id"):
            named = runs[column].notna()
            runs.loc[named, column] = [f"x{one[1:]}" for one in runs.loc[named, column]]
        curves = curves.assign(run_id=[f"x{one[1:]}" for one in curves["run_id"]])
    if spec:
        runs["spec"] = [json.dumps(_deep(json.loads(one), spec)) for one in runs["spec"]]
    return replace(store, runs=runs, curves=curves)


def _deep(whole, given):
    return whole | {
        key: _deep(whole[key], value) if isinstance(value, dict) else value
        for key, value in given.items()
    }


def test_arms_of_both_studies_are_compared_within_a_seed(quick):
    other = changed(quick, "szp", by=-0.5)
    found = compare(quick, other, names=["a", "b"])
    assert found.targets == ("w64-d2",)
    by_name = {(arm.study, arm.label): arm for arm in found.arms}
    assert found.arms[0] is by_name["b", "szp"]
    assert by_name["a", "scratch"].is_reference
    assert by_name["b", "szp"].verdict == "better"
    losses = {
        method: quick.runs[(quick.runs["role"] == "target") & (quick.runs["method"] == method)]
        .sort_values("seed")["final_val_loss"].to_numpy()
        for method in ("szp", "scratch")
    }  # fmt: skip
    ends = ttest_rel(losses["szp"] - 0.5, losses["scratch"]).confidence_interval()
    difference = by_name["b", "szp"].minus_reference
    assert (difference.lo, difference.hi) == pytest.approx(tuple(ends))
    # scratch of the other study has the same losses, under other ids: it is an arm like any other
    assert by_name["b", "scratch"].minus_reference.value == pytest.approx(0)


def test_the_very_same_runs_are_one_arm(quick):
    found = compare(quick, quick, names=["a", "b"])
    assert {arm.study for arm in found.arms} == {"a"}
    assert {arm.also for arm in found.arms} == {("b",)}


def test_another_reference(quick):
    found = compare(quick, changed(quick, "szp"), names=["a", "b"], reference="szp")
    (base,) = [arm for arm in found.arms if arm.is_reference]
    assert (base.study, base.label) == ("a", "szp")
    with pytest.raises(UserError, match="unknown arm 'szq'; did you mean 'szp'"):
        compare(quick, quick, names=["a", "b"], reference="szq")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"data": {"corpus": "novels", "corpus_sha256": "f" * 64}}, "corpus stdlib .* and novels"),
        ({"data": {"final_val_tokens": 99}}, "held-out tokens .* and 99"),
        ({"batch_sequences": 1}, "batch .* and 64"),
        ({"model": {"vocab_size": 300}}, "vocabulary 256 and 300"),
        ({"model": {"norm": "other"}}, "architecture norm=layernorm and norm=other"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(quick, spec, said):
    other = changed(quick, "szp", spec=spec)
    with pytest.raises(UserError, match=f"a and b share no target.* of a: b differs in {said}"):
        compare(quick, other, names=["a", "b"])


def test_targets_of_one_size_are_named_by_what_tells_them_apart(quick):
    longer = changed(quick, "szp", by=1.0)
    longer.runs["tokens"] *= 2
    both = replace(quick, runs=pd.concat([quick.runs, longer.runs], ignore_index=True))
    both.runs["spec"] = [  # a horizon is what a study tells its targets apart by
        json.dumps(json.loads(spec) | {"steps": int(tokens), "first_step": 0})
        for spec, tokens in zip(both.runs["spec"], both.runs["tokens"], strict=True)
    ]
    found = compare(both, both, names=["a", "b"])
    assert found.targets == ("w64-d2 368640 tokens", "w64-d2 737280 tokens")
    assert [arm.target for arm in found.arms if arm.is_reference] == list(found.targets)


def test_a_run_is_not_compared_with_itself(quick):
    found = compare(quick, quick.first_seeds(2), names=["a", "b"])
    (same,) = [arm for arm in found.arms if arm.label == "scratch" and arm.study == "b"]
    assert same.verdict == "not measured"
    assert math.isnan(same.minus_reference.value)


def test_bad_calls_are_one_line(quick):
    with pytest.raises(UserError, match="two studies or more"):
        compare(quick)
    with pytest.raises(UserError, match="1 names for 2 studies"):
        compare(quick, quick, names=["a"])
    nothing = replace(quick, runs=quick.runs[quick.runs["role"] == "proxy"])
    with pytest.raises(UserError, match="no target has finished in a or b"):
        compare(nothing, nothing, names=["a", "b"])


def test_one_seed_is_no_verdict(quick):
    one = quick.first_seeds(1)
    found = compare(one, changed(one, "szp", by=-1.0), names=["a", "b"])
    assert {arm.verdict for arm in found.arms} == {"not measured"}
    assert all(math.isnan(arm.minus_reference.lo) for arm in found.arms)


def test_the_page_has_every_arm_and_all_curves(quick, tmp_path):
    stores = {"a": quick, "b<i>": changed(quick, "szp", by=-0.5)}
    found = compare(*stores.values(), names=list(stores))
    page = build_across(found, stores, tmp_path).read_text(encoding="utf-8")
    assert page.count('<td>szp</td><td data-of="study">b&lt;i&gt;</td>') == 1
    assert "b&lt;i&gt;" in page
    assert "b<i>" not in page
    assert json.loads((tmp_path / "compare.json").read_text())["studies"] == list(stores)
    assert (tmp_path / "tables" / "across.tex").read_text().startswith("%")


def test_only_runs_that_are_compared_share_a_panel(quick, tmp_path):
    """Targets of one size on another corpus have a panel of their own, behind what is compared."""
    other = changed(quick, "szp", spec={"data": {"corpus": "novels"}})
    stores = {"a": quick, "b": quick, "c": other}
    found = compare(*stores.values(), names=list(stores))
    series = across.curves(stores, found.of_runs).series
    assert series[0].panel == "target w64-d2"
    studies = {}
    for one in series:
        studies.setdefault(one.panel, set()).add(one.group.split(" · ")[1])
    assert studies["target w64-d2"] == {"a", "b"}
    assert all(len(of) == 1 for panel, of in studies.items() if panel != "target w64-d2")
    assert studies["target w64-d2 · c"] == {"c"}


def test_the_command(mugrow, tmp_path):
    words = ("compare", str(QUICK), str(QUICK.parent / "small"), "--out", str(tmp_path / "c"))
    ended = mugrow(*words)
    assert ended.code in (0, 2)
    assert mugrow("compare", str(QUICK), str(QUICK)).err == f"mugrow: {QUICK} is named twice\n"
    assert mugrow("compare", str(QUICK)).err == "mugrow: name two studies or more to compare\n"


def rates_apart(store, *, runs_of="scratch"):
    """The store with all targets of a method twice, under another learning rate the second time."""
    mine = (store.runs["role"] == "target") & (store.runs["method"] == runs_of)
    again = changed(store, runs_of, by=0.25, spec={"hyper": {"lr": 0.5}}).runs[mine]
    return replace(store, runs=pd.concat([store.runs, again], ignore_index=True))


def test_arms_of_one_method_are_called_by_the_setting_that_tells_them_apart(quick):
    found = compare(quick, rates_apart(quick), names=["a", "b"])
    labels = {arm.label for arm in found.arms if "b" in (arm.study, *arm.also)}
    (fast,) = [label for label in labels if label == "scratch(hyper.lr=0.5)"]
    (slow,) = [label for label in labels if label.startswith("scratch") and label != fast]
    by_label = {arm.label: arm for arm in found.arms}
    # the runs that both have are the reference, under the name that it has in the first
    assert slow == "scratch"
    assert [arm.label for arm in found.arms if arm.is_reference] == [slow]
    assert by_label[fast].minus_reference.value == pytest.approx(0.25)


def test_a_reference_that_is_not_there_is_said_with_those_that_could_be(quick):
    both = rates_apart(quick)
    found = compare(both, both.first_seeds(2), names=["a", "b"])
    assert not any(arm.is_reference for arm in found.arms)
    (line,) = found.left_out
    assert line.startswith("differences at w64-d2: no arm there is called 'scratch'; a reference")
    assert "'scratch(hyper.lr=0.5)'" in line
    named = compare(both, both, names=["a", "b"], reference="scratch(hyper.lr=0.5)")
    assert [arm.label for arm in named.arms if arm.is_reference] == ["scratch(hyper.lr=0.5)"]


def test_runs_that_no_setting_tells_apart_are_refused_with_their_study(quick):
    again = changed(quick, "scratch").runs
    twice = replace(quick, runs=pd.concat([quick.runs, again], ignore_index=True))
    said = r"target w64-d2 mup .* of b has two '\w+' runs of seed 0, \w+ and \w+: they differ in no"
    with pytest.raises(UserError, match=said):
        compare(quick, twice, names=["a", "b"])


def test_some_seeds_of_an_arm_do_not_count_as_another_arm(quick):
    """Beside a study of the first seeds a study's own p-values and verdicts are as without it."""
    other = changed(quick, "szp", by=-0.5)
    alone = compare(quick, other, names=["a", "c"])
    beside = compare(quick, other, quick.first_seeds(2), names=["a", "c", "b"])
    shown = {(arm.study, arm.label): (arm.p, arm.verdict) for arm in beside.arms}
    for arm in alone.arms:
        assert shown[arm.study, arm.label] == pytest.approx((arm.p, arm.verdict), nan_ok=True)
    assert {verdict for (study, _), (_, verdict) in shown.items() if study == "b"} == {
        "not measured"
    }


def test_the_refusal_names_the_nearest_target_not_the_first(quick):
    """Of two targets the first has no rival of its shape; the second differs in tokens alone."""
    longer, other = changed(quick, "szp"), changed(quick, "szp")
    longer.runs["tokens"] *= 2
    other.runs.loc[other.runs["role"] == "target", "width"] = 16
    other.runs["batch_tokens"] = 1
    both = replace(quick, runs=pd.concat([other.runs, quick.runs], ignore_index=True))
    with pytest.raises(UserError, match=r": w64-d2 mup of a: b differs in tokens (\d+) and \d+$"):
        compare(both, longer, names=["a", "b"])


def test_a_spec_from_before_a_setting_has_its_default(quick):
    older = changed(quick, "szp", by=-0.5)
    older.runs["spec"] = [
        json.dumps(spec | {"model": {k: v for k, v in spec["model"].items() if k != "norm_eps"}})
        for spec in map(json.loads, older.runs["spec"])
    ]
    assert compare(quick, older, names=["a", "b"]).targets == ("w64-d2",)


def test_studies_without_a_target_are_named(quick):
    nothing = replace(quick, runs=quick.runs[quick.runs["role"] == "proxy"])
    with pytest.raises(UserError, match=r"no target has finished in b$"):
        compare(quick, nothing, names=["a", "b"])
