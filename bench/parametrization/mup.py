"""Maximal update parametrization for AdamW and its like, from the mup package's own shapes.

With m the ratio of a tensor's fan-in (or of its one growing dimension) to the base model's, in
the formulation the package implements (Yang et al., arXiv 2203.03466, Table 8):

    ================  ==========  =====  ============  ================  ===========
    parameter         init std    lr     weight decay  eps               forward
    ================  ==========  =====  ============  ================  ===========
    embedding         1           1      1             1/m               1
    hidden matrix     1/sqrt(m)   1/m    m             1/m (its fan-out) 1
    k and v           sqrt(o)/m   1/m    m             1/o (its fan-out) 1
    gain, bias        --          1      0             1/m               1
    gain of q/k norm  --          1      0             S base/S          1
    readout           1           1      1             1/m               1/m
    attention logits                                                     sqrt(S base)/S
    ================  ==========  =====  ============  ================  ===========

S is the head size, and o the ratio of the rows of k and v: m unless ``kv_heads`` groups the heads.
With as many groups at every width o is 1, and keys are finite outputs of a growing input, whose
initial weights shrink as 1/m (the paper's Table 3; the spectral condition, arXiv 2310.17813, has
the same). So it is with q where the number of heads does not follow the width (``query_heads``),
and with the MLP's first map where its units do not (``mlp_units``). The gain of ``qk_norm`` is one
for all heads: its gradient is their sum, and does not shrink as they become more. The package
decides which dimension of which tensor grows (``set_base_shapes`` on meta-device tensors); this
file writes its answer down as rules.

An optimizer that steps as far in every coordinate whatever the gradient's scale, as Lion, has the
same table but for eps, which it has not (Yang and Littwin, arXiv 2308.01814).

The package forgets Adam's eps. Gradients shrink as 1/m, so an unscaled eps
weighs more at every width; with the eps column above a noise-free widened model trains exactly as
its source does, and without it it does not. A tied readout is the embedding: vector-like, with the
forward 1/m.

Its parameters switch on what is known to break the transfer (Lingle, arXiv 2404.05728; all three
are Table 8's at their defaults, but that gains are trained here as they are everywhere):

    gains="frozen"       the norms' gains stay at one: trained ones are a breaker
    attention="sqrt"     logits over sqrt(S), as usual, instead of over S
    decay="unscaled"     hidden matrices decay by lambda as others do, so by eta lambda / m a step
"""

import math
from dataclasses import replace

import torch
from torch import nn

from mugrow.bench.model import Multipliers, parameters
from mugrow.bench.parametrization import ADAMW, Parametrization, Rule, Rules, decays
from mugrow.bench.spec import ModelSpec


def rules(
    model: ModelSpec,
    base: ModelSpec,
    *,
    gains: str = "trained",
    attention: str = "inverse",
    decay: str = "scaled",
) -> Rules:
    """Rules of ``model`` whose hyperparameters were tuned at ``base``; depth is not transferred."""
    tensors = {}
    finite = ("q", "k", "v") + (("gate", "up") if model.mlp_units is not None else ())
    for name, shape in infshapes(model, base).items():
        kind = parameters(model)[name].kind
        decayed = float(decays(kind))
        if shape.ninf() == 2:
            fan_out, fan_in = (dimension.width_mult() for dimension in shape)
            scaled = decayed * fan_in if decay == "scaled" else decayed
            std = 1 / math.sqrt(fan_in)
            if name.split(".")[-2] in finite:
                std *= math.sqrt(fan_out / fan_in)
            tensors[name] = Rule(std, 1 / fan_in, scaled, 1 / fan_out)
        else:
            lr = 0.0 if kind == "gain" and gains == "frozen" else 1.0
            of_head = name.split(".")[-2] in ("q_norm", "k_norm")
            wider = model.head_size / base.head_size if of_head else shape.width_mult()
            tensors[name] = Rule(lr=lr, weight_decay=decayed, eps=1 / wider)
    by_head = base.head_size / model.head_size if attention == "inverse" else 1.0
    return Rules(
        tensors, Multipliers(output=base.width / model.width, attention=math.sqrt(by_head))
    )


def infshapes(model: ModelSpec, base: ModelSpec) -> dict[str, "mup.infshape.InfShape"]:  # type: ignore[name-defined]  # noqa: F821
    """The package's shape of every parameter: which dimensions grow, and by how much."""
    from mup import set_base_shapes  # slow to import: it draws in plotting libraries

    at_base = replace(base, depth=model.depth)
    delta = replace(
        at_base,
        width=2 * base.width,
        kv_heads=_twice(base.kv_heads),
        query_heads=_twice(base.query_heads),
        mlp_units=_twice(base.mlp_units),
    )
    skeleton = _skeleton(model)
    set_base_shapes(
        skeleton, _skeleton(at_base), delta=_skeleton(delta), rescale_params=False, do_assert=False
    )
    return {
        name: parameter.infshape  # type: ignore[attr-defined]
        for name, parameter in zip(parameters(model), skeleton.parameters(), strict=True)
    }


def _twice(number: int | None) -> int | None:
    return None if number is None else 2 * number


def _skeleton(model: ModelSpec) -> nn.Module:
    """A module with the model's shapes and no storage."""
    return nn.ParameterList(
        nn.Parameter(torch.empty(shape, device="meta")) for shape, _ in parameters(model).values()
    )


PARAMETRIZATION = Parametrization(
    "mup",
    "maximal update: one learning rate for all widths (AdamW)",
    "arXiv 2203.03466",
    rules,
    choices={
        "gains": ("trained", "frozen"),
        "attention": ("inverse", "sqrt"),
        "decay": ("scaled", "unscaled"),
    },
    search=ADAMW,
)
