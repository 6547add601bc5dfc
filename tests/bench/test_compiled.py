"""Compiled or not, a stack trains the same but for rounding, and goes on as it began.

What torch's compiler does to the traced program is torch's affair: in all tests but the last the
program runs as it was traced.
"""

from dataclasses import replace

import pytest
import torch
from small_runs import RUN, skewed_tokens, start_of, vary

from mugrow.bench import compiled
from mugrow.bench.compiled import break_even_tokens, check_compiler, how, loss_and_gradient, why_not
from mugrow.bench.growth import During
from mugrow.bench.model import Decoder, Multipliers, count, fused
from mugrow.bench.run import _resume, _save_state
from mugrow.bench.spec import UserError, llama
from mugrow.bench.split import Split
from mugrow.bench.stack import Stack, StackState, begin
from mugrow.bench.train import advance, train

MEMBERS = [RUN, vary(lr=2**-4, weight_decay=0.5), vary(seed=1, data_seed=3)]


@pytest.fixture(scope="module")
def as_traced():
    compiled._made.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda traced, **_: traced)
        yield
    compiled._made.cache_clear()


def trained(specs=MEMBERS, **stack: object) -> StackState:
    return train(Stack(specs, **stack), [start_of(spec) for spec in specs], skewed_tokens())


def assert_same_but_for_rounding(ours: StackState, theirs: StackState) -> None:
    for one, other in zip(ours.curves, theirs.curves, strict=True):
        for row, expected in zip(one, other, strict=True):
            for name in ("train_loss", "val_loss", "grad_norm"):
                assert (row[name] is None) == (expected[name] is None)
                if row[name] is not None:
                    assert row[name] == pytest.approx(expected[name], rel=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_program_gives_loss_and_gradient_and_adds_parts_of_a_batch(as_traced, precision):
    spec = llama(width=16, depth=1, head_size=8, context=8, vocab_size=32, mlp_ratio=2.0)
    decoder = Decoder(spec, Multipliers(output=0.5), precision=precision)
    rng = torch.Generator().manual_seed(0)
    flat = 0.3 * torch.randn(1, count(spec)[0], generator=rng)
    tokens = torch.randint(32, (1, 4, 9), generator=rng)
    weights = flat.clone().requires_grad_()
    expected = decoder.losses_of(fused(spec, weights), tokens, None)
    expected.sum().backward()
    gradient = torch.full_like(flat, float("nan"))
    parts = [
        loss_and_gradient(decoder, flat, part, gradient, 0.5, first=i == 0)
        for i, part in enumerate(tokens.split(2, dim=1))
    ]
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if precision == "float32" else {"rtol": 0.05}
    assert sum(parts).item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(gradient, weights.grad, **({"atol": 1e-3} | tolerance))
    assert weights.grad.abs().max() > 0.01


@pytest.mark.parametrize("split", [None, Split(2, 3)])
def test_a_compiled_stack_trains_as_the_eager_one(as_traced, split):
    ours = trained(compiled=True, split=split)
    assert_same_but_for_rounding(ours, trained())
    assert ours.curves[0] != trained().curves[0]  # it is another program


def test_two_threads_train_as_one(as_traced):
    one = trained(compiled=True)
    torch.set_num_threads(2)
    try:
        two = trained(compiled=True)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(one.optimizer.weights_KP, two.optimizer.weights_KP)


def test_a_member_trains_the_same_bits_whoever_is_beside_it(as_traced):
    alone, beside = trained(MEMBERS[1:2], compiled=True), trained(compiled=True)
    assert torch.equal(alone.optimizer.weights_KP[0], beside.optimizer.weights_KP[1])


def test_a_stack_goes_on_as_it_began_whatever_is_asked_for_then(as_traced, tmp_path):
    whole, path = trained(compiled=True), tmp_path / "stack.safetensors"
    stack = Stack(MEMBERS, compiled=True)
    state = begin(stack, [start_of(spec) for spec in MEMBERS])
    for _ in zip(range(7), advance(stack, state, skewed_tokens()), strict=False):
        pass
    _save_state(path, stack, state)
    other = replace(stack, compiled=False)
    resumed = _resume(path, other)
    assert resumed is not None
    assert resumed.compiled
    for _ in advance(other, resumed, skewed_tokens()):
        pass
    assert resumed.curves == whole.curves
    assert torch.equal(resumed.optimizer.weights_KP, whole.optimizer.weights_KP)


def test_what_acts_on_weights_or_norms_is_not_compiled():
    assert why_not(None, None) is None
    assert why_not(During(rates=lambda t: {}), Split(1, 1)) is None
    assert why_not(During(used=lambda weights, t, rng: weights), None) is not None
    assert why_not(During(norm_mask=lambda t: None), None) is not None
    assert why_not(None, Split(1, 1, recompute=True)) is not None


def test_a_rate_for_every_coordinate_is_heeded(as_traced):
    rates = During(rates=lambda t: {"head.weight": 0.0})
    state = trained([RUN], compiled=True, during=rates)
    assert_same_but_for_rounding(state, trained([RUN], during=rates))
    head = start_of(RUN)["head.weight"]
    assert torch.equal(state.optimizer.weights_KP[0, -head.numel() :], head.reshape(-1))


def test_a_gpu_replays_a_graph_of_all_kernels(monkeypatch):
    import torch._inductor

    assert how("cuda:1", 4) == {"mode": "reduce-overhead"}
    assert torch._inductor.list_mode_options("reduce-overhead")["triton.cudagraphs"]
    assert how("cpu", 4) == {"options": {"cpp.threads": 4, "compile_threads": 1}}
    told = []
    monkeypatch.setattr(torch, "compile", lambda program, **how: told.append(how) or program)
    compiled._made.__wrapped__(
        Decoder(RUN.model, Multipliers()), (1, 4, 9), torch.float32, "cpu", 2
    )
    (made,) = told
    assert made == {"fullgraph": True, "dynamic": False, **how("cpu", 2)}


def test_without_a_compiler_it_is_refused_in_one_line(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(
        UserError, match=r"needs the C\+\+ compiler 'no-such-compiler', which is not"
    ):
        check_compiler()


def test_a_deeper_model_wins_it_back_sooner():
    """Its tracing is paid once, whatever its depth."""
    deep, shallow = (
        break_even_tokens(vary(model=replace(RUN.model, depth=depth))) for depth in (8, 1)
    )
    assert shallow / 8 < deep < shallow


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's, of torch
def test_torchs_compiler_changes_nothing_but_rounding(tmp_path, monkeypatch):
    """With a cache of its own, so that something is compiled; and bit for bit the same again."""
    check_compiler()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    compiled._made.cache_clear()
    ours = trained(compiled=True)
    assert_same_but_for_rounding(ours, trained())
    assert list(tmp_path.rglob("*.so"))
    compiled._made.cache_clear()
    torch.compiler.reset()
    assert trained(compiled=True).curves == ours.curves
