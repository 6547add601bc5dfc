"""Evaluations against what they must be at the ends of their ranges, and against small examples."""

import math
from dataclasses import replace

import pytest
import torch

from mugrow.bench.evaluation import EvaluationSpec, Model, evaluation, loss_of, matrices, names
from mugrow.bench.evaluation.compress import pruned, rounded
from mugrow.bench.evaluation.observe import attended, rank, rank_and_mass
from mugrow.bench.model import Decoder, cross_entropy
from mugrow.bench.parametrization import initial_weights, rules_of
from mugrow.bench.spec import DataSpec, ModelSpec, UserError, llama

SHAPE = llama(width=16, depth=2, head_size=8, context=12, vocab_size=29)
WINDOWS = torch.randint(29, (130, 13), generator=torch.Generator().manual_seed(0))


def model(shape: ModelSpec = SHAPE, seed: int = 0) -> Model:
    rules = rules_of("sp", shape, shape)
    weights = initial_weights(shape, rules, 0.3, seed, torch.float64)
    return Model(Decoder(shape, rules.multipliers), weights)


def numbers(kind: str, *models: Model, **params: float) -> dict[str, float]:
    with torch.no_grad():
        return evaluation(kind).evaluate(models, WINDOWS, **params)


def plain_loss(one: Model) -> float:
    logits = one.decoder(one.weights, WINDOWS[:, :-1])
    return float(cross_entropy(logits[None], WINDOWS[None, :, 1:]))


def test_a_loss_is_the_mean_over_all_targets():
    one = model()
    assert numbers("loss", one)["loss"] == pytest.approx(plain_loss(one), rel=1e-12)
    uniform = loss_of(lambda tokens: torch.zeros(*tokens.shape, 29), WINDOWS)
    assert uniform == pytest.approx(math.log(29), rel=1e-6)


@pytest.mark.parametrize(("share", "at"), [(0.0, 0), (1.0, 1)])
def test_interpolation_ends_at_its_models(share, at):
    both = model(seed=0), model(seed=1)
    assert numbers("interpolate", *both, share=share)["loss"] == pytest.approx(
        plain_loss(both[at]), rel=1e-12
    )


def test_interpolation_is_of_weights():
    one, other = model(seed=0), model(seed=1)
    middle = {name: (w + other.weights[name]) / 2 for name, w in one.weights.items()}
    expected = plain_loss(one._replace(weights=middle))
    assert numbers("interpolate", one, other)["loss"] == pytest.approx(expected, rel=1e-12)
    with pytest.raises(UserError, match="different shapes"):
        numbers("interpolate", one, model(replace(SHAPE, width=32)))


def test_emulation_of_the_small_model_is_its_fine_tuning():
    base, tuned, large = model(seed=0), model(seed=1), model(replace(SHAPE, width=32))
    assert numbers("emulate", base, base, tuned)["loss"] == pytest.approx(plain_loss(tuned))
    assert numbers("emulate", large, base, base)["loss"] == pytest.approx(plain_loss(large))
    assert numbers("emulate", large, base, tuned, strength=0)["loss"] == pytest.approx(
        plain_loss(large)
    )
    logits = [one.decoder(one.weights, WINDOWS[:, :-1]) for one in (large, base, tuned)]
    sum_ = logits[0] + 0.5 * (logits[2] - logits[1])
    expected = float(cross_entropy(sum_[None], WINDOWS[None, :, 1:]))
    assert numbers("emulate", large, base, tuned, strength=0.5)["loss"] == pytest.approx(expected)
    with pytest.raises(UserError, match="different vocabularies"):
        numbers("emulate", large, base, model(replace(SHAPE, vocab_size=31)))


def test_no_compression_leaves_the_model_as_it_is():
    one = model()
    found = numbers("compress", one)
    assert found["loss"] == pytest.approx(plain_loss(one), rel=1e-12)
    assert found["bytes"] == 4 * sum(w.numel() for w in one.weights.values())


def test_bytes_count_what_is_left():
    one = model()
    hidden = sum(w.numel() for _, w in matrices(one.weights))
    rows = sum(len(w) for _, w in matrices(one.weights))
    others = sum(w.numel() for w in one.weights.values()) - hidden
    assert numbers("compress", one, bits=8)["bytes"] == 4 * others + hidden + 4 * rows
    half = numbers("compress", one, sparsity=0.5)["bytes"]
    assert half == 4 * others + hidden / 8 + 4 * hidden / 2
    both = numbers("compress", one, sparsity=0.5, bits=4)["bytes"]
    assert both == 4 * others + hidden / 8 + hidden / 4 + 4 * rows


def test_pruning_zeroes_the_smallest():
    weight = torch.tensor([[3.0, -1.0], [0.5, -4.0]])
    assert pruned(weight, 0.5).tolist() == [[3.0, 0.0], [0.0, -4.0]]
    assert pruned(weight, 0).tolist() == weight.tolist()


def test_rounding_is_to_the_nearest_level():
    weight = torch.randn(5, 64, generator=torch.Generator().manual_seed(0)).double()
    for bits in (2, 4, 8):
        step = weight.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
        error = (rounded(weight, bits) - weight).abs()
        assert (error <= step / 2 + 1e-12).all()
        assert all(len(row.unique()) <= 2**bits - 1 for row in rounded(weight, bits))
    assert rounded(torch.zeros(2, 3), 4).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize(
    "params", [{"sparsity": 1.0}, {"sparsity": -0.1}, {"bits": 1}, {"bits": 2.5}]
)
def test_compressions_that_are_none_are_refused(params):
    with pytest.raises(UserError, match=r"not|sparsity"):
        numbers("compress", model(), **params)


def test_attention_to_one_position_has_rank_one_and_all_mass():
    T = 8
    first = torch.zeros(1, 1, T, T)
    first[..., 0] = 50.0
    attention, largest = attended(first)
    assert rank_and_mass(attention) == pytest.approx((1 / T, 1.0))
    assert largest == 50.0
    diagonal, _ = attended(torch.eye(T)[None, None] * 50.0)
    rank, mass = rank_and_mass(diagonal)
    assert rank == 1.0  # 8 equal singular values: 7 hold 87.5 %
    assert mass == pytest.approx(1 / T)
    future = torch.full((1, 1, T, T), 99.0).triu(1)
    assert attended(future)[1] == 0.0  # what is not seen does not count


def test_every_module_is_observed():
    found = numbers("observe", model())
    for block in ("blocks.0", "blocks.1"):
        assert 0 < found[f"rank/{block}"] <= 1
        assert found[f"activation/{block}"] > 0
    spectral = found["spectral/blocks.0.mlp.up"]
    weight = model().weights["blocks.0.mlp.up.weight"]
    outs, ins = weight.shape
    assert spectral == pytest.approx(float(torch.linalg.svdvals(weight)[0]) * (ins / outs) ** 0.5)
    assert 0 < found["weight_rank/blocks.0.mlp.up"] <= 1


def test_rank_counts_the_singular_values_that_hold_the_share():
    assert rank(torch.tensor([[3.0, 1.0, 0.0], [1.0, 1.0, 1.0]])).tolist() == [1, 3]
    clones = torch.randn(8, 8).repeat(2, 2)
    assert int(rank(torch.linalg.svdvals(clones))) <= 8


def test_an_evaluations_id_is_of_everything_that_decides_it():
    data = DataSpec(corpus="a", corpus_sha256="0")
    spec = EvaluationSpec(kind="loss", run_ids=("a",), data=data)
    others = [
        replace(spec, kind="compress"),
        replace(spec, run_ids=("b",)),
        replace(spec, data=replace(data, val_tokens=64)),
        replace(spec, params=(("share", 0.5),)),
    ]
    assert len({one.evaluation_id for one in (spec, *others)}) == 5
    assert spec.evaluation_id == "782bb231cfde478f"  # as ever: committed tables have it
    assert set(names()) >= {"loss", "interpolate", "emulate", "compress", "observe"}
