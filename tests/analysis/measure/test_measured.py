"""What claims are measured by, on tables whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from mugrow.analysis.measure.measured import arm, common_seeds, difference, finals, over_seeds
from mugrow.bench.spec import UserError

RUNS = pd.DataFrame(
    {
        "arm": ["a", "a", "a", "b"],
        "seed": [1, 0, 2, 0],
        "status": ["finished", "finished", "diverged", "finished"],
        "final_val_loss": [2.0, 1.0, np.nan, 5.0],
    }
)


def test_an_arm_is_its_finished_runs():
    assert list(arm(RUNS, "a")["seed"]) == [0, 1]
    assert finals(RUNS, "a") == {0: 1.0, 1: 2.0}
    with pytest.raises(UserError, match="arm 'c' has no finished run"):
        finals(RUNS, "c")
    with pytest.raises(AssertionError):
        finals(pd.concat([RUNS, RUNS]), "a")


def test_a_difference_is_paired_by_seed():
    one, other = {0: 1.0, 1: 5.0, 2: 9.0, 3: 0.0}, {0: 0.5, 1: 4.4, 2: 8.6, 7: 1.0}
    found = difference(one, other)
    assert found.value == pytest.approx(0.5)
    # sd of (0.5, 0.6, 0.4) is 0.1, and Student's t(2) is 4.303
    assert found.hi - found.value == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)
    assert found.n == 3
    assert np.isnan(difference({0: 1.0}, {0: 0.5}).lo)
    assert difference({0: 1.0}, {1: 0.5}).n == 0


def test_the_jackknife_of_a_mean_is_students_interval():
    losses = {0: 1.0, 1: 2.0, 2: 4.0}
    mean = over_seeds([2, 0, 1], lambda seeds: float(np.mean([losses[seed] for seed in seeds])))
    assert mean.value == pytest.approx(7 / 3)
    assert mean == pytest.approx(difference(losses, dict.fromkeys(losses, 0.0)))
    assert np.isnan(over_seeds([0], lambda seeds: 1.0).lo)
    assert over_seeds([], lambda seeds: 1.0).n == 0


def test_seeds_that_all_have():
    assert common_seeds([{0: 1.0, 1: 1.0}, {1: 2.0, 2: 1.0}]) == [1]
