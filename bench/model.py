"""The decoder, written once for K models of one shape.

A pre-norm transformer: ``x += attention(norm(x)); x += mlp(norm(x))``, in the GPT-2 flavour
(LayerNorm, GELU, learned positions, biases) or the LLaMA one (RMSNorm, SwiGLU, rotary positions,
none), or anything between (``ModelSpec`` lists what there is). What differs from the textbook is
the leading *member* axis: all weights of K models are one ``(K, P)`` tensor, every matrix product
is a batched one over members, and attention folds members into the batch, where
``scaled_dot_product_attention`` wants them. ``K = 1`` is the same code.

In ``_norm_linear`` a norm's gain and bias are folded into the linear map that follows, ``W(g * n +
b) + c = (W g) n + (W b + c)``. The map has far fewer entries than the activations of a small model,
so the per-token work of gain and bias, forward and backward, is gone.

Shape suffixes: K members, B sequences, T positions, N = B*T tokens, D width, H heads, G heads of
keys and values, S head size, F MLP width, V rows of the vocabulary.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mugrow.bench.attention import few, short_attention
from mugrow.bench.chunked_loss import chunked_cross_entropy
from mugrow.bench.cross_entropy import cross_entropy as cross_entropy  # where it was before
from mugrow.bench.precision import rounded, widened
from mugrow.bench.rotary import rotate, turns_of
from mugrow.bench.spec import ModelSpec, Precision

Kind = Literal["embedding", "matrix", "readout", "gain", "bias"]
Weights = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),  # 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³)))
    "relu": F.relu,
}


class Parameter(NamedTuple):
    """The shape of a parameter, a matrix's ``(out, in)``, and what it is."""

    shape: tuple[int, ...]
    kind: Kind


@dataclass(frozen=True)
class Multipliers:
    """What a parametrization changes in the forward pass."""

    output: float = 1.0
    attention: float = 1.0  # times 1/sqrt(head size)
    residual_attention: float = 1.0  # of what a block's attention adds to the residual stream
    residual_mlp: float = 1.0


@dataclass(frozen=True)
class Decoder:
    """A model without its weights: its shape and the multipliers of its forward pass."""

    spec: ModelSpec
    multipliers: Multipliers = Multipliers()
    norm_mask: Tensor | None = field(default=None, compare=False)
    """Weights ``(D,)`` of the residual stream's coordinates in the statistics of every norm."""
    observe: Callable[[str, Tensor], object] | None = field(default=None, compare=False)
    """Called with the output of every module, by the name of the module, in a forward pass."""
    precision: Precision = "float32"
    """What products are of."""
    recompute: bool = field(default=False, compare=False)
    """Whether a block's activations are computed again in the backward pass, and not kept."""
    keep_probabilities: bool = True
    """Whether attention may be ``mugrow.bench.attention``'s, which takes more memory."""

    def __call__(self, weights: Weights, tokens_BT: Tensor) -> Tensor:
        """Logits ``(B, T, V)`` of one model given by its named weights."""
        return self.logits(flatten(self.spec, weights)[None], tokens_BT[None])[0]

    def logits(self, flat_KP: Tensor, tokens_KBT: Tensor) -> Tensor:
        """Logits ``(K, B, T, V)`` of the K members."""
        return self.logits_of(fused(self.spec, flat_KP), tokens_KBT)

    def logits_of(self, w: Weights, tokens_KBT: Tensor) -> Tensor:
        """Logits ``(K, B, T, V)`` of K members given by their ``fused`` weights."""
        K, B, T = tokens_KBT.shape
        logits_KNV = widened(self._linear(*self._before_head(w, tokens_KBT)))
        return self._seen("head", logits_KNV).view(K, B, T, self.spec.vocab_rows)

    def losses_of(self, w: Weights, tokens_KBT: Tensor, chunk: int | None) -> Tensor:
        """Mean loss of K members on sequences with their last targets ``(K, B, T + 1)``, in nats
        per token, ``(K,)``; with a ``chunk`` the logits of so many tokens a member exist at once.
        """
        inputs_KBT, targets_KBT = tokens_KBT[..., :-1], tokens_KBT[..., 1:]
        if chunk is None:
            return cross_entropy(self.logits_of(w, inputs_KBT), targets_KBT)
        n_KND, head_KVD, bias_KV = self._before_head(w, inputs_KBT)
        bias_KV = None if bias_KV is None else self._rounded(bias_KV)
        factors = self._rounded(n_KND), self._rounded(head_KVD), bias_KV
        return chunked_cross_entropy(*factors, targets_KBT.flatten(1), chunk)

    def _before_head(self, w: Weights, tokens_KBT: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Whose product the logits are: normed stream ``(K, N, D)``, head and bias."""
        for x_KND in self._stream(w, tokens_KBT):  # noqa: B007
            pass
        head = w["embed.weight" if self.spec.tied else "head.weight"]
        if self.multipliers.output != 1:
            head = head * self.multipliers.output
        return self._folded(w, "norm", x_KND, head, None)

    def stream(self, weights: Weights, tokens_BT: Tensor) -> list[Tensor]:
        """The residual stream ``(B, T, D)`` of one model: embedded, then after every block."""
        w = fused(self.spec, flatten(self.spec, weights)[None])
        return [x_1ND.view(*tokens_BT.shape, -1) for x_1ND in self._stream(w, tokens_BT[None])]

    def _stream(self, w: Weights, tokens_KBT: Tensor) -> Iterator[Tensor]:
        K, B, T = tokens_KBT.shape
        x_KND = _embed(w["embed.weight"], tokens_KBT).view(K, B, T, self.spec.width)
        if self.spec.positions == "learned":
            first = self.spec.position_offset
            x_KND = x_KND + w["positions.weight"][:, None, first : first + T]
        x_KND = x_KND.reshape(K, B * T, self.spec.width)
        yield self._seen("embed", x_KND)
        for block in range(self.spec.depth):
            if self.recompute and torch.is_grad_enabled():
                x_KND = again(self._block, w, block, x_KND, T)
            else:
                x_KND = self._block(w, block, x_KND, T)
            yield self._seen(f"blocks.{block}", x_KND)

    def _block(self, w: Weights, block: int, x_KND: Tensor, T: int) -> Tensor:
        after_KND = x_KND + self._attention(w, f"blocks.{block}.", x_KND, T)
        read_KND = x_KND if self.spec.parallel else after_KND
        return after_KND + self._mlp(w, f"blocks.{block}.", read_KND)

    def _seen(self, module: str, x: Tensor) -> Tensor:
        if self.observe is not None:
            self.observe(module, widened(x))
        return x

    def _attention(self, w: Weights, block: str, x_KND: Tensor, T: int) -> Tensor:
        K, N, _ = x_KND.shape
        spec, S = self.spec, self.spec.head_size
        qkv = self._norm_linear(
            w,
            block + "norm1",
            x_KND,
            w[block + "attention.qkv.weight"],
            w.get(block + "attention.qkv.bias"),
        )
        written_out = qkv.device.type == "cpu" and self.writes_attention_out(T)
        if self.observe is not None or not written_out:
            heads = self._heads(w, block, qkv, T)
            self._see_heads(block, *heads)
        if written_out:
            turns = turns_of(spec, T, qkv.dtype) if spec.positions == "rope" else None
            y = short_attention(qkv.view(-1, T, 3, spec.heads, S), turns, self._attention_scale)
        else:
            y = self._by_blocks(*heads).transpose(1, 2)
        layer, multiplier = block + "attention.o", self.multipliers.residual_attention
        y_KNI = y.reshape(K, N, spec.attention_width)
        return self._seen(layer, self._to_stream(w, layer, y_KNI, multiplier))

    @property
    def _attention_scale(self) -> float:
        return self.multipliers.attention / math.sqrt(self.spec.head_size)

    def _heads(
        self, w: Weights, block: str, qkv_KNE: Tensor, T: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries ``(K*B, H, T, S)``, keys and values ``(K*B, G, T, S)``, normed and turned."""
        K, N, _ = qkv_KNE.shape
        spec, S, H, G = self.spec, self.spec.head_size, self.spec.heads, self.spec.groups
        # queries and keys side by side as they are stored, so that both are turned at once
        qk, v = torch.split(qkv_KNE.view(K, N, -1, S), [H + G, G], dim=2)  # (K, N, H + G, S)
        if spec.qk_norm:
            normed = [
                F.rms_norm(widened(part), (S,), eps=spec.norm_eps)
                * w[f"{block}attention.{name}_norm.gain"][:, None, None]
                for name, part in zip("qk", torch.split(qk, [H, G], dim=2), strict=True)
            ]
            qk = self._rounded(torch.cat(normed, dim=2))
        qk, v = (part.view(K * N // T, T, -1, S).transpose(1, 2) for part in (qk, v))
        if spec.positions == "rope":
            qk = self._rounded(rotate(widened(qk), spec))
        q, k = torch.split(qk, [H, G], dim=1)
        return q, k, v

    def _see_heads(self, block: str, q: Tensor, k: Tensor, v: Tensor) -> None:
        if self.observe is None:
            return
        for name, part in zip("qkv", (q, k, v), strict=True):
            self.observe(f"{block}attention.{name}", widened(part))
        k_of_head = k.repeat_interleave(self.spec.group_size, dim=1)
        scores = widened(q) @ widened(k_of_head).mT * self._attention_scale
        self.observe(f"{block}attention.logits", scores)

    def _by_blocks(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """What the heads read, ``(K*B, H, T, S)``, by torch's attention."""
        spec, T = self.spec, q.shape[2]
        near_TT = _near(T, spec.window, q.device) if self._windowed(T) else None
        return F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=near_TT,
            is_causal=near_TT is None,
            scale=self._attention_scale,
            enable_gqa=spec.groups < spec.heads,
        )

    def _windowed(self, T: int) -> bool:
        return self.spec.window is not None and self.spec.window < T

    def writes_attention_out(self, T: int) -> bool:
        """Whether on a CPU attention over ``T`` positions is ``mugrow.bench.attention``'s."""
        spec = self.spec
        plain = spec.groups == spec.heads and not spec.qk_norm and not self._windowed(T)
        wanted = self.keep_probabilities and self.precision != "bf16"
        return wanted and plain and few(T, spec.head_size)

    def _mlp(self, w: Weights, block: str, x_KND: Tensor) -> Tensor:
        up = "mlp.gate_up" if self.spec.mlp == "swiglu" else "mlp.up"
        h_KNF = self._norm_linear(
            w, block + "norm2", x_KND, w[f"{block}{up}.weight"], w.get(f"{block}{up}.bias")
        )
        self._seen(block + "mlp.up", h_KNF)
        if self.spec.mlp == "swiglu":
            gate_KNF, up_KNF = h_KNF.chunk(2, dim=-1)
            h_KNF = F.silu(gate_KNF) * up_KNF
        else:
            h_KNF = ACTIVATIONS[self.spec.mlp](h_KNF)
        layer, multiplier = block + "mlp.down", self.multipliers.residual_mlp
        return self._seen(layer, self._to_stream(w, layer, h_KNF, multiplier))

    def _to_stream(self, w: Weights, layer: str, x_KNI: Tensor, multiplier: float) -> Tensor:
        """A block's last linear map; its residual multiplier is folded into its few entries."""
        weight_KDI, bias_KD = w[layer + ".weight"], w.get(layer + ".bias")
        if multiplier != 1:
            weight_KDI = weight_KDI * multiplier
            bias_KD = None if bias_KD is None else bias_KD * multiplier
        return self._linear(x_KNI, weight_KDI, bias_KD)

    def _norm_linear(
        self, w: Weights, norm: str, x_KND: Tensor, weight_KED: Tensor, bias_KE: Tensor | None
    ) -> Tensor:
        """``linear(norm(x))`` with the norm's gain and bias folded into the linear map."""
        return self._linear(*self._folded(w, norm, x_KND, weight_KED, bias_KE))

    def _folded(
        self, w: Weights, norm: str, x_KND: Tensor, weight_KED: Tensor, bias_KE: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        shape, eps = x_KND.shape[-1:], self.spec.norm_eps
        if len(x_KND) == 1 and self.norm_mask is None and self.precision != "bf16":
            gain_D = w[norm + ".gain"].squeeze(0)
            if self.spec.norm == "rmsnorm":
                return F.rms_norm(x_KND, shape, gain_D, eps), weight_KED, bias_KE
            n_1ND = F.layer_norm(x_KND, shape, gain_D, w[norm + ".bias"].squeeze(0), eps)
            return n_1ND, weight_KED, bias_KE
        if self.norm_mask is not None:
            centre = self.spec.norm == "layernorm"
            n_KND = _masked_norm(x_KND, self.norm_mask, eps, centre=centre)
        elif self.spec.norm == "rmsnorm":
            n_KND = F.rms_norm(x_KND, shape, eps=eps)
        else:
            n_KND = F.layer_norm(x_KND, shape, eps=eps)
        if self.spec.norm == "layernorm":
            shift_KE = torch.bmm(weight_KED, w[norm + ".bias"][..., None]).squeeze(-1)
            bias_KE = shift_KE if bias_KE is None else bias_KE + shift_KE
        return n_KND, weight_KED * w[norm + ".gain"][:, None], bias_KE

    def _linear(self, x_KNI: Tensor, weight_KOI: Tensor, bias_KO: Tensor | None) -> Tensor:
        x_KNI, weight_KOI = self._rounded(x_KNI), self._rounded(weight_KOI)
        return _linear(x_KNI, weight_KOI, None if bias_KO is None else self._rounded(bias_KO))

    def _rounded(self, x: Tensor) -> Tensor:
        return rounded(x, self.precision)


again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)  # nothing is random


def _masked_norm(x_KND: Tensor, mask_D: Tensor, eps: float, centre: bool) -> Tensor:
    """LayerNorm (or, without ``centre``, RMSNorm) of statistics weighted by a mask."""
    share_D = mask_D / mask_D.sum()
    if centre:
        x_KND = x_KND - (x_KND * share_D).sum(-1, keepdim=True)
    variance_KN1 = (x_KND.square() * share_D).sum(-1, keepdim=True)
    return x_KND * torch.rsqrt(variance_KN1 + eps)


def _linear(x_KNI: Tensor, weight_KOI: Tensor, bias_KO: Tensor | None) -> Tensor:
    if bias_KO is None:
        return torch.bmm(x_KNI, weight_KOI.mT)
    if len(x_KNI) == 1:  # one product adds its bias as it goes; a batched one copies it first
        return torch.addmm(bias_KO.view(-1), x_KNI.squeeze(0), weight_KOI.squeeze(0).mT)[None]
    return torch.baddbmm(bias_KO[:, None], x_KNI, weight_KOI.mT)


def _embed(table_KVD: Tensor, tokens_KBT: Tensor) -> Tensor:
    """Row lookup in K tables as one lookup in their concatenation; ``(K*B*T, D)``."""
    K, V, D = table_KVD.shape
    if K == 1:
        return F.embedding(tokens_KBT.reshape(-1), table_KVD.squeeze(0))
    offset_K = torch.arange(K, device=tokens_KBT.device) * V
    return F.embedding((tokens_KBT + offset_K[:, None, None]).view(-1), table_KVD.reshape(-1, D))


@lru_cache(maxsize=8)
def _near(T: int, window: int, device: torch.device) -> Tensor:
    """Which positions ``(T, T)`` a token sees: itself and the ``window - 1`` before it."""
    back_TT = torch.arange(T)[:, None] - torch.arange(T)
    return ((back_TT >= 0) & (back_TT < window)).to(device)


@lru_cache(maxsize=64)
def parameters(spec: ModelSpec) -> Mapping[str, Parameter]:
    """Every parameter by name, in storage order. Matrices are ``(out, in)``; the rows of q, k and v
    are ordered by head. Tied models have no ``head.weight``."""
    D, F_ = spec.width, spec.mlp_width
    q_width, kv_width = spec.attention_width, spec.kv_width
    named: dict[str, Parameter] = {"embed.weight": Parameter((spec.vocab_rows, D), "embedding")}
    if spec.positions == "learned":
        rows = spec.context + spec.position_offset
        named["positions.weight"] = Parameter((rows, D), "embedding")

    def linear(prefix: str, fan_outs: Mapping[str, int], fan_in: int, bias: bool) -> None:
        for n, out in fan_outs.items():
            named[f"{prefix}{n}.weight"] = Parameter((out, fan_in), "matrix")
        for n, out in fan_outs.items() if bias else ():
            named[f"{prefix}{n}.bias"] = Parameter((out,), "bias")

    def norm(prefix: str) -> None:
        named[f"{prefix}.gain"] = Parameter((D,), "gain")
        if spec.norm == "layernorm":
            named[f"{prefix}.bias"] = Parameter((D,), "bias")

    for i in range(spec.depth):
        attention, mlp = f"blocks.{i}.attention.", f"blocks.{i}.mlp."
        norm(f"blocks.{i}.norm1")
        linear(attention, {"q": q_width, "k": kv_width, "v": kv_width}, D, spec.biased_qkv)
        for name in ("q_norm", "k_norm") if spec.qk_norm else ():
            named[f"{attention}{name}.gain"] = Parameter((spec.head_size,), "gain")
        linear(attention, {"o": D}, q_width, spec.bias)
        norm(f"blocks.{i}.norm2")
        into = ("gate", "up") if spec.mlp == "swiglu" else ("up",)
        linear(mlp, dict.fromkeys(into, F_), D, spec.bias)
        linear(mlp, {"down": D}, F_, spec.bias)
    norm("norm")
    if not spec.tied:
        named["head.weight"] = Parameter((spec.vocab_rows, D), "readout")
    return named


def shapes(spec: ModelSpec) -> Shapes:
    """The shape of every parameter, in storage order."""
    return {name: shape for name, (shape, _) in parameters(spec).items()}


FUSED = {"q": "qkv", "k": "qkv", "v": "qkv", "gate": "gate_up"}  # up joins gate, if there is one


@lru_cache(maxsize=64)
def _storage(spec: ModelSpec) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """``parameters`` with neighbours that read the same input merged: one product instead of
    three. A merged tensor is a plain view of the storage, since its parts lie side by side."""
    merged: dict[str, tuple[int, ...]] = {}
    for name, (shape, _) in parameters(spec).items():
        *path, module, tensor = name.split(".")
        fused = "gate_up" if module == "up" and spec.mlp == "swiglu" else FUSED.get(module, module)
        key = ".".join((*path, fused, tensor))
        rows = shape[0] + (merged[key][0] if key in merged else 0)
        merged[key] = (rows, *shape[1:])
    return tuple(merged.items())


def fused(spec: ModelSpec, flat_KP: Tensor) -> Weights:
    """What the forward pass works on: views of the storage, neighbours that read the same input
    merged, each ``(K, out, in)`` or ``(K, out)``."""
    sizes = [math.prod(shape) for _, shape in _storage(spec)]
    parts = torch.split(flat_KP, sizes, dim=1)
    return {
        name: part.view(-1, *shape)
        for (name, shape), part in zip(_storage(spec), parts, strict=True)
    }


def offsets(spec: ModelSpec) -> dict[str, slice]:
    """Where each parameter lies in the ``P`` axis of the storage."""
    ends = [0]
    for shape, _ in parameters(spec).values():
        ends.append(ends[-1] + math.prod(shape))
    return {
        name: slice(a, b) for name, (a, b) in zip(parameters(spec), pairwise(ends), strict=True)
    }


def flatten(spec: ModelSpec, weights: Mapping[str, Tensor]) -> Tensor:
    """One model's named weights as its ``(P,)`` row of the storage."""
    assert weights.keys() == parameters(spec).keys(), weights.keys() ^ parameters(spec).keys()
    return torch.cat([weights[name].reshape(-1) for name in parameters(spec)])


def unflatten(spec: ModelSpec, flat_P: Tensor) -> Weights:
    """The inverse of ``flatten``: named views of one member's row."""
    return {
        name: flat_P[where].view(parameters(spec)[name].shape)
        for name, where in offsets(spec).items()
    }


def count(spec: ModelSpec) -> tuple[int, int]:
    """``(parameters, parameters without embeddings, positions and head)``."""
    sizes = {name: math.prod(p.shape) for name, p in parameters(spec).items()}
    ends = sum(sizes[n] for n, p in parameters(spec).items() if p.kind in ("embedding", "readout"))
    return sum(sizes.values()), sum(sizes.values()) - ends
