import pytest
import torch

from mugrow.bench.memory import allocated, memory


def test_what_is_kept_and_the_most_at_once_are_told_apart():
    kept = []

    def work() -> None:
        first = torch.ones(1000)
        second = torch.ones(2000)
        del first
        third = second + 1  # 8,000 bytes beside the other 8,000
        kept.append(third)

    found = allocated(work)
    assert found.kept == 8000
    assert found.peak == pytest.approx(16000, abs=100)  # and the number 1
    assert allocated(kept.clear) == (-8000, 0)


@pytest.mark.parametrize("members", [1, 2])
def test_adamw_keeps_16_bytes_a_parameter_and_a_step_has_at_most_20(members):
    """Of a model so much larger than its batch that activations do not count: 4 bytes each of
    weight, two moments and gradient, and what a backward pass has of a tensor at a time."""
    (row,) = memory({512: [members]}, depth=2, context=8, sequences=1)["rows"]
    assert 16 <= row["kept_per_parameter"] < 16.1
    assert row["step_per_parameter"] < 20
    assert row["step_mb"] == pytest.approx(row["step_per_parameter"] * row["parameters"] / 1e6)
