"""``mugrow importance`` on the committed search, and on a study without one."""

import json
from pathlib import Path

from mugrow.analysis.measure.importance import importance
from mugrow.analysis.read.store import load

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def test_it_prints_what_each_multiplier_is_worth(mugrow):
    folder = REFERENCE / "modules"
    printed = mugrow("importance", folder).out
    lines = printed.splitlines()
    found = importance(load(folder).trials.query("sweep == 'completedp-w32-d2'"))
    assert [line.split()[0] for line in lines[1 : 1 + len(found)]] == [one.name for one in found]
    assert f"{found[0].worth:.4f} [{found[0].low:.4f}, {found[0].high:.4f}]" in lines[1]
    assert "Tuned by module (completedp-w32-d2) the best of 200 trials" in printed
    numbers = json.loads(mugrow("importance", folder, "--json").out)
    assert numbers["worths"][0]["worth"] == found[0].worth
    assert {one["sweep"] for one in numbers["beside"]} == {
        "completedp-w32-d2-shared",
        "completedp-w32-d2-two",
    }


def test_a_study_without_multipliers_is_one_line(mugrow):
    ended = mugrow("importance", REFERENCE / "transfer-depth")
    assert ended.code == 2
    assert "has no finished trial with multipliers of modules; search them with" in ended.err
