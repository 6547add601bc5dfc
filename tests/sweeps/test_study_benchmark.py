"""What a study costs beside a process a run: which runs when, and what the whole would cost."""

import sys
from dataclasses import replace

import pandas as pd
import pytest

from mugrow.bench.spec import UserError, run_spec_from_json
from mugrow.sweeps import study_benchmark
from mugrow.sweeps.study_benchmark import StudyCost, _next, _whole, settings, study_cost

TABLE = "results/reference/quick/runs.parquet"


def cost(fraction, wall_s, alone_wall_s):
    return StudyCost(fraction, False, 5, wall_s, 2 * wall_s, alone_wall_s, 3 * alone_wall_s, 0, 0)


def test_the_whole_is_on_the_line_through_two_fractions():
    whole = _whole(cost(0.1, 10 + 1, 100 + 2), cost(0.3, 10 + 3, 100 + 6))
    assert whole.whole
    assert whole.fraction == 1
    assert whole.wall_s == pytest.approx(20)
    assert whole.alone_wall_s == pytest.approx(120)
    assert whole.ratio == pytest.approx(6)
    assert whole.ratio_by_cpu == pytest.approx(3 * 120 / (2 * 20))


def test_a_run_waits_for_its_source_and_the_longest_goes_first():
    rows = pd.read_parquet(TABLE, columns=["spec", "role"]).itertuples(index=False)
    waiting = {spec.run_id: (spec, role) for spec, role in (
        (run_spec_from_json(text), role) for text, role in rows)}  # fmt: skip
    first = _next(waiting, set())
    roles = [waiting[run_id][1] for run_id in first]
    assert {"proxy", "source"} <= set(roles)
    assert roles[-1] == "proxy"
    source = next(run_id for run_id in first if waiting[run_id][1] == "source")
    grown = {run_id for run_id, (spec, _) in waiting.items() if spec.start.source_run_id == source}
    assert grown
    assert not grown & set(first)
    assert grown <= set(_next(waiting, {source}))


def test_steps_are_a_fraction_of_the_studys():
    assert settings("quick", 0.5) == ["proxy_steps=120", "source_steps=240", "target_steps=360"]


@pytest.mark.parametrize("fractions", [(), (0.0,), (0.5, 1.5)])
def test_fractions_that_are_none_are_refused(fractions):
    with pytest.raises(UserError, match="--fractions"):
        study_cost("quick", fractions)


def test_seconds_are_those_of_processes_that_have_ended():
    busy = "import time; t = time.process_time()\nwhile time.process_time() < t + 0.2: pass"
    wall_s, cpu_s = study_benchmark._timed(
        lambda: study_benchmark._called([sys.executable, "-c", busy])
    )
    assert cpu_s >= 0.2
    assert wall_s > 0
    with pytest.raises(UserError, match="no such word"):
        study_benchmark._called([sys.executable, "-c", "raise SystemExit('no such word')"])


def test_two_fractions_are_measured_and_the_whole_is_arithmetic(monkeypatch):
    def measured(name, fraction, at_once):
        return replace(cost(fraction, 10 * fraction, 50 * fraction), runs=at_once)

    monkeypatch.setattr(study_benchmark, "_measured", measured)
    assert [one.fraction for one in study_cost("quick", (0.3, 0.1))] == [0.1, 0.3, 1.0]
    assert [one.fraction for one in study_cost("quick", (1.0,))] == [1.0]
