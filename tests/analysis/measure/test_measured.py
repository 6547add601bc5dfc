"""What claims are measured by, on tables whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from mugrow.analysis.measure.measured import arm, finals, over_seeds
from mugrow.analysis.stats import student_interval
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
    with pytest.raises(UserError, match=r"'stakced' has no finished run; did you mean 'stacked'"):
        finals(RUNS.assign(arm="stacked"), "stakced")
    with pytest.raises(UserError, match="arm 'a' has two runs of seed 0"):
        finals(pd.concat([RUNS, RUNS]), "a")


def test_the_jackknife_of_a_mean_is_students_interval():
    losses = {0: 1.0, 1: 2.0, 2: 4.0}
    mean = over_seeds([2, 0, 1], lambda seeds: float(np.mean([losses[seed] for seed in seeds])))
    assert mean.value == pytest.approx(7 / 3)
    assert mean == pytest.approx(student_interval([1.0, 2.0, 4.0]))
    assert np.isnan(over_seeds([0], lambda seeds: 1.0).lo)
    assert over_seeds([], lambda seeds: 1.0).n == 0
