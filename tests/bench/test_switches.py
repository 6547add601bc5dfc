"""Settings of torch that a plug-in changes, at its import or its use, are put back."""

import pytest
import torch

from mugrow.bench.growth import REGISTRY
from mugrow.bench.guarded import own_generators
from mugrow.bench.spec import UserError
from mugrow.bench.switches import _told, kept_switches

CHANGES = {
    "dtype": "torch.set_default_dtype(torch.float64)",
    "device": "torch.set_default_device('meta')",
    "grad": "torch.set_grad_enabled(False)",
    "threads": "torch.set_num_threads(torch.get_num_threads() + 1)",
    "deterministic": "torch.set_deterministic_debug_mode(1)",
    "precision": "torch.set_float32_matmul_precision('medium')",
}
APART = [
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'",
    "torch.backends.mkldnn.fp32_precision = 'bf16'",
    "torch.backends.fp32_precision = 'tf32'",
]


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_changed_is_put_back(name, tmp_path):
    before = _told(torch)
    assert before.keys() == CHANGES.keys()
    with kept_switches():
        exec(CHANGES[name], {"torch": torch})
        assert _told(torch)[name] != before[name]
    assert _told(torch) == before
    with own_generators(torch.Generator().manual_seed(0)):
        exec(CHANGES[name], {"torch": torch})
    assert _told(torch) == before
    file = tmp_path / "method.py"
    file.write_text(f"import torch\n{CHANGES[name]}\nMETHOD = None\n")
    with pytest.raises(UserError, match="has no METHOD that is a GrowthMethod"):
        REGISTRY.from_file(file)
    assert _told(torch) == before


def test_what_others_had_set_before_stays():
    torch.set_default_dtype(torch.float64)
    try:
        with kept_switches():
            torch.set_default_dtype(torch.float32)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("first", [*APART, "pass"])
@pytest.mark.parametrize("second", [*APART, CHANGES["precision"]])
def test_products_told_apart_are_put_back(first, second):
    """Torch says no precision of all products then, and raises when it is asked for it; and a
    backend that was not told has what is told above it."""
    with kept_switches():
        exec(first, {"torch": torch})
        apart = _told(torch)
        with kept_switches():
            exec(second, {"torch": torch})
        assert _told(torch) == apart
    assert torch.get_float32_matmul_precision() == "highest"
    torch.backends.fp32_precision = "tf32"
    try:
        assert torch.backends.mkldnn.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.fp32_precision = "none"
