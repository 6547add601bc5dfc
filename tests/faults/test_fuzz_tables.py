"""Valid tables of every dialect are read right, and damaged ones end in one line."""

import math
from pathlib import Path

import fuzz_tables
import pytest


@pytest.mark.parametrize("dialect", fuzz_tables.WRITERS)
def test_valid_tables_give_their_truth(dialect: str, tmp_path: Path) -> None:
    made = next(one for one in map(fuzz_tables.make, range(1000)) if one.dialect == dialect)
    assert fuzz_tables.judge(made, tmp_path) == "right"


def test_damaged_tables_end_in_one_line(tmp_path: Path) -> None:
    for index in range(25):
        folder = tmp_path / str(index)
        damaged = fuzz_tables.damaged(fuzz_tables.make(index), index)
        assert fuzz_tables.survives(damaged, folder) == "", index


def test_a_wrong_truth_is_noticed(tmp_path: Path) -> None:
    made = fuzz_tables.make(0)
    for wrong in (1.5, 0.5, math.nan):
        false = dict.fromkeys(made.truth, wrong)
        told = fuzz_tables.Made(made.dialect, made.files, made.words, made.baseline, false)
        if any(not math.isclose(one, wrong, rel_tol=0.05) for one in made.truth.values()):
            assert fuzz_tables.judge(told, tmp_path).startswith("wrong")


@pytest.mark.slow
def test_many_tables(tmp_path: Path) -> None:
    """At least 95 of 100 give their truth, and the rest are refused."""
    verdicts = []
    for index in range(1000, 3000):
        made = fuzz_tables.make(index)
        verdicts.append(fuzz_tables.judge(made, tmp_path / str(index)))
        damaged = fuzz_tables.damaged(made, index)
        assert fuzz_tables.survives(damaged, tmp_path / f"damaged-{index}") == "", index
    assert not [one for one in verdicts if one.startswith("wrong")]
    assert verdicts.count("right") >= 0.95 * len(verdicts)
