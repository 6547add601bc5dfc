"""bf16 and tf32 are of products alone, and what is exact in theory holds within their rounding."""

from dataclasses import replace

import pytest
import torch
from small_runs import BASE, RUN, skewed_tokens, start_of, vary

from mugrow.bench.coordcheck import coordcheck
from mugrow.bench.growth import method
from mugrow.bench.model import Decoder, cross_entropy, flatten, parameters
from mugrow.bench.parametrization import rules_of
from mugrow.bench.precision import float32_products
from mugrow.bench.spec import ModelSpec, RunSpec, UserError, llama
from mugrow.bench.stack import Stack, StackState, begin, stack_key
from mugrow.bench.switches import tell_products, told_products
from mugrow.bench.train import advance, train

ROUNDING = 2**-9
LOW = vary(precision="bf16")
GPT2 = ModelSpec(width=32, depth=2, head_size=8, context=16, vocab_size=64)
MODELS = {
    "gpt2": GPT2,
    "tied": replace(GPT2, tied=True, parallel=True),
    "llama": llama(width=32, depth=2, head_size=8, context=16, vocab_size=64, kv_heads=2),
    "qk_norm": replace(GPT2, qk_norm=True, window=4, norm="rmsnorm"),
}


def trained(*specs: RunSpec) -> StackState:
    return train(Stack(specs), [start_of(spec) for spec in specs], skewed_tokens())


def losses(state: StackState, member: int = 0) -> list[float]:
    return [float(row["val_loss"] or 0) for row in state.curves[member]]


# --- identity ------------------------------------------------------------------------------------


def test_it_is_identity_and_float32_names_no_run_anew():
    assert vary(precision="float32").run_id == RUN.run_id
    assert len({RUN.run_id, LOW.run_id, vary(precision="tf32").run_id}) == 3
    assert stack_key(LOW) != stack_key(RUN)


def test_what_there_is_not_is_refused():
    with pytest.raises(UserError, match="unknown precision 'bf61'; did you mean 'bf16'"):
        vary(precision="bf61")
    with pytest.raises(UserError, match="precision 'bf16' is of runs in float32; with dtype 'floa"):
        vary(precision="bf16", dtype="float64")
    with pytest.raises(UserError, match="unknown precision 'tf23'"):
        coordcheck("mup", precision="tf23")


@pytest.mark.parametrize(
    ("precision", "device", "onednn", "told"),
    [
        ("float32", "cuda", True, "highest"),
        ("bf16", "cuda", False, "highest"),
        ("tf32", "cuda:1", False, "high"),
        ("tf32", "cpu", False, "highest"),
        ("float32", "cpu", True, "medium"),
    ],
)
def test_products_of_float32_are_told_and_put_back(precision, device, onednn, told):
    """Torch must go on to say one precision of all products: its compiler asks for it."""
    with float32_products(precision, device, onednn=onednn):
        assert torch.get_float32_matmul_precision() == told
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.backends.cuda.matmul.fp32_precision == "none"
    assert torch.backends.mkldnn.matmul.fp32_precision == "none"


@pytest.mark.parametrize(("device", "onednn"), [("cuda", False), ("cpu", True)])
def test_products_that_were_told_apart_are_so_again(device, onednn):
    """Torch says no precision of all then, and `allow_tf32` what was told by its old name."""
    torch.set_float32_matmul_precision("medium")
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        before = told_products()
        assert before[0] is None
        with float32_products("float32", device, onednn=onednn):
            ours = torch.backends.cuda if device == "cuda" else torch.backends.mkldnn
            assert ours.matmul.fp32_precision == ("bf16" if onednn else "ieee")
        assert told_products() == before
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.set_float32_matmul_precision("highest")
        tell_products(("highest", ("none",) * 4))


# --- what is rounded, and what is not ------------------------------------------------------------


def loss_and_gradient(decoder: Decoder) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    spec = decoder.spec
    size = sum(torch.Size(shape).numel() for shape, _ in parameters(spec).values())
    flat_1P = (0.2 * torch.randn(1, size, generator=rng)).requires_grad_()
    tokens = torch.randint(spec.vocab_size, (1, 4, spec.context + 1), generator=rng)
    logits = decoder.logits(flat_1P, tokens[..., :-1])
    assert logits.dtype == torch.float32
    loss = cross_entropy(logits, tokens[..., 1:])
    (gradient,) = torch.autograd.grad(loss.sum(), flat_1P)
    assert gradient.dtype == torch.float32
    return loss.detach(), gradient


@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradient_are_those_of_float32_within_rounding(name):
    loss, gradient = loss_and_gradient(Decoder(MODELS[name]))
    low_loss, low_gradient = loss_and_gradient(Decoder(MODELS[name], precision="bf16"))
    assert 0 < (loss - low_loss).abs() < 4 * ROUNDING
    error = (gradient - low_gradient).norm() / gradient.norm()
    assert ROUNDING / 4 < error < 8 * ROUNDING


def test_statistics_of_norms_are_of_float32():
    """A stream far from zero: rounded to bf16, nothing of what tells its tokens apart is left."""
    run = replace(RUN, model=GPT2, base=GPT2, hyper=replace(RUN.hyper, init_std=1.0))
    weights = start_of(run)
    for name in weights:  # nothing but the embedding is in the stream
        if ".o." in name or ".down." in name or name.startswith("positions"):
            weights[name] = torch.zeros_like(weights[name])
    weights["embed.weight"] += 1000
    tokens = torch.arange(16)[None]
    expected = Decoder(GPT2)(weights, tokens)
    found = Decoder(GPT2, precision="bf16")(weights, tokens)
    scale = expected.std()
    assert expected.std(dim=1).mean() > 0.5 * scale  # its positions do differ
    assert 0 < (found - expected).abs().max() < 8 * ROUNDING * scale


def test_an_update_below_the_last_bit_of_a_weight_counts():
    tiny = vary(LOW, lr=1e-6, weight_decay=0)
    state = trained(tiny)
    moved = state.optimizer.weights_KP[0] - flatten(tiny.model, start_of(tiny))
    assert all(t.dtype == torch.float32 for t in state.optimizer.buffers.values())
    still = moved.abs() < 1e-7
    assert still.float().mean() < 0.05
    assert moved.abs().max() < 1e-4


# --- training ------------------------------------------------------------------------------------


def test_tf32_on_a_cpu_is_float32():
    assert losses(trained(vary(precision="tf32"))) == losses(trained(RUN))


def test_training_ends_within_rounding_of_float32():
    high, low = losses(trained(RUN)), losses(trained(LOW))
    assert high[0] - high[-1] > 0.05  # it learned more than the difference that is allowed
    assert 0 < max(abs(a - b) for a, b in zip(high, low, strict=True)) < 4 * ROUNDING


def test_members_of_a_stack_equal_their_own_runs_within_rounding():
    members = [LOW, vary(LOW, lr=2**-4), vary(LOW, seed=1, data_seed=3)]
    together = trained(*members)
    for member, spec in enumerate(members):
        alone = losses(trained(spec))
        assert losses(together, member) == pytest.approx(alone, abs=2 * ROUNDING)
    assert abs(losses(together, 0)[-1] - losses(together, 1)[-1]) > 4 * ROUNDING


def test_a_stack_goes_on_to_the_same_bits():
    stack, start = Stack([LOW]), [start_of(LOW)]
    whole, state = train(stack, start, skewed_tokens()), begin(stack, start)
    for _ in zip(range(7), advance(stack, state, skewed_tokens()), strict=False):
        pass
    for _ in advance(stack, state, skewed_tokens()):  # a new program
        pass
    assert state.curves == whole.curves
    assert torch.equal(state.optimizer.weights_KP, whole.optimizer.weights_KP)


# --- what holds in theory ------------------------------------------------------------------------


def test_a_growth_that_preserves_the_function_does_within_rounding():
    rules = [rules_of("mup", model, BASE) for model in (BASE, RUN.model)]
    small, big = (
        Decoder(model, one.multipliers, precision="bf16")
        for model, one in zip((BASE, RUN.model), rules, strict=True)
    )
    source, target = start_of(replace(RUN, model=BASE)), start_of(RUN)
    tokens = torch.arange(8)[None]
    logits = small(source, tokens)

    def distance(name: str) -> float:
        grown = method(name).grow(source, small, big, target, torch.Generator())
        return float((big(grown, tokens) - logits).abs().max() / logits.std())

    assert distance("hypercloning") < 8 * ROUNDING
    assert distance("szp") > 0.1


def test_coordinates_keep_their_size_as_they_do_in_float32():
    def slopes(name: str, precision: str) -> dict[tuple[str, str, int], float]:
        rows = coordcheck(
            name, widths=(16, 32, 64), base=16, seeds=range(3), steps=2, precision=precision
        )
        return {(row.kind, row.module, row.step): row.slope for row in rows}

    high, low = slopes("mup", "float32"), slopes("mup", "bf16")
    assert high != low
    assert max(abs(high[row] - low[row]) for row in high) < 0.05
    assert slopes("sp", "bf16")["dx", "head", 2] > max(0.5, low["dx", "head", 2] + 0.3)
