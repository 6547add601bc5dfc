"""A search over multipliers of modules: samplers for many axes, replay, transfer, refusals."""

import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from fake_runs import ALONE, DATA, STUDY, run_all

from mugrow.analysis.measure.importance import importance
from mugrow.analysis.read.store import load
from mugrow.bench.flops import per_token
from mugrow.bench.spec import Multiplier, UserError
from mugrow.sweeps.module_range import ModuleRange
from mugrow.sweeps.override import override
from mugrow.sweeps.plan import plan
from mugrow.sweeps.sampling import Space, Told, ask
from mugrow.sweeps.search import replay, searches
from mugrow.sweeps.study import Study, Variant

MODULES = (
    ModuleRange("lr.qk", -2.0, 2.0),
    ModuleRange("lr.head", -1.0, 3.0),
    ModuleRange("beta2.embedding", -1.0, 1.0),
)
BEST = {"lr.qk": -0.75, "lr.head": 1.5, "beta2.embedding": 0.0}  # log2
STUDY_OF_MODULES = replace(
    ALONE, sampler="trust", modules=MODULES, trials=60, generation=10, init_std=(0.04,)
)


def row(spec):
    """A bowl in the rate and in each multiplier."""
    times = dict(spec.hyper.modules)
    away = [math.log2(spec.hyper.lr) + 7.0]
    away += [math.log2(times.get(name, 1.0)) - best for name, best in BEST.items()]
    loss = 2.0 + 0.1 * spec.seed + 0.02 * sum(x * x for x in away)
    return {"status": "finished", "final_val_loss": loss, "flops": 100.0}


# --- many axes ----------------------------------------------------------------------------------

AXES = 20
SIZES = (33, 5, *[17] * (AXES - 2))
OPTIMUM = np.array([20, 2, *(4 + place % 9 for place in range(AXES - 2))])


def lowest(sampler: str, trials: int = 208, generation: int = 8) -> list[float]:
    """The lowest loss after each trial, of a bowl in 20 axes with half of the box a cliff."""
    names = tuple(f"axis {place}" for place in range(AXES - 2))
    space = Space("study/sweep", sampler, SIZES, names, generation)
    history: tuple[Told, ...] = ()
    found = []
    while len(history) < trials:
        for point in ask(space, history, generation):
            assert all(0 <= place < size for place, size in zip(point, SIZES, strict=True))
            loss = float((((np.array(point) - OPTIMUM) / np.array(SIZES)) ** 2).sum())
            told = Told(point, "failed", None) if loss > 1.5 else Told(point, "complete", loss)
            history += (told,)
            found.append(min([loss, *found[-1:]]))
    return found


def test_the_first_trial_in_a_trust_region_is_the_middle_of_all_axes():
    space = Space("study/sweep", "trust", SIZES, tuple(map(str, range(AXES - 2))))
    assert ask(space, (), 3)[0] == tuple((size - 1) // 2 for size in SIZES)


def test_the_region_stays_where_one_in_five_succeeds_and_is_never_more_than_the_box():
    """Its share of an axis after successes and failures, read off the farthest of many points."""
    space = Space("study/sweep", "trust", (2001, 2001))
    better = [Told((1000, 1000), "complete", 5.0 - number) for number in range(4)]
    worse = [Told((0, 0), "complete", 9.0), Told((0, 0), "failed", None)] * 4
    for history, share in ((better, 1.0), (better + worse, 1.5**-2)):
        places = np.array(ask(space, tuple(history), 200))
        assert np.abs(places - 1000).max() == pytest.approx(1000 * share, rel=0.05)


def by_chance(trials: int) -> float:
    """The lowest loss of points that are uniform in the box."""
    rng = np.random.default_rng(0)
    points = rng.integers(0, np.array(SIZES), (trials, AXES))
    return float((((points - OPTIMUM) / np.array(SIZES)) ** 2).sum(1).min())


def test_a_trust_region_carries_twenty_axes_where_chance_does_not():
    found = lowest("trust")
    assert found[-1] < 0.2 * found[0]
    assert found[-1] < 0.1 * by_chance(len(found))


def test_covariance_matrix_adaptation_does_too():
    pytest.importorskip("cmaes")
    found = lowest("cmaes", trials=320)
    assert found[-1] < 0.5 * min(found[0], by_chance(len(found)))


def test_a_sampler_whose_package_is_absent_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(UserError, match="sampler 'cmaes' needs the package cmaes: pip install"):
        ask(Space("absent", "cmaes", (5, 5)), (), 2)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "qmc"])
def test_optunas_samplers_take_more_axes(sampler):
    study = replace(STUDY_OF_MODULES, sampler=sampler, trials=12)
    state = replay(searches(study, DATA)[0], {})
    for trial in state.trials:
        for one, log2 in zip(MODULES, trial.log2_modules, strict=True):
            assert log2 in one.log2_times
    assert len({trial.log2_modules for trial in state.trials}) > 1


# --- in a study ---------------------------------------------------------------------------------


def test_a_search_by_module_is_replayed_and_its_best_trial_transferred():
    whole, rows = run_all(STUDY_OF_MODULES, row=row)
    search = searches(STUDY_OF_MODULES, DATA)[0]
    full = replay(search, rows)
    assert full.done
    assert len(full.trials) == 60
    assert set(full.trials[0].log2_modules) == {0.0, 1.0}  # the middles of their ranges
    ask.cache_clear()
    order = list(dict.fromkeys(spec.run_id for trial in full.trials for spec in trial.specs))
    for kept in (0, 1, len(order) // 3, len(order) - 1):
        state = replay(search, {run_id: rows[run_id] for run_id in order[:kept]})
        assert [one.specs for one in state.trials] == [
            one.specs for one in full.trials[: len(state.trials)]
        ]
    best = min(full.trials, key=lambda trial: trial.value or math.inf)
    first = full.trials[0]
    assert best.value is not None
    assert first.value is not None
    assert best.value - 2.05 < 0.3 * (first.value - 2.05)
    targets = [run.spec for run in whole.runs if run.role == "target"]
    assert targets
    for spec in targets:
        assert spec.hyper.modules == best.specs[0].hyper.modules != ()
        assert spec.hyper.lr == best.lr
    told = [json.loads(one["modules"]) for one in whole.trials]
    assert told == [dict(trial.specs[0].hyper.modules) for trial in full.trials]


def test_a_trial_that_diverged_is_told_as_worse_than_a_uniform_guess(monkeypatch):
    told = []
    monkeypatch.setattr(
        "mugrow.sweeps.search.ask",
        lambda space, past, count: told.append(past) or ask(space, past, count),
    )
    search = searches(replace(STUDY_OF_MODULES, trials=20), DATA)[0]
    first = replay(search, {})
    replay(
        search, {one.run_id: {"status": "diverged"} for each in first.trials for one in each.specs}
    )
    values = {one.value for one in told[-1]}
    assert values == {2 * math.log(search.model.vocab_size)}


def test_only_the_sweep_that_is_transferred_from_searches_modules():
    study = replace(STUDY_OF_MODULES, proxy_widths=(32, 64))
    main, other = searches(study, DATA)
    assert len(main.space.sizes) == 5
    assert other.space.sizes == (49, 1)
    assert other.specs(-7.0, 0.04)[0].hyper.modules == ()


def test_what_is_set_stays_beside_what_is_searched():
    fixed = replace(STUDY_OF_MODULES.hyper, modules=(Multiplier("eps.head", 2.0),))
    search = searches(replace(STUDY_OF_MODULES, hyper=fixed), DATA)[0]
    found = search.specs(-7.0, 0.04, (1.0, 0.0, -1.0))[0].hyper.modules
    assert dict(found) == {"eps.head": 2.0, "lr.qk": 2.0, "beta2.embedding": 0.5}


def test_flops_pay_for_so_many_trials():
    search = searches(STUDY_OF_MODULES, DATA)[0]
    paid = 13.5 * sum(run.tokens * per_token(run.model) for run in search.specs(-7.0, 0.04))
    assert searches(replace(STUDY_OF_MODULES, search_flops=paid), DATA)[0].budget == 13
    with pytest.raises(UserError, match="search_flops 1000 pay for no trial of mup-w32-d2"):
        plan(replace(STUDY_OF_MODULES, search_flops=1000.0), DATA, {})


def test_settings_from_the_command_line():
    given = "modules=lr.qk:-2:2,eps.head:-1:1 sampler=trust search_flops=1e12"
    study = override(STUDY, given.split())
    assert study.modules == (ModuleRange("lr.qk", -2.0, 2.0), ModuleRange("eps.head", -1.0, 1.0))
    assert study.search_flops == 1e12


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        ("modules=lr.qk:1:1 sampler=trust", "the range of lr.qk is one point, 2^1; to fix it, set "
         "hyper.modules=lr.qk:2"),
        ("modules=lr.qk:2:-2 sampler=trust", "two log2 some quarters apart, the lower first, not 2 "
         "and -2; the nearest: lr.qk:-2:2"),
        ("modules=lr.qk:0:0.1 sampler=trust", "the nearest: lr.qk:0:0.25"),
        ("modules=lr.qk:-2000:2000 sampler=trust", "log2 between -32 and 32, not -2000 to 2000"),
        ("search_flops=1e300 sampler=trust", "search_flops 1e+300 pay for more than 100000 trials"),
        ("trials=1000000000 sampler=trust", "trials must be at most 100000, not 1000000000"),
        ("generation=1 sampler=cmaes", "generation must be at least 2 for sampler 'cmaes'"),
        ("modules=lr.qk:-1:1,lr.qk:0:1 sampler=trust", "modules holds lr.qk twice"),
        ("modules=lr.qk:-1:1", "for samplers that do not try every pair; set sampler=trust"),
        ("search_flops=1e12", "for samplers that do not try every pair; set sampler=trust"),
        ("search_flops=0 sampler=trust", "search_flops must be above 0, not 0"),
        ("log2_lr=-7 init_std=0.1 sampler=tpe", "a search space of one point for sampler 'tpe'"),
        ("modules=lr.qk:-1:1 hyper.modules=lr.qk:2 sampler=trust", "lr.qk is searched, and set in "
         "hyper.modules; leave one out"),
        ("modules=lr.haed:-1:1 sampler=trust", "unknown module for 'lr': 'haed'; did you mean"),
        ("modules=beta1.qk:0:4 sampler=trust", "1 - beta1 must be below 1, not 0.1 times 16"),
        ("methods=scratch,szp:new_rte=2", "unknown parameter of method 'szp': 'new_rte'; did you "
         "mean 'new_rate'?"),
        ("methods=scratch,ligo:new_rate=2", "method 'ligo' mixes what it learns; leave new_rate"),
        ("methods=scratch,szp:new_rate=2 ladder=32:2:32:2", "adds nothing to a source; leave "
         "new_rate of 'szp' at 1"),
        ("modules=beta1.qk:-2:2 target_steps=30 sampler=trust parametrizations=completedp", "1 - "
         "beta1 must be below 1, not 0.333333 times 4; the nearest factor is below 3"),
        ("modules=lr.head:-1:1 model.tied=true sampler=trust", "the model has no 'head' for "
         "'lr.head'; the nearest: 'lr.embedding'"),
        ("modules=beta1.qk:-1:1 optimizer=lion sampler=trust", "optimizer 'lion' does not read "),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(assignments, message):
    with pytest.raises(UserError) as refused:
        plan(override(STUDY, assignments.split()), DATA, {})
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_study_without_modules_is_what_it_was():
    plain: Study = replace(ALONE, sampler="tpe")
    search = searches(plain, DATA)[0]
    assert search.space == Space("tiny/mup-w32-d2", "tpe", (49, 3), (), plain.generation)
    assert {trial["modules"] for trial in plan(plain, DATA, {}).trials} == {None}


@pytest.mark.integration
def test_a_study_that_searches_modules_runs_to_its_report(mugrow, tmp_path):
    study = """
name = "mods"
title = "By module"
question = "Does it run?"
model = { width = 16, depth = 1, context = 16 }
proxy_widths = [16]
log2_lr = [-9.0, -6.0]
init_std = [0.1]
proxy_steps = 4
batch_sequences = 2
val_tokens = 256
final_val_tokens = 256
sampler = "trust"
trials = 6
generation = 3
modules = ["lr.qk:-1:1", "residual.mlp:-1:1"]
parametrizations = ["completedp"]
ladder = ["16:1:32:1"]
methods = ["scratch", "szp"]
source_steps = 4
target_steps = 4
budgets = []
"""
    (tmp_path / "mods.toml").write_text(study)
    out = tmp_path / "out"
    ended = mugrow("run", tmp_path / "mods.toml", "--out", out)
    assert ended.code == 0, ended.err
    store = load(out)
    assert set(store.trials["modules"].map(type)) == {str}
    tuned = set(store.runs[store.runs["role"] == "target"]["spec"])
    best = store.trials.loc[store.trials["value"].idxmin()]
    for spec in tuned:
        assert dict(json.loads(spec)["hyper"]["modules"]) == json.loads(best["modules"])
    with pytest.raises(UserError, match="importance of 2 multipliers takes complete trials at 14"):
        importance(store.trials)


def test_a_variant_without_multipliers_is_a_search_of_its_own_over_both_numbers():
    """As many trials over rate and initial scale; the study's own optimum is transferred."""
    shared = Variant("shared", ("modules=",))
    study = replace(STUDY_OF_MODULES, init_std=(0.04, 0.08), variants=(shared,))
    main, other = searches(study, DATA)
    assert (other.name, len(other.modules), other.init_std) == (
        f"{main.name}-shared", 0, (0.04, 0.08),
    )  # fmt: skip
    assert other.budget == main.budget == study.trials
    done, _ = run_all(study, row=row)
    trials = [one for one in done.trials if one["sweep"] == other.name]
    assert {one["modules"] for one in trials} == {None}
    assert {one["init_std"] for one in trials} == {0.04, 0.08}
    tied = replace(study, variants=(Variant("tied", ("schedule.warmup=0",)),))
    assert not searches(tied, DATA)[-1].whole
