"""What a step takes at once: planned, as measured, and of no effect but rounding."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import RUN, job_of, skewed_tokens, start_of, vary
from torch.nn import functional as F

from mugrow.bench import run
from mugrow.bench.chunked_loss import chunked_cross_entropy
from mugrow.bench.endless import endless_run, endless_steps
from mugrow.bench.growth import During
from mugrow.bench.memory import allocated, measured_bytes
from mugrow.bench.model import Decoder, count, cross_entropy, flatten, fused
from mugrow.bench.run import _resume, _save_state, _split, _token_room
from mugrow.bench.spec import ModelSpec, UserError, llama
from mugrow.bench.split import (
    Split,
    bytes_of,
    chunk_tokens,
    kept_bytes,
    most_members,
    peak_bytes,
    planned,
)
from mugrow.bench.stack import Stack, StackState, begin
from mugrow.bench.train import advance, train

GPT2 = ModelSpec(width=64, depth=4, context=64)
LLAMA = llama(width=64, depth=4, head_size=16, context=64, kv_heads=2)
MEMBERS = [RUN, vary(lr=2**-4, weight_decay=0.5), vary(seed=1, data_seed=3)]


# --- the plan ------------------------------------------------------------------------------------

SHAPES = {
    "gpt2": (GPT2, 8, Split(2, 8), "float32"),
    "part of a batch": (GPT2, 8, Split(1, 2), "float32"),
    "recomputed": (replace(GPT2, depth=8), 8, Split(2, 8, recompute=True), "float32"),
    "llama": (LLAMA, 8, Split(2, 8), "float32"),
    "bf16": (LLAMA, 8, Split(2, 8), "bf16"),
    "vocabulary": (replace(GPT2, depth=2, vocab_size=4000), 8, Split(2, 8), "float32"),
    "chunked": (replace(GPT2, width=32, depth=2, vocab_size=33000), 16, Split(2, 16), "float32"),
    "weights": (replace(GPT2, width=256, depth=1, context=16), 1, Split(2, 1), "float32"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_plan_is_within_15_percent_of_what_a_step_allocates(name, monkeypatch):
    """Two members, as torch's profiler counts the allocations of the real trainer's second step."""
    model, sequences, split, precision = SHAPES[name]
    monkeypatch.setattr("mugrow.bench.train.GROUP_BYTES", 1 << 40)
    monkeypatch.setattr("mugrow.bench.train.ALONE_WIDTH", 1 << 20)
    runs = [replace(endless_run(model, sequences, seed), precision=precision) for seed in (0, 1)]
    kept, peak = measured_bytes(lambda: endless_steps(runs, split=split))
    assert 2 * kept_bytes(runs[0]) == pytest.approx(kept, rel=0.02)
    assert peak_bytes(runs[0], 2, split) == pytest.approx(peak, rel=0.15)
    assert peak > 1.2 * kept  # more than the state, which is easily counted


def large_run(model: ModelSpec, sequences: int):
    return replace(endless_run(model, sequences), log_every=1)


def test_a_study_of_361_gb_of_logits_fits_80_gb():
    """14 members of 125M parameters on 64 sequences of 2048 tokens."""
    model = ModelSpec(width=768, depth=12, head_size=64, context=2048, vocab_size=49152, tied=True)
    spec = large_run(model, 64)
    logits = 14 * 64 * 2048 * 49152 * 4
    assert logits == pytest.approx(361e9, rel=0.01)
    assert count(model)[0] == pytest.approx(125e6, rel=0.02)
    split = planned(spec, 14, 80e9)
    assert split.members == 1
    assert 1 < split.sequences < 64
    assert peak_bytes(spec, 14, split) <= 80e9 < peak_bytes(spec, 14, replace(split, sequences=64))
    redone = planned(spec, 14, 80e9, recompute=True)
    assert redone.sequences * redone.members > 2 * split.sequences
    chunk = chunk_tokens(model, 1)
    assert chunk is not None
    assert chunk * 49152 * 4 <= 2**26
    assert peak_bytes(spec, 14, Split(14, 64)) > 300e9  # even without any logits


def test_the_split_is_the_largest_that_fits_the_budget():
    spec = large_run(GPT2, 8)
    for budget in np.linspace(
        peak_bytes(spec, 4, Split(1, 1)), peak_bytes(spec, 4, Split(4, 8)), 9
    ):
        split = planned(spec, 4, budget)
        assert peak_bytes(spec, 4, split) <= budget
        more = replace(split, sequences=split.sequences + 1)
        if split.sequences == 8:
            more = replace(split, members=split.members + 1)
        assert more.members == 5 or peak_bytes(spec, 4, more) > budget
    assert planned(spec, 4, 1e12) == Split(4, 8)


@pytest.mark.parametrize("vocabulary", [256, 33000])
def test_the_most_members_are_those_that_still_fit_whole(vocabulary):
    spec = large_run(replace(GPT2, vocab_size=vocabulary), 8)
    for members in (1, 2, 7):
        enough = peak_bytes(spec, members, Split(members, 8))
        assert most_members(spec, enough) == members
        assert most_members(spec, enough - 1) == max(1, members - 1)
    assert most_members(spec, 4 * enough, recompute=True) > most_members(spec, 4 * enough)
    assert most_members(spec, enough, ranks=2) > 7


def test_what_does_not_fit_is_refused_with_what_would():
    spec = large_run(replace(GPT2, depth=8), 8)
    one, less = (peak_bytes(spec, 1, Split(1, 1, redo)) for redo in (False, True))
    between = (one + less) / 2
    with pytest.raises(UserError, match=r"of width 64 and depth 8 takes .* one sequence of 64 tok"):
        planned(spec, 1, 1e5)
    with pytest.raises(UserError, match=r"more than .*; with recompute it takes"):
        planned(spec, 1, between)
    assert planned(spec, 1, between, recompute=True).sequences >= 1
    with pytest.raises(UserError, match=r"a stack of 9 members .* holds 3: lower stack_width"):
        planned(spec, 9, peak_bytes(spec, 3, Split(1, 1)) * 1.01)


@pytest.mark.parametrize("text", ["", "GB", "40", "-1GB", "nanGB", "0MB"])
def test_a_size_has_a_unit(text):
    assert bytes_of("40GB") == bytes_of("40e3mb") == 4e10
    with pytest.raises(UserError, match="is not a size above 0 with its unit, as 40GB"):
        bytes_of(text)


# --- a split changes nothing but rounding --------------------------------------------------------


def trained(split: Split | None, *specs, **stack: object) -> StackState:
    stack_ = Stack(specs, split=split, **stack)
    return train(stack_, [start_of(spec) for spec in specs], skewed_tokens())


DOUBLE = [replace(spec, dtype="float64") for spec in MEMBERS]


@pytest.mark.parametrize("split", [Split(3, 3), Split(2, 1), Split(1, 4, recompute=True)])
def test_parts_of_a_stack_and_of_a_batch_train_as_the_whole(split):
    """Four sequences, so that the last micro-batch of three is shorter."""
    whole, parts = trained(None, *DOUBLE), trained(split, *DOUBLE)
    difference = whole.optimizer.weights_KP - parts.optimizer.weights_KP
    assert difference.abs().max() < 1e-9
    for ours, theirs in zip(parts.curves, whole.curves, strict=True):
        assert ours[0]["val_loss"] == pytest.approx(theirs[0]["val_loss"], rel=1e-9)
        for row, other in zip(ours[1:], theirs[1:], strict=True):
            for name in ("train_loss", "val_loss", "grad_norm"):
                assert row[name] == pytest.approx(other[name], rel=1e-9)


def test_gradients_of_micro_batches_add_up_to_the_batchs_in_float32():
    """With a rate of 0, the norm and the loss of every step are of the start's gradient."""
    still = [vary(spec, lr=0, log_every=1) for spec in MEMBERS]
    whole, parts = trained(None, *still), trained(Split(3, 1), *still)
    for ours, theirs in zip(parts.curves, whole.curves, strict=True):
        for row, other in zip(ours[1:], theirs[1:], strict=True):
            assert row["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-6)
            assert row["train_loss"] == pytest.approx(other["train_loss"], rel=1e-6)


def test_what_a_method_does_meanwhile_is_done_in_micro_batches_too():
    def noisy(weights, t, rng):
        by = 1.0 if rng is None else 1 + 0.1 * torch.rand((), generator=rng)
        return {name: tensor * by for name, tensor in weights.items()}

    whole, parts = (
        trained(split, DOUBLE[0], during=During(used=noisy)) for split in (None, Split(1, 1))
    )
    difference = whole.optimizer.weights_KP - parts.optimizer.weights_KP
    assert difference.abs().max() < 1e-9


def test_recomputed_activations_are_the_same_bits():
    kept, again = trained(Split(3, 4), *MEMBERS), trained(Split(3, 4, recompute=True), *MEMBERS)
    assert kept.curves == again.curves
    assert torch.equal(kept.optimizer.weights_KP, again.optimizer.weights_KP)


# --- the loss in chunks --------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 3, 5, 100])
@pytest.mark.parametrize("biased", [True, False])
def test_the_loss_in_chunks_is_torchs_with_its_gradients(chunk, biased):
    rng = torch.Generator().manual_seed(0)
    K, N, D, V = 2, 7, 4, 11
    n, w, b = (
        torch.randn(K, *shape, generator=rng, dtype=torch.float64).requires_grad_()
        for shape in ((N, D), (V, D), (V,))
    )
    targets = torch.randint(V, (K, N), generator=rng)
    given = [n, w, b] if biased else [n, w]
    found = chunked_cross_entropy(n, w, b if biased else None, targets, chunk)
    logits = n @ w.mT + (b[:, None] if biased else 0)
    expected = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none").mean(1)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    by = torch.tensor([1.0, 3.0], dtype=torch.float64)
    ours, theirs = (torch.autograd.grad((loss * by).sum(), given) for loss in (found, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_model_has_the_same_loss_in_chunks(precision, tied):
    model = replace(RUN.model, tied=tied)
    spec = replace(RUN, model=model, base=replace(RUN.base, tied=tied))
    decoder = Decoder(model, precision=precision)
    tokens = torch.randint(32, (1, 3, 9), generator=torch.Generator().manual_seed(0))
    results = []
    for chunk in (None, 5):
        flat = flatten(model, start_of(spec))[None].requires_grad_()
        loss = decoder.losses_of(fused(model, flat), tokens, chunk)
        results.append((loss.detach(), *torch.autograd.grad(loss.sum(), flat)))
    (whole, gradient), (parts, other) = results
    rounding = 1e-6 if precision == "float32" else 2**-8
    torch.testing.assert_close(parts, whole, rtol=rounding, atol=0)
    assert (gradient - other).norm() < 2 * rounding * gradient.norm()
    logits = decoder.logits(flat, tokens[..., :-1])
    torch.testing.assert_close(whole, cross_entropy(logits, tokens[..., 1:]).detach())


def test_logits_of_a_large_vocabulary_never_exist_whole():
    model = replace(GPT2, width=16, depth=1, context=128, vocab_size=32768)
    assert chunk_tokens(replace(model, vocab_size=32767), 1) is None
    step = endless_steps([endless_run(model, 16)])
    step()
    assert allocated(step).peak < 0.9 * 16 * 128 * 32768 * 4


# --- the split is the stack's --------------------------------------------------------------------


def test_a_saved_stack_keeps_its_split_whatever_the_budget_is_then(tmp_path):
    stack = Stack([RUN], split=Split(1, 3))
    start, path = [start_of(RUN)], tmp_path / "stack.safetensors"
    whole, state = train(stack, start, skewed_tokens()), begin(stack, start)
    for _ in zip(range(7), advance(stack, state, skewed_tokens()), strict=False):
        pass
    _save_state(path, stack, state)
    other = replace(stack, split=Split(1, 1))
    resumed = _resume(path, other)
    assert resumed is not None
    assert resumed.split == Split(1, 3)
    for _ in advance(other, resumed, skewed_tokens()):
        pass
    assert resumed.curves == whole.curves
    assert torch.equal(resumed.optimizer.weights_KP, whole.optimizer.weights_KP)


def test_a_job_plans_by_the_budget_that_it_states(tmp_path):
    job = job_of(tmp_path, "skewed", tuple(MEMBERS))
    assert _split(job, 3) is None
    assert _split(replace(job, recompute=True), 3) == Split(3, 4, recompute=True)
    budget = peak_bytes(RUN, 3, Split(1, 2))
    assert _split(replace(job, memory_bytes=budget), 3) == Split(1, 2)


def test_a_gpus_whole_memory_is_the_budget_where_none_is_stated(tmp_path, monkeypatch):
    budget = peak_bytes(RUN, 3, Split(1, 2))
    monkeypatch.setattr(run, "memory_budget", {"cuda:1": budget, "cpu": None}.__getitem__)
    job = job_of(tmp_path, "skewed", tuple(MEMBERS), device="cuda:1")
    assert _split(job, 3) == Split(1, 2)
    assert _token_room(job, 3, Split(1, 2)) == 0
    assert _token_room(replace(job, memory_bytes=budget + 100), 3, Split(1, 2)) == 100
    assert _token_room(replace(job, device="cpu"), 3, None) == float("inf")
