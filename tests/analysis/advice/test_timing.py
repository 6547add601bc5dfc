"""G_stack's formula against the values its paper gives."""

import pytest

from mugrow.analysis.advice.timing import source_tokens


@pytest.mark.parametrize(("params", "tokens", "billions"), [(7e9, 2e12, 11.11), (8e9, 15e12, 6.58)])
def test_published_examples(params, tokens, billions):
    assert source_tokens(params, tokens) / 1e9 == pytest.approx(billions, abs=5e-3)


def test_more_target_compute_asks_for_fewer_source_tokens():
    assert source_tokens(7e9, 4e12) < source_tokens(7e9, 2e12)
