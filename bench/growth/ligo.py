"""LiGO: linear maps from the source's weights to the target's, learned on the language-model loss.

    W'_l = B_l ( sum_j w_lj W_j ) A_l^T        for every matrix of target block l
    b'_l = B_l   sum_j v_lj b_j                for biases and for the norms' gains

Wang et al., arXiv 2303.00980. Depth: w and v mix the source's blocks, a vector a tensor and block.
Width: a map from D to D' coordinates keeps the old ones and makes each new one of all of them,

    B = [ I ]                W' = [   W   |   W S_A^T   ]
        [ S ]                     [ S_B W | S_B W S_A^T ],

and maps are tied as the network's own sums demand:

    one map for the residual stream: columns of embeddings and head, columns of q, k, v, up and
    gate, rows of o and down, the norms;   A_o = B_v,   A_down = B_up = B_gate.

The source is frozen; S, w and v are learned for ``steps`` batches by SGD, their cost charged to the
run, and then the target is trained as any other, with fresh moments. As in the released code, S
begins as a random selection of old units plus noise, w and v as a stack (or,
``depth="interleave"``, each block in place) plus U(0, 0.03), divided by their sum. Ours: heads are
selected whole, the same for q, k and v; the noise on S is normal and of norm 0.03 in every row,
where the code has U(0, 0.03) in every entry, which grows with the width (under muP the residual
stream did, by a power of 0.43); momentum is 0.9 and gradients are clipped to norm 1, with the best
of five rates for bytes of WikiText at width 64.

Under muP one rate serves all widths: the gradient of S is the product of a gradient of norm
D^(-1/2) and an activation of norm D^(1/2). (Its norm at the first step, at widths 32, 64 and 128:
1.03, 1.08, 1.02; under SP 2.7, 7.2, 17.) So activations are flat in width for the first steps.
After all 100 on the contract kit's task they are so from a target's width of 64 on, where the
stream after one block is 15, 23 and 18 at 64, 128 and 256; at 32 it is 8.

Nothing is divided by the number of copies, since one S makes both the rows that write the residual
stream and the columns that read it, so the selections are no start at all. From width 32 and depth
2 to 64 and 4 (GPT-2, SP) they had 5.41 nats per byte, where random weights have 5.88 and the source
2.02; 100 batches took them to 2.00.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from mugrow.bench.cross_entropy import cross_entropy
from mugrow.bench.growth import GrowthMethod, msg
from mugrow.bench.growth.zero_pad import forward_factor
from mugrow.bench.model import Decoder, Weights, flatten, parameters
from mugrow.bench.spec import ModelSpec
from mugrow.bench.units import roles

NOISE = 0.03
MOMENTUM = 0.9
DEPTH = ("stack", "interleave")


def supports(small: ModelSpec, big: ModelSpec) -> str | None:
    """Whole heads, each with keys and values of its own."""
    for spec in (small, big):
        if spec.groups < spec.heads:
            return (
                "the columns of o are mapped as the rows of v: kv_heads must be the number of "
                f"heads, {spec.heads}, not {spec.groups}"
            )
    return msg.supports(small, big)


def grow(
    weights: Weights,
    small: Decoder,
    big: Decoder,
    init: Weights,
    rng: torch.Generator,
    *,
    batches: Callable[[int], Tensor],
    steps: int = 100,
    lr: float = 0.1,
    depth: str = "stack",
) -> Weights:
    """The source under maps learned on ``batches(0)``, ``batches(1)``, ..., each ``(B, T + 1)``;
    ``init`` gives the dtype."""
    dtype = torch.promote_types(init["embed.weight"].dtype, torch.float32)
    scaled = {
        name: w.to(dtype) * forward_factor(name, small, big, ".attention.q.")
        for name, w in weights.items()
    }
    maps = {name: m.to(dtype) for name, m in initial_maps(small.spec, big.spec, rng, depth).items()}
    with torch.enable_grad():
        _learn(maps, scaled, small.spec, big, batches, steps, lr)
    grown = apply(maps, scaled, small.spec, big.spec)
    return {name: tensor.detach().to(init[name].dtype) for name, tensor in grown.items()}


def _learn(
    maps: Weights,
    weights: Weights,
    small: ModelSpec,
    big: Decoder,
    batches: Callable[[int], Tensor],
    steps: int,
    lr: float,
) -> None:
    """Improve the maps, in place."""
    for tensor in maps.values():
        tensor.requires_grad_()
    # torch.optim.SGD's own steps, without the seconds that its first optimizer imports for
    velocity = {name: torch.zeros_like(tensor) for name, tensor in maps.items()}
    for step in range(steps):
        tokens_1BT = batches(step)[None]
        grown = apply(maps, weights, small, big.spec)
        logits = big.logits(flatten(big.spec, grown)[None], tokens_1BT[..., :-1])
        loss = cross_entropy(logits, tokens_1BT[..., 1:]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(maps.values(), 1.0)
        for name, tensor in maps.items():
            assert tensor.grad is not None
            velocity[name].mul_(MOMENTUM).add_(tensor.grad)
            tensor.data.sub_(velocity[name], alpha=lr)
            tensor.grad = None
    for tensor in maps.values():
        tensor.requires_grad_(False)


def initial_maps(small: ModelSpec, big: ModelSpec, rng: torch.Generator, depth: str) -> Weights:
    """Every learned tensor by name: ``stream`` and, for every target block l, ``l.q``, ``l.k``,
    ``l.v`` and ``l.mlp`` hold the S of a map, ``(new units, old units)``; a ``mix.TENSOR`` is
    ``(L', L)``."""
    maps = {"stream": _selection(big.width - small.width, small.width, rng)}
    for block in range(big.depth):
        heads = _selection(big.heads - small.heads, small.heads, rng)
        units = torch.kron(heads, torch.eye(small.head_size, dtype=heads.dtype))
        maps |= {f"{block}.{part}": units.clone() for part in "qkv"}
        maps[f"{block}.mlp"] = _selection(big.mlp_width - small.mlp_width, small.mlp_width, rng)
    for name, S in maps.items():
        noise = torch.randn(S.shape, generator=rng, dtype=S.dtype) / math.sqrt(S.shape[1])
        maps[name] = S + NOISE * noise * (S == 0)
    for name in parameters(small):
        if name.startswith("blocks.0."):
            mix = _mix(small.depth, big.depth, depth)
            noise = torch.rand(mix.shape, generator=rng, dtype=mix.dtype)
            mix = mix + NOISE * noise * (mix == 0)
            maps["mix." + name.removeprefix("blocks.0.")] = mix / mix.sum(1, keepdim=True)
    return maps


def _selection(new: int, old: int, rng: torch.Generator) -> Tensor:
    """One old unit for each new one, ``(new, old)``."""
    chosen = torch.randint(old, (new,), generator=rng)
    return F.one_hot(chosen, old).double()


def _mix(small_depth: int, big_depth: int, depth: str) -> Tensor:
    block = torch.arange(big_depth)
    chosen = block % small_depth if depth == "stack" else block * small_depth // big_depth
    return F.one_hot(chosen, small_depth).double()


def apply(maps: Weights, weights: Weights, small: ModelSpec, big: ModelSpec) -> Weights:
    """The target's weights: blocks mixed, then rows and columns expanded."""
    grown = {}
    for name, (_, kind) in parameters(big).items():
        tensor = _mixed(name, maps, weights, small.depth)
        if roles(name) == ("head_rows",):  # heads stay as large as they were
            grown[name] = tensor
            continue
        rows, columns = _sides(name)
        if kind not in ("embedding", "readout"):
            tensor = torch.cat([tensor, maps[rows] @ tensor])
        if tensor.ndim == 2:
            tensor = torch.cat([tensor, tensor @ maps[columns].mT], dim=1)
        grown[name] = tensor
    return grown


def _mixed(name: str, maps: Weights, weights: Weights, depth: int) -> Tensor:
    if not name.startswith("blocks."):
        return weights[name]
    _, block, rest = name.split(".", maxsplit=2)
    sources = torch.stack([weights[f"blocks.{j}.{rest}"] for j in range(depth)])
    return torch.einsum("j,j...->...", maps["mix." + rest][int(block)], sources)


def _sides(name: str) -> tuple[str, str]:
    """The maps of a tensor's rows (or only axis) and of its columns."""
    *path, module, _ = name.split(".")
    inner = {"q": "q", "k": "k", "v": "v", "o": "v", "up": "mlp", "gate": "mlp", "down": "mlp"}
    if module not in inner:
        return "stream", "stream"
    inside = f"{path[1]}.{inner[module]}"
    return ("stream", inside) if module in ("o", "down") else (inside, "stream")


METHOD = GrowthMethod(
    name="ligo",
    summary="width and depth maps learned on the loss",
    paper="arXiv 2303.00980",
    axes=("width", "depth"),
    preserves="nothing",
    supports=supports,
    grow=grow,
    choices={"depth": DEPTH},
    learning_steps="steps",
)
