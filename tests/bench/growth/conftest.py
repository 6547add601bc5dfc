import math
from collections.abc import Callable

import pytest
import torch

from mugrow.bench.model import Weights, parameters
from mugrow.bench.spec import ModelSpec

RandomWeights = Callable[..., Weights]


def _random_weights(spec: ModelSpec, seed: int = 0, dtype: torch.dtype = torch.float64) -> Weights:
    """Weights as after training: no gain is one and no bias zero; the logits are of order one."""
    rng = torch.Generator().manual_seed(seed)
    weights = {}
    for name, (shape, kind) in parameters(spec).items():
        scale = 0.3 if kind in ("gain", "bias") else 1 / math.sqrt(shape[-1])
        unit = torch.randn(shape, generator=rng, dtype=torch.float64)
        weights[name] = (scale * unit + (kind == "gain")).to(dtype)
    return weights


@pytest.fixture(scope="session")
def random_weights() -> RandomWeights:
    return _random_weights
