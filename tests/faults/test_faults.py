"""A short run of the scripts of this folder; the long ones are marked slow. The short run of
``kills.py`` is in ``tests/sweeps/test_execute.py``, where a study is killed three times.
"""

import pytest
from commands import COMMANDS, wrong
from flips import flips
from kills import kills

QUICK = ("figure", "grow", "new method", "transfer --figures")


@pytest.mark.integration
def test_no_flipped_bit_changes_a_number(finished):
    outcomes = flips(finished.folder, 96)
    assert len(outcomes) == 12
    assert not {kind for kind, counts in outcomes.items() if counts["changed"]}
    assert sum(counts["refused"] for counts in outcomes.values()) > 90


@pytest.mark.integration
def test_what_cannot_be_written_is_named(finished):
    assert not [*wrong(finished.folder, QUICK)]


@pytest.mark.slow
def test_what_cannot_be_written_is_named_by_every_command(finished):
    assert not [*wrong(finished.folder, COMMANDS)]


@pytest.mark.slow
def test_no_flipped_bit_changes_a_number_in_two_thousand(finished):
    outcomes = flips(finished.folder, 2400, seed=1)
    assert not {kind for kind, counts in outcomes.items() if counts["changed"]}


@pytest.mark.slow
def test_a_study_killed_a_hundred_times_ends_with_the_same_bits():
    assert kills(100)["kills"] == 100
