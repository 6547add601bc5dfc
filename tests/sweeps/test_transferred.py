import math
from dataclasses import replace

import pytest
from fake_runs import ALONE, DATA, ended, loss
from hypothesis import given
from hypothesis import strategies as st

from mugrow.sweeps.search import replay, searches
from mugrow.sweeps.transferred import transferred


def trials_of(study=ALONE, row=ended):
    search = searches(study, DATA)[0]
    specs = [spec for trial in replay(search, {}).trials for spec in trial.specs]
    return replay(search, {spec.run_id: row(spec) for spec in specs}).trials


def test_the_vertex_of_the_best_initial_scale_is_transferred():
    found = transferred(trials_of())
    assert found.used == "vertex"
    assert found.edge is None
    assert found.init_std == 0.04
    assert found.log2_lr == round(-7.2 * 64) / 64
    assert found.lr == 2**found.log2_lr
    assert found.loss == pytest.approx(2.05 + 0.03 * 0.2**2)


def test_without_a_vertex_the_best_rate_tested():
    study = replace(ALONE, log2_lr=(-8.3, -7.3, -6.3))
    found = transferred(trials_of(study))
    assert (found.used, found.log2_lr, found.edge) == ("argmin", -7.3, None)


@pytest.mark.parametrize(("log2_lr", "edge"), [((-12.0, -11.0, -10.0), "high"), ((-6, -5), "low")])
def test_an_optimum_at_the_edge_is_flagged(log2_lr, edge):
    study = replace(ALONE, log2_lr=tuple(map(float, log2_lr)))
    assert transferred(trials_of(study)).edge == edge


def test_rates_that_diverged_bracket_the_optimum():
    def row(spec):
        if math.log2(spec.hyper.lr) > -7.5:
            return {"status": "diverged", "final_val_loss": None, "flops": 1.0}
        return ended(spec)

    found = transferred(trials_of(row=row))
    assert (found.edge, found.used, found.log2_lr) == (None, "argmin", -8.0)


def test_pruned_trials_are_no_candidates():
    def row(spec):
        if spec.hyper.init_std == 0.04 or math.log2(spec.hyper.lr) == -7.0:
            return {"status": "pruned", "final_val_loss": 0.1, "flops": 1.0}
        return ended(spec)

    found = transferred(trials_of(row=row))
    assert found.init_std != 0.04
    assert found.loss > 2


def test_no_trial_complete_is_no_optimum():
    row = {"status": "diverged", "final_val_loss": None, "flops": 1.0}
    assert transferred(trials_of(row=lambda spec: row)) is None


@given(st.randoms(use_true_random=False))
def test_the_order_of_trials_does_not_matter(random):
    trials = list(TRIALS)
    random.shuffle(trials)
    assert transferred(trials) == transferred(TRIALS)


TRIALS = trials_of()


def test_the_fake_bowl_is_where_these_tests_think():
    best = min((loss(spec), spec.hyper.lr) for trial in TRIALS for spec in trial.specs)
    assert best[1] == 2**-7
