"""Hyperparameters by module: what a run's are multiplied by in embeddings, queries, readout, ...

A multiplier is named by a hyperparameter and a module, ``lr.qk`` (Complete(d)P, arXiv 2512.22382,
tunes such numbers on a small proxy and transfers them; its own list could not be read, so these
modules are ours):

    embedding   tokens and positions         up     what enters the MLP, its gate too
    qk          queries and keys             down   what leaves it
    v           values                       head   the readout, unless it is the embedding
    o           what leaves attention        gains  all norms, those of queries and keys too

A bias belongs to its matrix. ``all`` is every module: ``beta1.all`` is one number, for a search
beside learning rate and initial scale, which need no such name. Along depth there is a curve of low
order instead of a number a block, so that it is there at another depth. With x from -1 at the first
block to 1 at the last, what is in a block is multiplied by

    depth_slope^x * depth_bend^((3 x^2 - 1) / 2)

The hyperparameters are ``lr``, ``weight_decay``, ``init_std``, ``eps``, and of the averages
``beta1`` and ``beta2``, where 1 - beta is multiplied: 2 forgets twice as fast. ``residual`` is what
``attention`` or the ``mlp`` of a block adds to the stream.

Under an optimizer that does not see the scale of gradients (AdamW, Lion, Muon) a residual
multiplier is no dimension of its own. A branch c W h, with W trained, is V h with V = c W, and for
V that is

    init std times c,  learning rate times c,  eps over c,  torch's weight decay over c

That is how it is done here, so ``residual.mlp`` is a direction in the space of ``down``'s four;
weights on disk are V's. Only a norm at which gradients are clipped sees a difference.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from mugrow.bench.model import parameters
from mugrow.bench.spec import HyperSpec, ModelSpec, UserError, faster, unknown

MODULES = {  # by the layer's name; all others are norms
    "embed": "embedding",
    "positions": "embedding",
    "q": "qk",
    "k": "qk",
    "v": "v",
    "o": "o",
    "gate": "up",
    "up": "up",
    "down": "down",
    "head": "head",
}
BRANCHES = {"o": "attention", "down": "mlp"}
CURVE = ("depth_slope", "depth_bend")
ALL = "all"
DRAWN = tuple(dict.fromkeys(MODULES.values()))  # and decayed: gains are neither
NAMES: Mapping[str, tuple[str, ...]] = {
    "lr": (*DRAWN, "gains", *CURVE),
    "weight_decay": (*DRAWN, *CURVE, ALL),
    "init_std": (*DRAWN, *CURVE),
    "beta1": (*DRAWN, "gains", *CURVE, ALL),
    "beta2": (*DRAWN, "gains", *CURVE, ALL),
    "eps": (*DRAWN, "gains", *CURVE, ALL),
    "residual": (*BRANCHES.values(), *CURVE),
}


@lru_cache(maxsize=256)
def by_tensor(model: ModelSpec, hyper: HyperSpec) -> Mapping[str, HyperSpec]:
    """The hyperparameters of every parameter of ``model``, by name: the run's, multiplied as its
    ``modules`` say. Raises ``UserError`` for a multiplier that is unknown or of a module that the
    model lacks, and for a beta of which nothing would be left."""
    if not hyper.modules:
        return dict.fromkeys(parameters(model), hyper)
    for name, _ in hyper.modules:
        _check(model, name)
    return {tensor: _of_tensor(model, hyper, tensor) for tensor in parameters(model)}


def touched(model: ModelSpec, name: str) -> list[str]:
    """The parameters of ``model`` whose hyperparameters a multiplier of that name changes."""
    key = name.partition(".")[0]
    return [tensor for tensor in parameters(model) if _times(model, {name: 2.0}, key, tensor) != 1]


def _check(model: ModelSpec, name: str) -> None:
    key, _, module = name.partition(".")
    if key not in NAMES:
        raise unknown("hyperparameter of a module", key, NAMES)
    if module not in NAMES[key]:
        raise unknown(f"module for {key!r}:", module, NAMES[key])
    if not touched(model, name):
        there = [other for one in NAMES[key] if touched(model, other := f"{key}.{one}")]
        shared = f"{key}.embedding"  # of a tied readout
        near = shared if module == "head" else difflib.get_close_matches(name, there, 1, 0)[0]
        blocks = f" with {model.depth} blocks" if module in CURVE else ""
        raise UserError(f"the model{blocks} has no {module!r} for {name!r}; the nearest: {near!r}")


def _of_tensor(model: ModelSpec, hyper: HyperSpec, tensor: str) -> HyperSpec:
    multipliers = dict(hyper.modules)
    times = {key: _times(model, multipliers, key, tensor) for key in NAMES}
    branch = times["residual"]
    return replace(
        hyper,
        modules=(),
        lr=hyper.lr * times["lr"] * branch,
        weight_decay=hyper.weight_decay
        * times["weight_decay"]
        / (branch if hyper.decay == "scaled" else 1.0),
        init_std=hyper.init_std * times["init_std"] * branch,
        eps=hyper.eps * times["eps"] / branch,
        beta1=faster("beta1", hyper.beta1, times["beta1"]),
        beta2=faster("beta2", hyper.beta2, times["beta2"]),
    )


def _times(model: ModelSpec, multipliers: Mapping[str, float], key: str, tensor: str) -> float:
    """What a parameter's hyperparameter ``key`` is multiplied by."""
    *path, layer, _ = tensor.split(".")
    module = BRANCHES.get(layer) if key == "residual" else MODULES.get(layer, "gains")
    if module is None:
        return 1.0
    found = multipliers.get(f"{key}.{module}", 1.0) * multipliers.get(f"{key}.{ALL}", 1.0)
    if not path or model.depth == 1:
        return found
    x = 2 * int(path[1]) / (model.depth - 1) - 1
    bend = (3 * x**2 - 1) / 2 if model.depth > 2 else 0.0  # of two blocks: no curve
    slope_times, bend_times = (multipliers.get(f"{key}.{name}", 1.0) for name in CURVE)
    return found * math.pow(slope_times, x) * math.pow(bend_times, bend)
