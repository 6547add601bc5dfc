"""Re-warming on tiny models, and its measures where the answers are known."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mugrow.analysis.figures.arms import table
from mugrow.analysis.measure.claims import ledger
from mugrow.analysis.measure.measured import finals
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import factors_json
from mugrow.bench.schedule import run_factor
from mugrow.bench.spec import DataSpec, UserError
from mugrow.sweeps.paper import Setting, experiment, setting
from mugrow.sweeps.plan import depends
from mugrow.sweeps.recipes.papers.beyond_fixed_durations import paper as beyond_fixed_durations
from mugrow.sweeps.recipes.papers.rewarm import paper as rewarm
from mugrow.sweeps.recipes.papers.rewarm.paper import (
    LENGTHS,
    PAPER,
    RATES,
    again,
    constant,
    downstream,
    raised,
    scratch,
    upstream,
)
from mugrow.sweeps.recipes.papers.shift import (
    DIRECTIONS,
    STOPS,
    adapted,
    pretrained,
    rewarmed,
    segment,
    trained,
)

DATA = {name: DataSpec(corpus=name, corpus_sha256=name) for name in PAPER.corpora}


def given(scale="cpu"):
    return Setting(scale, PAPER.bases[scale](DATA["novels"], 256), DATA)


@pytest.mark.integration
def test_it_runs_draws_and_judges(monkeypatch, reproduced):
    monkeypatch.setitem(rewarm.SEEDS, "cpu", range(2))
    store = reproduced(PAPER, steps=20, log_every=5)
    way = DIRECTIONS[0]
    before = finals(store.runs, trained("novels"))
    for arm in (rewarmed(way), constant(way)):
        kept = table(store, upstream(arm))
        assert list(kept.index) == [0, *STOPS]
        assert kept.nunique(axis=0).to_list() == [6, 6]
        assert kept.loc[0].to_dict() == before
        assert {0, 1, 2, 5, 10, 15, 20} <= set(downstream(store, arm))
    home = store.runs.set_index("arm")["corpus"]
    asked = store.evaluations.drop_duplicates("arm").set_index("arm")["corpus"]
    for up, down in DIRECTIONS:
        assert asked[rewarmed((up, down))] == home[trained(up)].iloc[0]
    for text, _ in DIRECTIONS:  # on the same text a run begins where its source ended
        begins = downstream(store, again(text))[0].by_seed(store)
        assert begins == pytest.approx(finals(store.runs, trained(text)), rel=1e-6)


@pytest.mark.parametrize(("scale", "vocabulary"), [("cpu", 256), ("paper", 50_277)])
def test_every_scale_can_be_planned_sources_first(scale, vocabulary):
    run = PAPER.bases[scale](DATA["novels"], vocabulary)
    plan = experiment(PAPER, Setting(scale, run, DATA), PAPER.figures).plan({})
    done = set()
    for stack in plan.stacks:
        assert depends(stack) <= done
        done |= {run.spec.run_id for run in stack.runs}
    assert len(plan.runs) == 5 * 2 * (1 + 2 * len(STOPS) + 3 + 2 + 1 + 1)


def test_from_scratch_is_a_cosine_of_beyond_fixed_durations():
    code = Setting("cpu", PAPER.bases["cpu"](DATA["code"], 256), {"text": DATA["code"]})
    theirs = {node.spec.run_id for node in beyond_fixed_durations.ladder_runs(code)}
    ours = [node for node in rewarm.shift_runs(given()) if node.arm == scratch("code")]
    assert len(ours) == 5
    assert {node.spec.run_id for node in ours} <= theirs


def test_what_each_arm_does_with_its_rate():
    def rates(nodes):
        specs = [node.spec for node in nodes]
        return [spec.hyper.lr * run_factor(spec, step)
                for spec in specs for step in range(spec.train_steps)]  # fmt: skip

    here, way = given(), DIRECTIONS[0]
    peak, steps = here.run.hyper.lr, here.run.steps
    before = rates([pretrained(here, "novels", 0)])
    again = rates(adapted(here, 0, way))
    assert before == pytest.approx(again)
    assert (max(again), again[-1]) == pytest.approx((peak, 0.1 * peak), rel=1e-3)
    flat = rates(rewarm.unwarmed(here, 0, way))
    assert flat == pytest.approx([0.1 * peak] * steps)
    assert rates(rewarm.varied(here, 0, way, length=0))[0] == pytest.approx(peak)
    assert np.argmax(rates(rewarm.varied(here, 0, way, length=2))) == 2 * np.argmax(again) + 1
    assert max(rates(rewarm.varied(here, 0, way, rate=2))) == pytest.approx(2 * peak)


def test_downstream_all_arms_see_the_same_batches_and_none_of_upstreams():
    nodes = [node for node in rewarm.shift_runs(given()) if node.spec.seed == 3]
    of_code = [node.spec for node in nodes if node.spec.data == DATA["code"]]
    assert {spec.data_seed for spec in of_code} == {3}
    assert all(spec.first_batch == spec.first_step for spec in of_code)
    assert all(node.line[0].spec.data_seed != 3 for node in nodes if node.source)


def test_novels_must_be_given_but_not_to_be_priced(mugrow, corpus, capitals, tmp_path, monkeypatch):
    monkeypatch.setitem(rewarm.SEEDS, "cpu", range(1))
    here = ("--corpus", f"code={corpus}", "--out", tmp_path / "papers")
    ended = mugrow("reproduce", "rewarm", *here)
    assert ended.code == 2
    assert "https://github.com/COST-ELTeC/ELTeC-eng" in ended.err
    assert "--corpus novels=PATH" in ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "papers").exists()
    priced = mugrow("reproduce", "rewarm", *here, "--dry-run", "--json")
    assert priced.code == 0, priced.err
    assert len(json.loads(priced.out)["runs"]) == 2 * 18
    both = {"novels": str(capitals), "code": str(corpus)}
    assert setting(PAPER, "cpu", both, priced=True) == setting(PAPER, "cpu", both)
    with pytest.raises(UserError, match="not built in"):
        setting(PAPER, "cpu", {"code": str(corpus)})


# --- arms whose answers are known --------------------------------------------------------------

STEPS = 400


class Tables:
    """A study in which losses are planted, of 4 seeds shifted alike."""

    def __init__(self, noise):
        self.runs, self.curves, self.evaluations = [], [], []
        self.draw, self.noise = np.random.default_rng(0), noise

    def arm(self, name, losses, upstream=None, first=0):
        """``losses`` and ``upstream`` are losses by step; the run begins at ``first``."""
        last = max(losses)
        for seed in range(4):
            run_id = f"{name} {first} {seed}"
            shift = 0.1 * seed + self.draw.normal(0, self.noise)
            row = {"run_id": run_id, "arm": name, "seed": seed, "status": "finished"}
            end = {"final_val_loss": losses[last] + shift, "factors": factors_json(name)}
            self.runs.append(row | end | {"tokens": 512 * (last - first), "batch_tokens": 512})
            for step, loss in losses.items():
                row = {"run_id": run_id, "step": step - first, "val_loss": loss + shift}
                self.curves.append(row)
            if upstream is not None:
                row = {"arm": name, "seed": seed, "value": upstream + shift}
                self.evaluations.append(row | {"run_ids": [run_id]})

    def store(self):
        tables = (pd.DataFrame(rows) for rows in (self.runs, self.curves))
        return Store(*tables, pd.DataFrame(), {}, pd.DataFrame(self.evaluations))


def planted(sign=1.0, noise=1e-4, longer=0.001):
    """With ``sign`` 1 as the paper says. The longest warm-up ends ``longer`` above none."""
    tables = Tables(noise)
    for up, down in DIRECTIONS:
        way = (up, down)
        tables.arm(trained(up), {0: 6.0, STEPS: 2.0})
        tables.arm(again(up), {0: 2.0, 40: 2.0 + 0.05 * sign, 200: 2.3, STEPS: 1.9})
        tables.arm(scratch(down), {0: 6.0, STEPS: 2.4 + 0.2 * sign})
        tables.arm(constant(way), {0: 3.0, STEPS: 2.4 + 0.1 * sign}, 2.1)
        ours = {0: 3.0, 20: 2.7, 40: 2.8, 100: 3.0 + 0.2 * sign, 200: 3.4, STEPS: 2.4 - 0.05 * sign}
        kept = (2.0 + 0.1 * sign, 2.0 + 0.2 * sign, 2.0 + 0.3 * sign, 2.6, 2.5)
        for first, last, loss in zip(ours, list(ours)[1:], kept, strict=False):
            name = segment(rewarmed(way), last / STEPS)
            tables.arm(name, {first: ours[first], last: ours[last]}, loss, first)
        for length in (0, 0.5, 2):
            off = longer * (length == LENGTHS[-1])
            tables.arm(rewarmed(way, length), {0: 3.0, STEPS: 2.4 + off}, 2.6 + off)
        for rate in (0.5, 2):
            more = sign * (rate == RATES[-1])
            tables.arm(rewarmed(way, rate=rate), {0: 3.0, STEPS: 2.4 - 0.2 * more}, 2.6 + more)
    return tables.store()


def test_a_rise_is_the_highest_of_the_first_quarter_over_what_was_before():
    store = planted()
    way = DIRECTIONS[0]
    assert raised(rewarmed(way))(store).value == pytest.approx(0.2, abs=1e-3)
    assert raised(again("novels"))(store).value == pytest.approx(0.05, abs=1e-3)
    claim = next(one for one in rewarm.R1 if one.name == f"raises-upstream-{way[0]}")
    assert claim.measure(store).value == pytest.approx(0.3, abs=1e-3)


def test_both_verdicts():
    all_claims = list(PAPER.claims(PAPER.figures))
    said = {row.claim: row.verdict for row in ledger(all_claims, planted())}
    assert said.pop("at-410M") == "not testable here"
    assert len(said) == 8 + 4 + 4 + 2
    assert set(said.values()) == {"reproduced"}
    opposite = {row.claim: row.verdict for row in ledger(all_claims, planted(-1, longer=0.1))}
    assert set(opposite.values()) == {"contradicted", "not testable here"}


def test_a_claim_on_a_text_is_about_that_text():
    tables = Tables(0.0)
    for up, down in DIRECTIONS:
        tables.arm(trained(up), {0: 6.0, STEPS: 2.0})
        for length in (0, 2):
            longer = 0.1 * (length == LENGTHS[-1])
            name = rewarmed((up, down), length)
            tables.arm(name, {0: 3.0, STEPS: 2.0 + longer}, 2.0 + 2 * longer)
    found = {claim.name: claim.measure(tables.store()).value for claim in rewarm.R2}
    assert found["length-novels-to-code-on-code"] == pytest.approx(5, rel=0.1)
    assert found["length-novels-to-code-on-novels"] == pytest.approx(10, rel=0.1)


def test_what_is_not_there_is_named():
    store = planted()
    bare = replace(store, evaluations=store.evaluations.iloc[:0])
    with pytest.raises(UserError, match="1× rate' has no evaluation"):
        rewarm.ends(rewarmed(DIRECTIONS[0]))[1](bare)
