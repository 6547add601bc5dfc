import random
from dataclasses import replace

import pytest
from fake_runs import ALONE, DATA, STUDY, ended, run_all

from mugrow.bench.growth import method
from mugrow.bench.record import ROLES, TRIAL_SCHEMA
from mugrow.bench.schedule import cooldown_start
from mugrow.bench.spec import UserError, run_spec_from_json
from mugrow.bench.spec import canonical_json as to_json
from mugrow.sweeps.override import override
from mugrow.sweeps.plan import SOURCE_DATA_SEEDS, PlannedStack, depends, plan
from mugrow.sweeps.study import Method, Rung, Step

LADDER = (Step(64, 2, 128, 2), Step(32, 2, 128, 2), Step(64, 2, 64, 4))
METHODS = (*STUDY.methods, Method("stack"))


def of_role(plan, role):
    return [run.spec for run in plan.runs if run.role == role]


def sizes(stacks):
    """What a stack costs: role, shape and tokens of each member."""
    return [[(run.role, run.spec.model, run.spec.tokens) for run in s.runs] for s in stacks]


def test_stacks_come_after_what_they_depend_on():
    done, finished = run_all(replace(STUDY, ladder=LADDER, methods=METHODS))
    assert [run.role for run in done.runs] == sorted(
        (run.role for run in done.runs), key=ROLES.index
    )
    before = set()
    for stack in done.stacks:
        assert depends(stack) <= before
        before |= {run.spec.run_id for run in stack.runs}
    assert before == set(finished)
    assert not done.provisional


def test_a_run_is_planned_once():
    done, _ = run_all(replace(STUDY, ladder=LADDER, methods=METHODS))
    run_ids = [run.spec.run_id for run in done.runs]
    assert len(run_ids) == len(set(run_ids))
    scratch = [spec for spec in of_role(done, "target") if spec.start.method == "scratch"]
    assert sorted((s.model.width, s.model.depth, s.seed) for s in scratch) == [
        *[(64, 4, 0), (64, 4, 1), (128, 2, 0), (128, 2, 1)],
    ]


def test_the_main_sweep_is_all_that_targets_wait_for():
    none = plan(STUDY, DATA, {})
    assert {run.role for run in none.runs} == {"proxy"}
    main = [run for stack in none.stacks for run in stack.runs if run.sweep == "mup-w32-d2"]
    assert len(main) == 7 * 3 * 2
    finished = {run.spec.run_id: ended(run.spec) for run in main}
    assert len(of_role(plan(STUDY, DATA, finished), "target")) == 3 * 2
    finished.popitem()
    assert of_role(plan(STUDY, DATA, finished), "target") == []


def test_provisional_runs_cost_what_the_real_ones_will():
    study = replace(STUDY, ladder=LADDER, methods=METHODS)
    first, (last, _) = plan(study, DATA, {}), run_all(study)
    assert sizes(first.stacks + first.provisional) == sizes(last.stacks)
    assert first.optima == {}


def test_trials_not_asked_for_yet_are_priced_as_different_ones():
    study = replace(ALONE, sampler="tpe")
    first, (last, _) = plan(study, DATA, {}), run_all(study)
    planned = [run for stack in first.stacks + first.provisional for run in stack.runs]
    assert len({run.spec.run_id for run in planned}) == len(planned)
    proxies = [run.spec for run in planned if run.role == "proxy"]
    assert len(proxies) == sum(len(row["run_ids"]) for row in last.trials) == 15 * 2
    assert {(spec.model, spec.tokens) for spec in proxies} == {
        (spec.model, spec.tokens) for spec in of_role(last, "proxy")
    }


@pytest.mark.parametrize("sampler", ["grid", "qmc", "tpe"])
def test_stacks_do_not_depend_on_the_order_in_which_runs_end(sampler):
    study = replace(STUDY, sampler=sampler, proxy_widths=(32,))
    last, finished = run_all(study)
    rng = random.Random(0)
    for _ in range(5):
        some = {run_id: row for run_id, row in finished.items() if rng.random() < 0.7}
        found = plan(study, DATA, some)
        assert {stack.key for stack in found.stacks} <= {stack.key for stack in last.stacks}
    assert run_all(study, some)[0] == last
    assert plan(study, DATA, dict(reversed(finished.items()))) == last


def test_sources_and_targets_use_the_optimum_of_the_main_sweep():
    done, _ = run_all(STUDY)
    best = done.optima["mup-w32-d2"]
    assert set(done.optima) == {"mup-w32-d2", "mup-w64-d2", "sp-w32-d2", "sp-w64-d2"}
    for run in done.runs:
        if run.role != "proxy":
            assert (run.spec.hyper.lr, run.spec.hyper.init_std) == (best.lr, best.init_std)
            assert (run.spec.parametrization, run.spec.base) == ("mup", STUDY.model)
            assert (run.sweep, run.trial) == ("mup-w32-d2", None)


def test_a_source_stops_where_its_cooldown_begins_on_batches_of_its_own():
    done, _ = run_all(STUDY)
    sources = {spec.run_id: spec for spec in of_role(done, "source")}
    assert sorted(spec.seed for spec in sources.values()) == [0, 1]
    for source in sources.values():
        assert (source.steps, source.stop_step) == (200, 160)
        assert source.data_seed == source.seed + SOURCE_DATA_SEEDS
        assert (source.model.width, source.model.depth) == (64, 2)
    for target in of_role(done, "target"):
        assert (target.steps, target.stop_step, target.data_seed) == (200, None, target.seed)
        assert (target.model.width, target.model.depth) == (128, 2)
        if target.start.method != "scratch":
            source = sources[target.start.source_run_id]
            assert (source.seed, target.start.source_step) == (target.seed, 160)


def test_sources_and_targets_have_the_ratio_of_their_steps_to_the_proxys():
    """And what goes on from them, or ends another budget of theirs, keeps it."""
    study = replace(ALONE, parametrizations=("completedp",), target_steps=400, budgets=(0.5, 1, 2))
    done, _ = run_all(study)
    ratios = {
        role: {run.spec.step_ratio for run in done.runs if run.role == role}
        for role in ("proxy", "source", "target")
    }
    assert ratios == {"proxy": {1.0}, "source": {1 / 2}, "target": {1 / 4}}
    ends = {run.spec.step_ratio for run in done.runs if run.role in ("trunk", "branch")}
    assert ends == {1 / 2, 1 / 4}
    assert {run.spec.hyper for run in done.runs if run.role == "target"} == {
        replace(study.hyper.at(lr=best.lr, init_std=best.init_std)) for best in done.optima.values()
    }
    with pytest.raises(UserError, match=r"1 - beta1 must be below 1, not 0\.1 times 20"):
        plan(replace(study, source_steps=5), DATA, {})


def test_without_a_cooldown_a_source_trains_to_its_end():
    done, _ = run_all(override(ALONE, ["schedule.kind=cosine"]))
    assert {spec.last_step for spec in of_role(done, "source")} == {200}


def test_a_start_writes_down_every_parameter():
    study = replace(
        ALONE, methods=(Method("scratch"), Method("szp"), Method("szp", (("shrink", 1),)))
    )
    done, _ = run_all(study)
    starts = {spec.start.params for spec in of_role(done, "target")}
    assert starts == {
        (),
        (("blocks", "stack"), ("perturb", 1.0), ("shrink", 0.4)),
        (("blocks", "stack"), ("perturb", 1.0), ("shrink", 1.0)),
    }
    for spec in of_role(done, "target"):
        assert run_spec_from_json(to_json(spec)) == spec
        assert all(isinstance(value, float | str) for _, value in spec.start.params)


def test_a_generation_is_one_stack_and_others_are_cut_by_width():
    done, _ = run_all(replace(STUDY, stack_width=256, seeds=(0, 1, 2)))
    proxies = [len(s.runs) for s in done.stacks if s.runs[0].role == "proxy"]
    assert proxies == [15, 15, 15, 15, 3] + 3 * [15, 6]  # 21 trials, then 7; 5 at a time
    assert [len(s.runs) for s in done.stacks if s.runs[0].role == "source"] == [3]
    targets = [s.runs for s in done.stacks if s.runs[0].role == "target"]
    assert [len(runs) for runs in targets] == [2, 2, 2, 2, 1]
    assert [run.spec.seed for runs in targets for run in runs] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_generation_whose_outcomes_are_waited_for_is_cut_for_all_processes():
    """By a width that is stated, and not where trials are pruned against each other."""
    searched = replace(ALONE, sampler="trust", trials=6, generation=6)
    sizes = [
        [len(stack.runs) for stack in plan(study, DATA, {}).stacks]
        for study in (
            searched,
            replace(searched, stack_width=3 * ALONE.model.width),
            replace(searched, stack_width=3 * ALONE.model.width, rungs=(Rung(0.5, 0.5),)),
        )
    ]
    assert sizes == [[12], [3, 3, 3, 3], [12]]


def test_runs_whose_new_units_have_other_rates_are_no_stack():
    """The rates of a stack's hooks are of all its members."""
    methods = (*ALONE.methods[:2], replace(ALONE.methods[1], new_rate=2.0))
    done, _ = run_all(replace(ALONE, methods=methods, stack_width=4096))
    targets = [stack.runs for stack in done.stacks if stack.runs[0].role == "target"]
    rates = [{run.spec.start.new_rate for run in runs} for runs in targets]
    assert sorted(map(sorted, rates)) == [[1.0], [2.0]]


def test_a_model_wider_than_a_stack_trains_alone():
    done, _ = run_all(replace(ALONE, stack_width=1))
    assert {len(s.runs) for s in done.stacks if s.runs[0].role != "proxy"} == {1}


def test_rungs_keep_a_share_of_the_generation():
    study = replace(ALONE, generation=6, rungs=(Rung(0.25, 0.5), Rung(0.5, 0.2)))
    stacks = plan(study, DATA, {}).stacks
    assert [stack.rungs for stack in stacks] == [((25, 3), (50, 1))] * 3 + [((25, 2), (50, 1))]
    assert stacks[0].trials == (0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5)
    keys = {stack.key for stack in stacks}
    assert len(keys) == 4
    without = plan(replace(study, rungs=()), DATA, {}).stacks
    assert [stack.runs for stack in without] == [stack.runs for stack in stacks]
    assert keys.isdisjoint(stack.key for stack in without)


def test_rungs_are_for_proxies():
    done, _ = run_all(replace(ALONE, rungs=(Rung(0.5, 0.5),)))
    assert {stack.rungs for stack in done.stacks if stack.runs[0].role != "proxy"} == {()}


def test_a_stack_is_of_one_shape():
    one, two = (plan(STUDY, DATA, {}).stacks[i].runs[0] for i in (0, -1))
    with pytest.raises(AssertionError):
        PlannedStack((one, two))


def test_trials_are_rows_of_the_trials_table():
    done, finished = run_all(STUDY)
    for row in done.trials:
        assert list(row) == TRIAL_SCHEMA.names
    assert len(done.trials) == 7 * 3 + 3 * 7
    proxies = [run.spec.run_id for run in done.runs if run.role == "proxy"]
    assert sum(row["flops"] for row in done.trials) == sum(finished[i]["flops"] for i in proxies)
    assert {row["state"] for row in done.trials} == {"complete", "diverged"}
    assert {row["state"] for row in plan(STUDY, DATA, {}).trials} == {"waiting"}


def test_a_method_is_skipped_where_it_cannot_grow_if_it_can_elsewhere():
    done, _ = run_all(replace(ALONE, ladder=LADDER, methods=METHODS))
    skipped = {(str(skip.step), skip.method.name) for skip in done.skipped}
    assert skipped == {
        ("w64-d2 to w128-d2", "stack"),
        ("w32-d2 to w128-d2", "stack"),
        ("w64-d2 to w64-d4", "hypercloning"),
    }
    assert all("only" in skip.reason for skip in done.skipped)
    sources = {(s.model.width, s.seed) for s in of_role(done, "source")}
    assert sources == {(64, 0), (64, 1), (32, 0), (32, 1)}


def test_every_grown_target_has_scratch_on_its_text():
    """What papers are checked for, studies have by how they are made: scratch is their first."""
    runs = run_all(STUDY)[0].runs
    targets = [run.spec for run in runs if run.role == "target"]
    grown = [spec for spec in targets if spec.start.method != "scratch"]
    scratch = {(spec.model, spec.data, spec.seed) for spec in targets if spec not in grown}
    assert grown
    assert {(spec.model, spec.data, spec.seed) for spec in grown} <= scratch
    with pytest.raises(UserError, match="methods must begin with 'scratch'"):
        replace(STUDY, methods=STUDY.methods[1:])


def test_a_source_that_nothing_grows_from_is_not_trained():
    done, _ = run_all(replace(ALONE, methods=(Method("scratch"),)))
    assert of_role(done, "source") == []
    assert len(of_role(done, "target")) == 2


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("methods=scratch,stack", "method 'stack' grows depth only"),
        ("ladder=32:2:48:2", "method 'hypercloning' cannot grow this source"),
        ("methods=scratch,spz", "unknown method 'spz'; did you mean 'szp'?"),
        ("methods=scratch,szp:shirnk=0.2", "did you mean 'shrink'?"),
        ("methods=scratch,szp:shrink=lots", "shrink of method 'szp' must be a finite number"),
        ("parametrizations=mup,mpu", "unknown parametrization 'mpu'; did you mean 'mup'?"),
    ],
)
def test_what_no_run_can_have_is_refused_before_anything_trains(assignment, message):
    with pytest.raises(UserError) as error:
        plan(override(STUDY, [assignment]), DATA, {})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_sweep_without_an_optimum_is_a_result():
    def row(spec):
        status = "diverged" if spec.parametrization == "mup" else "finished"
        return {"status": status, "final_val_loss": 2.0, "flops": 1.0}

    done, _ = run_all(STUDY, row=row)
    assert set(done.optima) == {"sp-w32-d2", "sp-w64-d2"}
    assert {run.role for run in done.runs} == {"proxy"}
    assert not done.provisional
    assert [skip.method for skip in done.skipped] == list(STUDY.methods)
    assert "mup-w32-d2" in done.skipped[0].reason


# --- what becomes of optimizer and schedule ------------------------------------------------------


def targets_of(*methods: Method, **changes: object):
    study = replace(STUDY, seeds=(0,), methods=(Method("scratch"), *methods), **changes)
    done, _ = run_all(study)
    runs = {run.spec.run_id: run.spec for run in done.runs}
    targets = [run.spec for run in done.runs if run.role == "target"]
    return targets, runs


@pytest.mark.parametrize(
    ("policy", "first_step", "rewarm_steps"),
    [
        (Method("szp"), 0, 0),
        (Method("szp", schedule="continue"), 1.0, 0),
        (Method("szp", schedule="reposition", rho=2.0), 0.5, 0),
        (Method("szp", schedule="reposition", rho=2.0, rewarm=0.1), 0.5, 0.1),
        (Method("szp", schedule="rewarm", rewarm=0.1), 1.0, 0.1),
    ],
)
def test_a_target_takes_up_its_schedule_where_the_policy_says(policy, first_step, rewarm_steps):
    targets, runs = targets_of(policy)
    target = next(spec for spec in targets if spec.start.method == "szp")
    source = runs[target.start.source_run_id]
    assert target.first_step == round(first_step * source.last_step)
    assert target.train_steps == STUDY.target_steps  # what it trains is what scratch trains
    assert target.rewarm_steps == round(rewarm_steps * STUDY.target_steps)
    scratch = next(spec for spec in targets if spec.start.method == "scratch")
    decays = [s.steps - cooldown_start(s.schedule, s.steps) for s in (target, scratch)]
    assert decays[0] == decays[1]
    assert target.first_batch == 0  # the batches of its seed, like every other method


def test_what_the_policy_says_of_the_optimizer_is_in_the_start():
    targets, _ = targets_of(Method("szp", noise=0.1), Method("szp"))
    assert [spec.start.noise for spec in targets if spec.start.method == "szp"] == [0.1, 0.0]


def test_a_method_that_carries_no_moments_cannot_be_asked_to():
    methods = (Method("scratch"), Method("szp", optimizer="carry"))
    with pytest.raises(UserError, match="'szp' does not carry the optimizer's state"):
        plan(replace(STUDY, methods=methods), DATA, {})


def test_stages_are_grown_and_trained_one_after_the_other(monkeypatch):
    """In stages through depth 3: a source, a stage grown from it, the target grown from that."""

    def stages(small, big, params):
        return (replace(small, depth=3), big)

    whole = method("stack")
    staged = replace(whole, stages=stages, supports=lambda small, big: None)
    monkeypatch.setattr(
        "mugrow.sweeps.plan.growth_method", lambda name: staged if name == "stack" else method(name)
    )
    study = replace(STUDY, seeds=(0,), ladder=(Step(32, 2, 32, 4),), methods=METHODS[:1])
    done, _ = run_all(replace(study, methods=(METHODS[0], Method("stack"))))
    runs = {run.spec.run_id: run for run in done.runs}
    target = next(r.spec for r in done.runs if r.role == "target" and r.spec.start.source_run_id)
    stage = runs[target.start.source_run_id]
    source = runs[stage.spec.start.source_run_id]
    assert [stage.role, source.role] == ["source", "source"]
    assert [source.spec.model.depth, stage.spec.model.depth, target.model.depth] == [2, 3, 4]
    assert len({source.spec.data_seed, stage.spec.data_seed, target.data_seed}) == 3


def swept_study():
    methods = (Method("scratch", sweep=True), Method("szp", sweep=True), Method("hypercloning"))
    return replace(STUDY, methods=methods, target_log2_lr=(-1.0, 0.0, 1.0))


def test_swept_targets_differ_from_the_target_in_their_rate_alone():
    done, finished = run_all(swept_study())
    best = done.optima["mup-w32-d2"]
    rows = [row for row in done.trials if " to " in row["sweep"] or "w128" in row["sweep"]]
    assert [row["sweep"] for row in rows] == ["scratch-w128-d2"] * 3 + ["szp-w64-d2 to w128-d2"] * 3
    runs = {run.spec.run_id: run for run in done.runs}
    for row, away in zip(rows, [-1, 0, 1] * 2, strict=True):
        assert row["lr"] == 2 ** (best.log2_lr + away)
        assert (row["width"], row["depth"], row["state"]) == (128, 2, "complete")
        for run_id in row["run_ids"]:
            run = runs[run_id]
            target = replace(run.spec, hyper=replace(run.spec.hyper, lr=best.lr))
            assert (run.role, runs[target.run_id].role) == ("proxy" if away else "target", "target")
            if target.start.source_run_id:
                assert runs[target.start.source_run_id].spec.hyper.lr == best.lr
    assert all(row["state"] != "waiting" for row in rows)
    assert set(finished) == set(runs)


def test_swept_targets_are_priced_before_their_optimum_is_known():
    first, (last, _) = plan(swept_study(), DATA, {}), run_all(swept_study())
    assert sizes(first.stacks + first.provisional) == sizes(last.stacks)


def test_a_target_may_be_smaller_only_for_a_method_that_shrinks(monkeypatch):
    ladder = (Step(64, 2, 32, 2),)
    with pytest.raises(UserError, match="smaller than its source: w64-d2 to w32-d2"):
        plan(replace(STUDY, ladder=ladder), DATA, {})
    shrinks = replace(method("szp"), shrinks=True, supports=lambda small, big: None)
    monkeypatch.setattr(
        "mugrow.sweeps.plan.growth_method", lambda name: shrinks if name == "szp" else method(name)
    )
    methods = (Method("scratch"), Method("szp"))
    done, _ = run_all(replace(STUDY, seeds=(0,), ladder=ladder, methods=methods))
    widths = {run.role: run.spec.model.width for run in done.runs if run.role != "proxy"}
    assert widths == {"source": 64, "target": 32}


def test_what_acts_during_training_trains_in_stacks_of_its_own(monkeypatch):
    acts = replace(method("szp"), during=lambda small, big, steps, **params: None)
    monkeypatch.setattr(
        "mugrow.sweeps.plan.growth_method", lambda name: acts if name == "szp" else method(name)
    )
    methods = (Method("scratch"), Method("szp"), Method("szp", (("shrink", 0.2),)))
    done, _ = run_all(replace(STUDY, seeds=(0, 1), methods=methods))
    for stack in done.stacks:
        starts = {(run.spec.start.method, run.spec.start.params) for run in stack.runs}
        assert len(starts) == 1 or "szp" not in {name for name, _ in starts}
