"""LiGO: the maps and their ties, where they begin, and that they are learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from growth_runs import MODEL, RUN, skewed, start_of, train

from mugrow.bench.data.batches import train_batch
from mugrow.bench.growth import check_growth, ligo, method
from mugrow.bench.growth.zero_pad import forward_factor
from mugrow.bench.model import Decoder, cross_entropy, flatten, parameters
from mugrow.bench.parametrization import generator, initial_weights, parametrization
from mugrow.bench.spec import ModelSpec, UserError, llama

ENTRY = method("ligo")
BIG = replace(MODEL, width=24, mlp_ratio=5.0, depth=3)


def maps_of(small: ModelSpec, big: ModelSpec, depth: str = "stack") -> dict:
    return ligo.initial_maps(small, big, torch.Generator().manual_seed(3), depth)


def whole(new: torch.Tensor) -> torch.Tensor:
    """B = [I; S] of S."""
    return torch.cat([torch.eye(new.shape[1], dtype=new.dtype), new])


def batch(step: int) -> torch.Tensor:
    return torch.from_numpy(train_batch(skewed().train, 7, step, 4, MODEL.context).astype(np.int64))


def grow(weights: dict, big: ModelSpec = BIG, **params) -> dict:
    init = start_of(replace(RUN, model=big))
    rng = generator("growth", 0)
    return ENTRY.grow(weights, Decoder(MODEL), Decoder(big), init, rng, batches=batch, **params)


@torch.no_grad()
def loss(weights: dict, model: ModelSpec = BIG) -> float:
    tokens = torch.cat([batch(step) for step in range(100, 120)])[None]
    logits = Decoder(model).logits(flatten(model, weights)[None], tokens[..., :-1])
    return float(cross_entropy(logits, tokens[..., 1:]))


@pytest.mark.parametrize("flavour", [ModelSpec, llama])
def test_every_tensor_is_mixed_over_blocks_and_multiplied_by_its_tied_maps(random_weights, flavour):
    small = flavour(width=16, depth=2, head_size=8, context=8, vocab_size=32)
    big = replace(small, width=24, mlp_ratio=6.0, depth=3)
    weights, maps = random_weights(small), maps_of(small, big)
    grown = ligo.apply(maps, weights, small, big)
    stream = whole(maps["stream"])
    for name, (shape, _) in parameters(big).items():
        got = grown[name]
        assert got.shape == shape
        if not name.startswith("blocks."):
            want = weights[name] @ stream.T if got.ndim == 2 else stream @ weights[name]
        else:
            _, block, rest = name.split(".", 2)
            mixed = sum(
                share * weights[f"blocks.{j}.{rest}"]
                for j, share in enumerate(maps[f"mix.{rest}"][int(block)])
            )
            part = rest.split(".")[1] if "norm" not in rest else "norm"
            q, k, v, mlp = (whole(maps[f"{block}.{key}"]) for key in ("q", "k", "v", "mlp"))
            rows = {"q": q, "k": k, "v": v, "up": mlp, "gate": mlp}.get(part, stream)
            columns = {"o": v, "down": mlp}.get(part, stream)
            want = rows @ mixed @ columns.T if got.ndim == 2 else rows @ mixed
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize(
    ("depth", "blocks"), [("stack", [0, 1, 0, 1]), ("interleave", [0, 0, 1, 1])]
)
def test_maps_begin_as_selections_and_mixtures_as_a_list_of_blocks(depth, blocks):
    small = replace(MODEL, width=32, depth=2)
    maps = maps_of(small, replace(small, width=64, depth=4), depth)
    for name, tensor in maps.items():
        if name.startswith("mix."):
            assert tensor.argmax(1).tolist() == blocks
            torch.testing.assert_close(tensor.sum(1), torch.ones(4, dtype=tensor.dtype))
        else:
            assert (tensor == 1).sum(1).tolist() == [1] * len(tensor)
            noise = (tensor * (tensor != 1)).norm(dim=1)
            assert noise.mean() == pytest.approx(0.03, rel=0.15)
    for block in range(4):
        q, k, v = (maps[f"{block}.{part}"].argmax(1) for part in "qkv")
        assert torch.equal(q, k)
        assert torch.equal(q, v)
        heads = q.view(-1, small.head_size) - torch.arange(small.head_size)
        assert (heads == heads[:, :1]).all()  # whole heads, in order
        assert (heads[:, 0] % small.head_size == 0).all()


def test_learning_repairs_the_badly_scaled_start():
    source = train(RUN, start_of(RUN)).weights
    kept = {name: tensor.clone() for name, tensor in source.items()}
    unlearned, learned = grow(source, steps=0), grow(source, steps=30)
    assert loss(learned) < loss(unlearned) - 0.3
    assert loss(learned) < loss(start_of(replace(RUN, model=BIG))) - 0.3
    assert all(torch.equal(source[name], kept[name]) for name in source)
    assert not any(tensor.requires_grad for tensor in learned.values())


def test_the_same_generator_state_learns_the_same_maps():
    source = start_of(RUN)
    with torch.no_grad():  # learns where its caller does not
        once = grow(source, steps=3)
    again = grow(source, steps=3)
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert not torch.equal(once["embed.weight"], grow(source, steps=4)["embed.weight"])


def test_depth_alone_learns_mixtures_alone():
    source = start_of(RUN)
    big = replace(MODEL, depth=2)
    grown = grow(source, big, steps=3)
    assert torch.equal(grown["embed.weight"], source["embed.weight"])
    maps = maps_of(MODEL, big)
    assert {name for name, tensor in maps.items() if tensor.numel()} == {
        name for name in maps if name.startswith("mix.")
    }


def stream_gradient(width: int, rules: str) -> float:
    """Norm of the loss's gradient in the residual stream's map, before it is learned."""
    base = ModelSpec(width=16, depth=2, head_size=8, context=8, vocab_size=13)
    small, big = replace(base, width=width), replace(base, width=2 * width)
    ours, theirs = (parametrization(rules).rules(model, base) for model in (small, big))
    source, target = Decoder(small, ours.multipliers), Decoder(big, theirs.multipliers)
    norms = []
    for seed in range(4):
        rng = torch.Generator().manual_seed(seed)
        weights = {
            name: tensor * forward_factor(name, source, target, ".attention.q.")
            for name, tensor in initial_weights(small, ours, 0.1, seed, torch.float64).items()
        }
        maps = ligo.initial_maps(small, big, rng, "stack")
        maps["stream"].requires_grad_()
        tokens = torch.randint(13, (1, 4, 9), generator=rng)
        row = flatten(big, ligo.apply(maps, weights, small, big))[None]
        loss = cross_entropy(target.logits(row, tokens[..., :-1]), tokens[..., 1:]).sum()
        norms.append(float(torch.autograd.grad(loss, maps["stream"])[0].norm()))
    return sum(norms) / len(norms)


def test_under_mup_one_rate_serves_all_widths():
    assert stream_gradient(128, "mup") == pytest.approx(stream_gradient(32, "mup"), rel=0.15)
    assert stream_gradient(128, "sp") > 4 * stream_gradient(32, "sp")


def test_what_it_costs_and_what_is_its_users_to_set():
    assert ENTRY.params[ENTRY.learning_steps] == 100
    assert "batches" not in ENTRY.params


def test_what_cannot_be_learned_is_refused():
    with pytest.raises(UserError, match="head_size must stay 8, not 4"):
        check_growth(ENTRY, MODEL, replace(MODEL, width=32, head_size=4), {})
