"""The order of a run's rows: what is a resume, a reversed file, a second run, and no order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mugrow.analysis.read.order import FEW, Disorder, Order, in_order


def order(*x: float, loss: list[float] | None = None, by_x: bool = False) -> Order | Disorder:
    given = np.array(x, dtype=float)
    return in_order(given, 0.001 * np.arange(len(x)) - given if loss is None else np.array(loss),
                    by_x)  # fmt: skip


def kept(*x: float, **options: bool) -> list[float]:
    found = order(*x, **options)
    assert isinstance(found, Order), found
    return [x[row] for row in found.rows]


def test_rows_that_rise_stay() -> None:
    assert kept(1, 2, 5) == [1, 2, 5]
    assert kept() == []
    assert kept(7) == [7]


def test_rows_that_fall_throughout_are_reversed() -> None:
    found = order(5, 2, 1)
    assert isinstance(found, Order)
    assert found.newest_first
    assert found.rows.tolist() == [2, 1, 0]


def test_later_rows_replace_what_they_rewind_over() -> None:
    found = order(1, 2, 3, 4, 2, 3)  # the abandoned branch went further
    assert isinstance(found, Order)
    assert found.rows.tolist() == [0, 4, 5]
    (resume,) = found.resumes
    assert (resume.row, resume.x, resume.end, resume.dropped) == (4, 2, 4, 3)


def test_resumes_of_a_reversed_file() -> None:
    found = order(*[1, 2, 3, 2, 3, 4][::-1])
    assert isinstance(found, Order)
    assert found.newest_first
    assert found.rows.tolist() == [5, 2, 1, 0]


@pytest.mark.parametrize("x", [(1, 2, 3, 1, 2), (2, 3, 1, 2), (1, 2, 1, 2, 1, 2, 1, 2)])
def test_a_fall_to_the_first_is_another_run(x: tuple[float, ...]) -> None:
    found = order(*x)
    assert isinstance(found, Disorder)
    assert found.several


def test_a_counter_that_starts_again_just_above_the_first_is_no_resume() -> None:
    x = [*range(10, 210, 10), *range(15, 215, 10)]
    goes_on = [3 + 5 / row for row in range(1, len(x) + 1)]
    found = order(*x, loss=goes_on)
    assert isinstance(found, Disorder)
    assert found.several
    assert found.x == 15
    rewound = order(*x, loss=[3 + 5 / at for at in x])
    assert isinstance(rewound, Order)
    assert len(rewound.resumes) == 1


@pytest.mark.parametrize("x", [(1, 5, 4, 3, 6, 7, 8), (1, 2, 3, 2)])
def test_a_fall_without_a_rise_behind_it_is_no_order(x: tuple[float, ...]) -> None:
    found = order(*x)
    assert isinstance(found, Disorder)
    assert not found.several
    assert kept(*x, by_x=True) == sorted(set(x))


def test_many_falls_are_no_order() -> None:
    x = [place + 2 * (place % 2) for place in range(1, 2 * FEW + 6)]
    found = order(*x)
    assert isinstance(found, Disorder)
    assert "falls" in found.reason


def test_of_rows_at_one_x_the_later_counts() -> None:
    found = order(1, 2, 2, 3, 4, 5, loss=[9, 8, 7, 6, 5, 4])
    assert isinstance(found, Order)
    assert found.rows.tolist() == [0, 2, 3, 4, 5]
    assert found.twice == (2.0,)
    same = order(1, 2, 2, 3, loss=[9, 8, 8, 6])
    assert isinstance(same, Order)
    assert (same.repeats, same.twice) == (1, ())


def test_most_x_twice_is_two_runs() -> None:
    found = order(1, 1, 2, 2, 3, 3, loss=[9, 8, 7, 6, 5, 4])
    assert isinstance(found, Disorder)
    assert found.several


@given(st.lists(st.integers(0, 30), max_size=30), st.booleans())
def test_what_is_kept_rises_and_says_so(x: list[int], by_x: bool) -> None:
    found = order(*x, by_x=by_x)
    if isinstance(found, Disorder):
        assert 0 <= found.row < len(x)
        assert found.x == x[found.row]
        return
    values = np.array(x, dtype=float)[found.rows]
    assert (np.diff(values) > 0).all()
    if x and not by_x:
        assert values[-1] == (x[0] if found.newest_first else x[-1])
