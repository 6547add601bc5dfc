import logging
import math
from dataclasses import replace

import optuna
import pytest
from fake_runs import ALONE, DATA, STUDY, ended, run_all

from mugrow.bench.spec import UserError
from mugrow.sweeps.sampling import Space, Told, ask
from mugrow.sweeps.search import Search, replay, searches
from mugrow.sweeps.study import Proxy, Variant

SAMPLERS = ("grid", "qmc", "tpe", "gp", "trust")


def alone(sampler, **changes):
    """One sweep over the learning rate alone."""
    return replace(ALONE, sampler=sampler, init_std=(0.04,), **({"trials": 12} | changes))


def points(state):
    return [(trial.log2_lr, trial.init_std) for trial in state.trials]


def test_proxies_along_depth_tokens_and_batch_differ_from_the_base_in_that_alone():
    study = replace(ALONE, proxy_depths=(2, 4), token_factors=(1, 2), batch_factors=(2,))
    base, *others = [search.specs(-7.0, 0.04)[0] for search in searches(study, DATA)]
    deeper, longer, larger = others
    assert deeper == replace(base, model=replace(base.model, depth=4))
    assert longer == replace(base, steps=200)
    assert larger == replace(base, steps=50, batch_sequences=2 * base.batch_sequences)
    names = [search.name for search in searches(study, DATA)]
    assert names == ["mup-w32-d2", "mup-w32-d4", "mup-w32-d2-tokens2", "mup-w32-d2-batch2"]


def test_a_rule_for_batch_and_duration_is_given_the_ratio_to_the_smallest_proxy():
    """Under a parametrization that has one; the hyperparameters stay those at the base."""
    study = replace(ALONE, token_factors=(2,), batch_factors=(2,), parametrizations=("completedp",))
    base, longer, larger = [search.specs(-7.0, 0.04)[0] for search in searches(study, DATA)]
    assert [run.step_ratio for run in (base, longer, larger)] == [1, 1 / 2, 2]
    assert base.hyper == longer.hyper == larger.hyper
    with pytest.raises(UserError, match=r"1 - beta1 must be below 1, not 0.1 times 10"):
        searches(replace(study, batch_factors=(10,)), DATA)
    with pytest.raises(UserError, match="optimizer 'lion' has no rule for batch and duration"):
        searches(replace(study, optimizer="lion"), DATA)


def test_a_variant_is_every_width_with_its_changes():
    tied = Variant("tied", ("model.tied=true", "schedule.warmup=0"))
    study = replace(STUDY, variants=(tied,))
    plain, varied = searches(STUDY, DATA), searches(study, DATA)[len(searches(STUDY, DATA)) :]
    assert [search.name for search in varied] == ["mup-w32-d2-tied", "mup-w64-d2-tied"]
    for before, after in zip(plain, varied, strict=False):
        one, two = before.specs(-7.0, 0.04)[0], after.specs(-7.0, 0.04)[0]
        assert two == replace(
            one,
            model=replace(one.model, tied=True),
            base=replace(one.base, tied=True),
            schedule=replace(one.schedule, warmup=0),
        )
        assert not after.whole


def test_an_optimizer_and_its_parameters_are_searched_as_variants():
    """Every value has sweeps of its own over the learning rate, and runs of its own."""
    momenta = (0.8, 0.9)
    changes = [(f"optimizer=muon:steps=5:momentum={momentum}",) for momentum in momenta]
    variants = tuple(Variant(f"momentum {m}", c) for m, c in zip(momenta, changes, strict=True))
    study = replace(ALONE, parametrizations=("sp",), variants=variants)
    base, *others = [sweep.specs(-7.0, 0.04)[0] for sweep in searches(study, DATA)]
    assert others == [replace(base, optimizer=f"muon:momentum={m}") for m in momenta]
    assert len({spec.run_id for spec in (base, *others)}) == 3


def test_an_optimizer_without_a_rule_is_refused_before_anything_is_planned():
    study = replace(ALONE, optimizer="muon")
    with pytest.raises(UserError, match="parametrization 'mup' has no rule for optimizer 'muon'"):
        searches(study, DATA)


def test_only_the_main_sweep_searches_the_initial_scale():
    found = {search.name: search.init_std for search in searches(STUDY, DATA)}
    assert list(found) == ["mup-w32-d2", "mup-w64-d2", "sp-w32-d2", "sp-w64-d2"]
    assert found.pop("mup-w32-d2") == STUDY.init_std
    assert set(found.values()) == {(0.04,)}


def test_grid_is_every_pair_in_a_fixed_order():
    state = replay(searches(STUDY, DATA)[0], {})
    assert points(state) == [(lr, init) for init in STUDY.init_std for lr in STUDY.log2_lr]
    assert [trial.generation for trial in state.trials][4:7] == [0, 1, 1]
    assert not state.stand_ins
    assert not state.done


@pytest.mark.parametrize("sampler", ["qmc", "tpe", "gp"])
def test_samplers_stay_on_the_axis(sampler):
    state = replay(searches(replace(STUDY, sampler=sampler), DATA)[0], {})
    for log2_lr, init_std in points(state):
        assert (log2_lr * 8) % 1 == 0
        assert -10 <= log2_lr <= -4
        assert init_std in STUDY.init_std
    assert len(state.trials) == (15 if sampler == "qmc" else 5)
    assert len(state.trials) + len(state.stand_ins) == 15
    assert len(set(points(state))) > 1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_killed_anywhere_is_replayed_exactly(sampler):
    study = alone(sampler)
    whole, rows = run_all(study)
    search = searches(study, DATA)[0]
    full = replay(search, rows)
    assert full.done
    ask.cache_clear()
    order = list(dict.fromkeys(spec.run_id for trial in full.trials for spec in trial.specs))
    for kept in (0, 1, len(order) // 3, len(order) // 2, len(order) - 1):
        left = {run_id: rows[run_id] for run_id in order[:kept]}
        state = replay(search, left)
        assert points(state) == points(full)[: len(state.trials)]
        assert not state.done
    resumed, again = run_all(study, {run_id: rows[run_id] for run_id in order[:7]})
    assert resumed == whole
    assert again == rows


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_the_next_generation_waits_for_the_whole_last_one(sampler):
    study = alone(sampler)
    search = searches(study, DATA)[0]
    first = replay(search, {}).trials
    rows = {spec.run_id: ended(spec) for trial in first for spec in trial.specs}
    assert len(first) == study.generation
    some = dict(list(rows.items())[:-1])
    assert len(replay(search, some).trials) == study.generation
    assert replay(search, some).trials[-1].state == "waiting"
    assert len(replay(search, rows).trials) == 2 * study.generation


def test_trials_are_not_repeated_after_a_resume():
    """The trap: a sampler built once from a seed starts its stream again on resume."""
    space = Space("study/sweep", "tpe", (49, 3))
    first = ask(space, (), 5)
    history = tuple(Told(point, "complete", 2.0) for point in first)
    assert ask(space, history, 5) != first


def test_what_is_told_decides_what_is_asked():
    space = Space("study/sweep", "tpe", (49, 1))
    at = [(place, 0) for place in range(0, 48, 4)]
    low = tuple(Told(point, "complete", 2.0 + point[0]) for point in at)
    high = tuple(Told(point, "complete", 2.0 - point[0]) for point in at)
    mean_low, mean_high = (sum(lr for lr, _ in ask(space, told, 8)) / 8 for told in (low, high))
    assert mean_low < 20 < 28 < mean_high


def test_qmc_goes_on_where_it_was():
    space = Space("study/sweep", "qmc", (49, 3))
    whole = ask(space, (), 12)
    assert ask(space, tuple(Told(p, "complete", 1.0) for p in whole[:5]), 7) == whole[5:]
    assert len({lr for lr, _ in whole}) > 9


@pytest.mark.parametrize("state", ["pruned", "failed"])
def test_trials_without_a_value_can_be_told(state):
    space = Space("study/sweep", "tpe", (49, 3))
    history = tuple(Told((place, 0), state, None) for place in range(12))
    assert len(ask(space, history, 3)) == 3


def test_optuna_is_as_loud_as_before(caplog):
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    optuna.logging.enable_propagation()
    try:
        with caplog.at_level(logging.DEBUG):
            ask(Space("quiet", "qmc", (7, 3)), (), 3)
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
        assert not caplog.records
    finally:
        optuna.logging.disable_propagation()
        optuna.logging.set_verbosity(before)


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        (("finished", "finished"), "complete"),
        (("finished", None), "waiting"),
        (("diverged", None), "waiting"),
        (("finished", "diverged"), "diverged"),
        (("pruned", "diverged"), "diverged"),
        (("pruned", "pruned"), "pruned"),
        (("failed", "diverged"), "failed"),
    ],
)
def test_a_trial_stands_and_falls_with_its_seeds(statuses, state):
    search = searches(ALONE, DATA)[0]
    trial = replay(search, {}).trials[3]
    rows = {
        spec.run_id: {"status": status, "final_val_loss": 2.0 + spec.seed}
        for spec, status in zip(trial.specs, statuses, strict=True)
        if status
    }
    found = replay(search, rows).trials[3]
    assert found.state == state
    assert found.value == (2.5 if state == "complete" else None)


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_search_in_which_everything_diverges_goes_on_to_its_end(sampler):
    study = alone(sampler, log2_lr=(-4.5, -3.0))
    plan, _ = run_all(study)
    assert {row["state"] for row in plan.trials} == {"diverged"}
    assert len(plan.trials) == study.trials


def test_a_point_asked_for_twice_is_the_same_runs():
    study = alone("tpe", log2_lr=(-7.25, -7.0), trials=9, generation=3)
    plan, rows = run_all(study)
    proxies = [run.spec.run_id for run in plan.runs if run.role == "proxy"]
    assert len(plan.trials) == 9
    assert len(proxies) == len(set(proxies)) <= 3 * len(study.seeds)
    billed = sum(row["flops"] for row in plan.trials)
    assert billed == sum(rows[run_id]["flops"] for run_id in proxies)


def test_specs_differ_in_the_seed_and_its_data_alone():
    search = Search(STUDY, DATA, "mup", Proxy(64, 2))
    one, two = search.specs(-7.0, 0.04)
    assert (one.seed, one.data_seed, two.seed, two.data_seed) == (0, 0, 1, 1)
    assert replace(two, seed=0, data_seed=0) == one
    assert one.hyper.lr == 2**-7
    assert one.base == STUDY.model
    assert (one.model.width, one.model.depth) == (64, 2)
    assert math.log2(one.hyper.lr) == -7.0
