import json
import sys

import numpy as np
import pytest

from mugrow.analysis.laws import benchmark, get_form
from mugrow.analysis.laws.fit import fit
from mugrow.sweeps.cli import main


def test_the_published_starts_are_4500() -> None:
    begin = benchmark.published_starts()
    assert begin.shape == (4500, 5)
    assert len(np.unique(begin, axis=0)) == 4500


@pytest.mark.parametrize("gradient", [True, False])
def test_the_reference_does_the_same_work(gradient: bool) -> None:
    points = benchmark.synthetic_points(60)
    result = fit(get_form("chinchilla"), points)
    begin = [np.log(result.params[name]) for name in ("E", "A", "B")]
    begin += [result.params["alpha"], result.params["beta"] + 0.01]
    theirs = benchmark.reference(points, np.array(begin), np.ones(60), gradient=gradient)
    assert result.objective is not None
    assert result.objective <= theirs.fun * benchmark.DELTA**2 * (1 + 1e-9)
    assert theirs.fun * benchmark.DELTA**2 == pytest.approx(result.objective, rel=1e-2)


def test_timings_are_scaled_to_all_items() -> None:
    rows = benchmark.fit_speed(starts=40, resamples=40, share=20, repeats=1).rows
    assert [row.items_timed for row in rows] == [40, 2, 2, 40, 2, 2]
    for row in rows:
        assert row.items == 40
        assert row.per_second == pytest.approx(40 / row.seconds)
    assert rows[0].times_mugrow == rows[3].times_mugrow == 1


def test_the_command_prints_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = benchmark.fit_speed
    monkeypatch.setattr(benchmark, "POINTS", benchmark.Path("nowhere.csv"))
    monkeypatch.setattr(
        benchmark, "fit_speed", lambda: small(starts=20, resamples=20, share=20, repeats=1)
    )
    monkeypatch.setattr(sys, "argv", ["mugrow", "bench", "fit", "--json"])
    main()
    shown = json.loads(capsys.readouterr().out)
    assert shown["points"] == "synthetic, for there is no nowhere.csv"
    assert {row["program"] for row in shown["rows"]} == {
        "mugrow",
        "scipy, exact gradient",
        "scipy, differences",
    }
