"""What a study's grown arms are compared with: lines at equal charged compute."""

import math
from dataclasses import replace

import pytest
from fake_runs import DATA, STUDY, ended, run_all

from mugrow.bench.flops import per_token
from mugrow.bench.spec import UserError
from mugrow.sweeps.baselines import charge
from mugrow.sweeps.execute import of_study
from mugrow.sweeps.plan import plan
from mugrow.sweeps.price import Machine, bill
from mugrow.sweeps.study import Method, Shape, Step

BUDGETS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
ALONE = replace(
    STUDY, parametrizations=("mup",), proxy_widths=(32,), budgets=BUDGETS, final_val_tokens=4096
)


def by_role(done, role):
    return [run.spec for run in done.runs if run.role == role]


def lineage(spec, runs):
    """A run and all it was grown from or goes on from, the eldest first."""
    source = spec.start.source_run_id
    return [*(lineage(runs[source], runs) if source else []), spec]


def flops(spec, runs):
    steps = [(one, one.train_steps) for one in lineage(spec, runs)]
    return sum(n * one.batch_tokens * per_token(one.model) for one, n in steps)


def lines_of(done):
    """Of each branch: its shape, the role of what its line begins with, its horizon, its FLOPs."""
    runs = {run.spec.run_id: run.spec for run in done.runs}
    roles = {run.spec.run_id: run.role for run in done.runs}
    return sorted(
        (
            spec.model.width,
            roles[lineage(spec, runs)[0].run_id],
            spec.steps,
            flops(spec, runs),
            spec.seed,
        )
        for spec in by_role(done, "branch")
    )


def test_scratch_and_the_source_reach_what_the_arms_have_paid():
    done, _ = run_all(ALONE)
    runs = {run.spec.run_id: run.spec for run in done.runs}
    targets = by_role(done, "target")
    scratch = next(spec for spec in targets if spec.start.method == "scratch")
    paid = {flops(spec, runs) for spec in targets if spec.start.method != "scratch"}
    assert len(paid) == 1  # szp and hypercloning from one source
    (paid,) = paid
    assert 1 < paid / flops(scratch, runs) < 1.4
    found = lines_of(done)
    assert [(width, role, steps, seed) for width, role, steps, _, seed in found] == [
        *[(64, "source", 200, seed) for seed in (0, 1)],
        *[(64, "source", found[2][2], seed) for seed in (0, 1)],
        *[(128, "trunk", 140, seed) for seed in (0, 1)],
        *[(128, "trunk", 280, seed) for seed in (0, 1)],
    ]
    source_step = 16 * 32 * per_token(by_role(done, "source")[0].model)
    assert abs(found[2][3] - paid) <= source_step / 2
    assert {run.spec.data.final_val_tokens for run in done.runs if run.role != "trunk"} == {0, 4096}
    for run in done.runs:
        expected = 0 if run.role in ("proxy", "trunk") else 4096
        assert run.spec.data.final_val_tokens == expected


def test_budgets_go_on_until_they_bracket_the_arms():
    def row(better):
        def of(spec):
            found = ended(spec)
            grown = spec.start.method in ("szp", "hypercloning")
            steps = spec.steps / ALONE.target_steps
            return found | {"final_val_loss": 2.0 - (better if grown else 0.1 * steps)}

        return of

    for better, horizons in [
        (0.12, [140, 280]),
        (0.25, [140, 280, 400, 560]),
        (0.9, [140, 280, 400, 560, 800]),
        (0.06, [100, 140, 280]),
    ]:
        done, _ = run_all(ALONE, row=row(better))
        found = {steps for width, _, steps, _, _ in lines_of(done) if width == 128}
        assert sorted(found) == horizons, better


def test_a_budget_added_later_changes_no_stack():
    first, (last, finished) = plan(ALONE, DATA, {}), run_all(ALONE)
    keys = {stack.key for stack in last.stacks}
    some = {i: row for i, row in finished.items() if row["final_val_loss"] is not None}
    assert {stack.key for stack in plan(ALONE, DATA, some).stacks} <= keys
    assert len(first.provisional) + len(first.stacks) == len(last.stacks)


def test_what_several_targets_need_of_a_source_is_one_line():
    study = replace(
        ALONE,
        seeds=(0,),
        ladder=(Step(64, 2, 128, 2), Step(64, 2, 64, 4), Step(128, 2, 256, 2)),
        methods=(Method("scratch"), Method("szp"), Method("stack")),
        front=(Shape(64, 2), Shape(32, 2)),
    )
    done, _ = run_all(study)
    found = lines_of(done)
    budgets = [steps for width, role, steps, _, _ in found if (width, role) == (64, "source")]
    assert budgets[0] == 200
    assert len(budgets) == len(set(budgets)) == 4  # and at the charges of all three targets
    front = [steps for width, role, steps, _, _ in found if width == 32]
    assert len(front) == 4
    ids = [run.spec.run_id for run in done.runs]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    "changes", [{"budgets": ()}, {"methods": (Method("scratch"),)}, {"ladder": ()}]
)
def test_where_nothing_is_grown_nothing_is_compared(changes):
    done, _ = run_all(replace(ALONE, **changes))
    assert not by_role(done, "branch") + by_role(done, "trunk")


def test_a_charge_counts_what_the_method_learns_on():
    done, _ = run_all(replace(ALONE, seeds=(0,), methods=(Method("scratch"), Method("ligo"))))
    ligo = next(spec for spec in by_role(done, "target") if spec.start.method == "ligo")
    learning = dict(ligo.start.params)["steps"]
    step = ligo.batch_tokens * per_token(ligo.model)
    assert charge([ligo]) == (ligo.train_steps + learning) * step


# --- seeds until decided ------------------------------------------------------------------------


def losses(arms):
    """Rows whose final loss is 2, a little noise, and what ``arms`` say of a method at a seed."""

    def row(spec):
        noise = 0.001 * math.sin(7.0 * spec.seed + spec.model.width + spec.steps)
        better = arms.get(spec.start.method, lambda seed: 0.0)(spec.seed)
        return ended(spec) | {"status": "finished", "final_val_loss": 2.0 + noise - better}

    return row


def seeds_of(done):
    found = {}
    for spec in by_role(done, "target"):
        found.setdefault(spec.start.method, []).append(spec.seed)
    return {method: sorted(seeds) for method, seeds in found.items()}


UNTIL = replace(ALONE, seeds=(0, 1, 2), looks=(3, 5, 8))


@pytest.mark.integration
def test_seeds_are_added_for_the_arms_that_are_undecided():
    arms = {"szp": lambda seed: 0.1, "hypercloning": lambda seed: 0.05 * (-1) ** seed}
    done, _ = run_all(UNTIL, row=losses(arms))
    assert seeds_of(done) == {
        "scratch": [*range(8)], "szp": [0, 1, 2], "hypercloning": [*range(8)]
    }  # fmt: skip
    branches = {spec.seed for spec in by_role(done, "branch")}
    assert branches == {*range(8)}


@pytest.mark.integration
def test_a_look_that_decides_is_the_last():
    arms = {"szp": lambda seed: 0.1, "hypercloning": lambda seed: 0.1 if seed > 2 else 0.02 * seed}
    done, _ = run_all(UNTIL, row=losses(arms))
    assert seeds_of(done)["szp"] == [0, 1, 2]
    assert seeds_of(done)["hypercloning"] in ([*range(5)], [*range(8)])
    all_decided, _ = run_all(
        UNTIL, row=losses(dict.fromkeys(("szp", "hypercloning"), lambda _: 0.1))
    )
    assert {len(seeds) for seeds in seeds_of(all_decided).values()} == {3}


@pytest.mark.integration
def test_later_looks_change_no_stack_of_the_first():
    arms = {"hypercloning": lambda seed: 0.05 * (-1) ** seed}
    few, _ = run_all(replace(UNTIL, looks=()), row=losses(arms))
    many, _ = run_all(UNTIL, row=losses(arms))
    assert {stack.key for stack in few.stacks} <= {stack.key for stack in many.stacks}


def cost(stacks):
    return sum(
        run.spec.train_steps * run.spec.batch_tokens * per_token(run.spec.model)
        for stack in stacks
        for run in stack.runs
    )


@pytest.mark.parametrize("optimum_known", [False, True])
def test_the_most_that_looks_may_cost_is_priced_beforehand(optimum_known):
    """If no arm is decided before the last look, that is what is then run."""
    few = replace(UNTIL, budgets=(0.7, 1.0, 1.4), looks=(3, 4))
    arms = dict.fromkeys(("szp", "hypercloning"), lambda seed: 0.05 * (-1) ** seed)
    done, finished = run_all(few, row=losses(arms))
    known = finished if optimum_known else {}
    most = plan(few, DATA, known, most=True)
    assert cost((*most.stacks, *most.provisional)) == cost(done.stacks)
    every = plan(replace(few, budgets=BUDGETS), DATA, known, most=True)
    assert cost((*every.stacks, *every.provisional)) > 1.5 * cost(done.stacks)


def test_a_bill_has_the_least_and_the_most(tmp_path):
    least, most = [
        bill(of_study(study, DATA), tmp_path, Machine(1))
        for study in (UNTIL, replace(UNTIL, looks=(3,)))
    ]
    assert least.flops == most.flops < most.most_flops < least.most_flops
    nothing = bill(of_study(replace(UNTIL, looks=(), ladder=()), DATA), tmp_path, Machine(1))
    assert nothing.flops == nothing.most_flops


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"looks": (2, 5)}, "ascend from those of seeds, 3 and at least 2, unlike 2, 5"),
        ({"looks": (3, 3)}, "unlike 3, 3"),
        ({"budgets": ()}, "which need budgets"),
        (
            {"budgets": (1.0, 1e30)},
            r"budget 1e\+30 is a multiple of target_steps and must be at most",
        ),
        ({"ladder": ()}, "looks 3, 5, 8 are at grown arms, and the study has no ladder"),
        ({"methods": (Method("scratch"),)}, "looks 3, 5, 8 .* methods has scratch alone; name"),
        ({"front": (Shape(64, 2), Shape(64, 2))}, "front holds w64-d2 twice"),
        ({"against": "own sauce"}, "unknown comparison 'own sauce'; did you mean 'own source'"),
        ({"error_rate": 1.0}, "error_rate must be between 0 and 1, not 1.0"),
        ({"budgets": (0.5, 2.0)}, "must hold 1, unlike 0.5, 2.0"),
        ({"budgets": (1.0, 0.5)}, "must ascend from above 0, unlike 1.0, 0.5"),
        ({"budgets": (1.0, 1.0001)}, "budget 1.0001 of 200 target_steps is another's 200 steps"),
        ({"budgets": (0.001, 1.0)}, "budget 0.001 of 200 target_steps is no schedule"),
        ({"final_val_tokens": -1}, "final_val_tokens must be at least 0, not -1"),
        ({"front": (Shape(60, 2),)}, "width 60 is not a multiple of head_size 16"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        replace(UNTIL, **changes)
