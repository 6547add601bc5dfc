"""Hyperparameters by module: which tensors a multiplier reaches, and what torch makes of it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain

import pytest
import torch
from small_runs import RUN, skewed_tokens, vary
from torch import Tensor, nn

import mugrow.bench.optim.lion as lion
import mugrow.bench.parametrization.sp as sp
from mugrow.bench.model import flatten, parameters, shapes, unflatten
from mugrow.bench.modules import NAMES, by_tensor, touched
from mugrow.bench.optim import Trainer, check_optimizer, optimizer, trainers_of
from mugrow.bench.parametrization import Rules, rules_of
from mugrow.bench.spec import (
    HyperSpec,
    ModelSpec,
    Multiplier,
    RunSpec,
    UserError,
    canonical_json,
    llama,
    run_spec_from_json,
)
from mugrow.bench.stack import Stack, StackState
from mugrow.bench.stacked_optimizer import fresh_state, stacked_optimizer
from mugrow.bench.start import beginning_from
from mugrow.bench.train import train

MODEL = ModelSpec(width=8, depth=3, head_size=4, context=4, vocab_size=8)
PLAIN = HyperSpec(lr=0.01, init_std=0.5, weight_decay=0.1, beta1=0.75, eps=1e-3, clip=0.0)


def with_modules(text: str) -> HyperSpec:
    """``lr.qk:2 eps.head:3`` on top of ``PLAIN``."""
    pairs = (one.split(":") for one in text.split())
    return replace(PLAIN, modules=tuple(Multiplier(name, float(by)) for name, by in pairs))


# --- what is multiplied -------------------------------------------------------------------------


def test_every_tensor_is_of_one_module():
    """And a bias of its matrix's."""
    for model in (replace(MODEL, qk_norm=True), llama(width=8, depth=1, head_size=4)):
        of = {name: touched(model, f"lr.{name}") for name in NAMES["lr"][:-2]}
        assert sorted(chain.from_iterable(of.values())) == sorted(parameters(model))
        assert {name.rpartition(".")[2] for name in of["gains"]} <= {"gain", "bias"}
        assert {name for name in parameters(model) if "norm" in name} == set(of["gains"])
    gpt2 = {name: touched(MODEL, f"lr.{name}") for name in NAMES["lr"]}
    assert gpt2["embedding"] == ["embed.weight", "positions.weight"]
    assert [name for name in gpt2["qk"] if ".1." in name] == [
        f"blocks.1.attention.{part}" for part in ("q.weight", "k.weight", "q.bias", "k.bias")
    ]
    assert gpt2["head"] == ["head.weight"]
    gate = touched(llama(width=8, depth=1, head_size=4), "lr.up")
    assert gate == ["blocks.0.mlp.gate.weight", "blocks.0.mlp.up.weight"]


def test_every_hyperparameter_is_multiplied_where_it_says():
    times = {"lr": 2, "weight_decay": 3, "init_std": 5, "eps": 7, "beta1": 2, "beta2": 4}
    text = " ".join(f"{key}.down:{by}" for key, by in times.items())
    hypers = by_tensor(MODEL, with_modules(text))
    down, other = hypers["blocks.1.mlp.down.bias"], hypers["blocks.1.mlp.up.weight"]
    assert (down.lr, down.weight_decay) == pytest.approx((0.02, 0.3))
    assert (down.init_std, down.eps) == pytest.approx((2.5, 7e-3))
    assert (down.beta1, down.beta2) == pytest.approx((0.5, 0.8))  # 1 - beta is multiplied
    assert other == PLAIN


def test_all_is_every_module_and_multiplies_what_one_has():
    hyper = with_modules("beta1.all:2 beta1.head:1.5")
    found = {name: of.beta1 for name, of in by_tensor(MODEL, hyper).items()}
    forgotten = 1 - PLAIN.beta1
    assert found.pop("head.weight") == pytest.approx(1 - forgotten * 2 * 1.5)
    assert list(found.values()) == pytest.approx([1 - forgotten * 2] * len(found))
    assert set(touched(MODEL, "eps.all")) == set(by_tensor(MODEL, hyper))


def test_a_curve_along_depth_is_there_at_any_depth():
    rates = by_tensor(MODEL, with_modules("lr.depth_slope:2 lr.depth_bend:4"))
    of_blocks = [rates[f"blocks.{i}.norm1.gain"].lr / PLAIN.lr for i in range(3)]
    assert of_blocks == pytest.approx([4 / 2, 4**-0.5, 4 * 2])
    assert rates["embed.weight"].lr == rates["norm.gain"].lr == PLAIN.lr
    five = by_tensor(replace(MODEL, depth=5), with_modules("lr.depth_slope:2"))
    of_blocks = [five[f"blocks.{i}.norm1.gain"].lr / PLAIN.lr for i in range(5)]
    assert of_blocks == pytest.approx([2**x for x in (-1, -0.5, 0, 0.5, 1)])


def test_multipliers_of_one_are_no_identity_and_others_are():
    one = vary(modules=(Multiplier("lr.qk", 1.0), Multiplier("eps.head", 1.0)))
    assert one == RUN
    assert one.run_id == RUN.run_id
    two = vary(modules=(Multiplier("lr.v", 2), Multiplier("lr.qk", 3)))
    assert two.run_id != RUN.run_id
    assert two == vary(modules=(Multiplier("lr.qk", 3.0), Multiplier("lr.v", 2.0)))
    assert run_spec_from_json(canonical_json(two)) == two


@pytest.mark.parametrize(
    ("changes", "name", "message"),
    [
        ({}, "lr.haed", "unknown module for 'lr': 'haed'; did you mean 'head'?"),
        ({}, "rate.head", "unknown hyperparameter of a module 'rate'; there are: "),
        ({}, "init_std.gains", "unknown module for 'init_std': 'gains'; there are: "),
        ({}, "residual.qk", "unknown module for 'residual': 'qk'; there are: attention, "),
        ({}, "lr", "unknown module for 'lr': ''; there are: "),
        ({"tied": True}, "eps.head", "the model has no 'head' for 'eps.head'; the nearest: "
         "'eps.embedding'"),
        ({"depth": 1}, "lr.depth_slope", "the model with 1 blocks has no 'depth_slope' for "),
        ({"depth": 2}, "lr.depth_bend", "the model with 2 blocks has no 'depth_bend' for "
         "'lr.depth_bend'; the nearest: 'lr.depth_slope'"),
        ({}, "beta1.qk", "1 - beta1 must be below 1, not 0.25 times 4; the nearest factor is "
         "below 4"),
    ],
)  # fmt: skip
def test_what_a_model_lacks_is_refused_in_one_line(changes, name, message):
    hyper = replace(PLAIN, modules=(Multiplier(name, 4.0),))
    with pytest.raises(UserError) as refused:
        by_tensor(replace(MODEL, **changes), hyper)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("run", "name"),
    [("lion", "beta1.qk"), ("lion", "eps.head"), ("muon", "beta2.down")],
)
def test_an_optimizer_without_what_is_multiplied_is_refused(run, name):
    model = replace(RUN.model, bias=False)  # biases are AdamW's beside Muon
    times = {"modules": (Multiplier(name, 2.0),)}
    changed = vary(optimizer=run, parametrization="sp", model=model, **times)
    with pytest.raises(UserError, match=f"optimizer '{run}' does not read .*'{name}' would change"):
        check_optimizer(changed)
    right = Multiplier("lr.qk", 2.0), Multiplier("residual.mlp", 2.0)
    check_optimizer(replace(changed, hyper=replace(changed.hyper, modules=right)))
    ends = vary(optimizer="muon", parametrization="sp", modules=(Multiplier("beta1.head", 2.0),))
    check_optimizer(ends)  # AdamW's


def test_one_number_for_all_modules_multiplies_what_each_has():
    times = Multiplier("beta1.all", 2.0), Multiplier("beta1.qk", 0.5), Multiplier("eps.all", 3.0)
    found = by_tensor(MODEL, replace(PLAIN, modules=times))
    assert found["norm.gain"].beta1 == pytest.approx(1 - 2 * (1 - PLAIN.beta1))
    assert found["blocks.0.attention.q.weight"].beta1 == pytest.approx(PLAIN.beta1)
    assert {one.eps for one in found.values()} == {3 * PLAIN.eps}


def test_a_multiplier_of_no_decay_is_refused():
    times = {"modules": (Multiplier("weight_decay.qk", 2.0),)}
    with pytest.raises(UserError, match=r"'weight_decay.qk' would change nothing where hyper"):
        check_optimizer(vary(weight_decay=0.0, **times))
    check_optimizer(vary(weight_decay=0.1, **times))


def test_a_residual_multiplier_needs_steps_that_do_not_see_the_gradients_scale(monkeypatch):
    seeing = replace(lion.OPTIMIZER, step_size="gradient")
    monkeypatch.setattr(lion, "OPTIMIZER", seeing)
    trainers_of.cache_clear()
    times = {"modules": (Multiplier("residual.mlp", 2.0),)}
    with pytest.raises(UserError, match="do not see a gradient's scale, unlike 'lion'"):
        check_optimizer(vary(optimizer="lion", parametrization="sp", **times))
    trainers_of.cache_clear()


# --- what is trained ----------------------------------------------------------------------------

MEMBERS = [
    PLAIN,
    with_modules("lr.qk:4 weight_decay.qk:0.5 eps.head:10 lr.depth_slope:2"),
    with_modules("beta1.embedding:2 beta2.down:3 lr.head:0.5 beta1.depth_bend:1.5"),
    with_modules("residual.mlp:3 eps.gains:0.1 lr.gains:0.25"),
]  # fmt: skip
STEPS = 6


def normal_KP(seed: int) -> Tensor:
    size = sum(math.prod(shape) for shape in shapes(MODEL).values())
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(len(MEMBERS), size, generator=rng, dtype=torch.float64)


def stepped(like: Tensor, *, fused: bool = False) -> Tensor:
    """Weights ``(K, P)`` of all members after a step on each gradient."""
    adamw = stacked_optimizer(
        shapes(MODEL),
        rules_of("mup", MODEL, replace(MODEL, width=4)),
        dict.fromkeys(parameters(MODEL), Trainer(optimizer("adamw"), {})),
        [by_tensor(MODEL, hyper) for hyper in MEMBERS],
        like,
    )
    state = fresh_state(normal_KP(0).to(like), "mv")
    for step in range(STEPS):
        gradient_KP = 0.01 * normal_KP(100 + step).to(like)
        factor_K1 = torch.ones(len(MEMBERS), 1).to(like)
        if fused:
            adamw.kernel(state, gradient_KP).update(factor_K1)
        else:
            adamw.update(state, gradient_KP, factor_K1)
    return state.weights_KP


def by_torch(member: int) -> Tensor:
    """The same member by ``torch.optim.AdamW`` with a group a tensor; ``(P,)``."""
    rules = rules_of("mup", MODEL, replace(MODEL, width=4)).tensors
    start = unflatten(MODEL, normal_KP(0)[member])
    weights = {name: nn.Parameter(tensor.clone()) for name, tensor in start.items()}
    times = dict(MEMBERS[member].modules)
    groups = []
    for name, weight in weights.items():
        layer, block = name.split(".")[-2], name.split(".")[1] if "blocks" in name else None
        module = {"embed": "embedding", "positions": "embedding", "q": "qk", "k": "qk"}.get(layer)
        module = module or ("gains" if "norm" in layer else layer)
        x = None if block is None else int(block) - 1

        def by(key: str, module: str = module, x: int | None = x) -> float:
            found = times.get(f"{key}.{module}", 1.0)
            if x is not None:
                found *= times.get(f"{key}.depth_slope", 1.0) ** x
                found *= times.get(f"{key}.depth_bend", 1.0) ** (1.5 * x * x - 0.5)
            return found

        branch = times.get("residual.mlp", 1.0) if layer == "down" else 1.0
        group = {
            "params": [weight],
            "lr": PLAIN.lr * rules[name].lr * by("lr") * branch,
            "weight_decay": 0.1 * rules[name].weight_decay * by("weight_decay") / branch,
            "eps": PLAIN.eps * rules[name].eps * by("eps") / branch,
            "betas": (1 - 0.25 * by("beta1"), 1 - 0.05 * by("beta2")),
        }
        groups.append(group)
    adamw = torch.optim.AdamW(groups)
    for step in range(STEPS):
        for name, gradient in unflatten(MODEL, 0.01 * normal_KP(100 + step)[member]).items():
            weights[name].grad = gradient
        adamw.step()
    return flatten(MODEL, {name: weight.detach() for name, weight in weights.items()})


@pytest.mark.parametrize("columns", [400, 1 << 18])
def test_members_of_a_stack_step_as_torchs_adamw_with_groups(monkeypatch, columns):
    """In columns that are part of a segment, and in ones that span many."""
    monkeypatch.setattr("mugrow.bench.stacked_optimizer.CACHED", columns)
    weights_KP = stepped(normal_KP(0))
    for member in range(len(MEMBERS)):
        torch.testing.assert_close(weights_KP[member], by_torch(member), rtol=0, atol=1e-12)


def test_so_they_do_by_the_fused_kernel():
    expected_KP = stepped(normal_KP(0))
    fused_KP = stepped(normal_KP(0).float(), fused=True)
    torch.testing.assert_close(fused_KP.double(), expected_KP, rtol=1e-5, atol=1e-5)


def test_betas_of_modules_are_the_only_ones_kept_by_segment():
    def optimizer_of(*hypers: HyperSpec) -> tuple[int, ...]:
        trainers = trainers_of("adamw", "sp", MODEL, MODEL)
        everywhere = [by_tensor(MODEL, hyper) for hyper in hypers]
        rules = rules_of("sp", MODEL, MODEL)
        found = stacked_optimizer(shapes(MODEL), rules, trainers, everywhere, normal_KP(0))
        return found.beta1_KS.shape[1], found.lr_KS.shape[1]

    assert optimizer_of(PLAIN, replace(PLAIN, beta1=0.5))[0] == 1
    assert optimizer_of(PLAIN, MEMBERS[1])[0] == 1
    betas, segments = optimizer_of(PLAIN, MEMBERS[2])
    assert betas == segments > 1


def trained(*runs: RunSpec) -> StackState:
    starts = [beginning_from(run, None, lambda step: torch.empty(0)).weights for run in runs]
    return train(Stack(runs), starts, skewed_tokens())


RUNS = [
    vary(dtype="float64", steps=10, modules=hyper.modules, clip=clip, seed=seed)
    for seed, (hyper, clip) in enumerate(
        zip((*MEMBERS[:2], with_modules("init_std.v:3 beta2.up:4")), (0.0, 1.0, 0.1), strict=True)
    )
]


@pytest.fixture
def three_blocks() -> list[RunSpec]:
    return [replace(run, model=replace(run.model, depth=3)) for run in RUNS]


def test_a_stack_of_different_multipliers_is_as_many_runs(three_blocks):
    together = trained(*three_blocks)
    for member, run in enumerate(three_blocks):
        alone = trained(run).optimizer.weights_KP[0]
        torch.testing.assert_close(
            together.optimizer.weights_KP[member], alone, rtol=1e-9, atol=1e-10
        )


def test_an_initial_scale_is_the_modules_own():
    run = vary(modules=(Multiplier("init_std.qk", 2.0), Multiplier("residual.attention", 4.0)))
    ours, theirs = (
        beginning_from(one, None, lambda step: torch.empty(0)).weights for one in (run, RUN)
    )
    for name, weight in ours.items():
        layer = name.split(".")[-2]
        times = {"q": 2, "k": 2, "o": 4}.get(layer, 1)
        assert torch.equal(weight, times * theirs[name]), name


@pytest.fixture
def with_branches(monkeypatch) -> Iterator[Callable[[float, float], None]]:
    """SP with these multipliers of the branches in the forward pass."""
    usual = sp.PARAMETRIZATION

    def done(attention: float, mlp: float) -> None:
        def rules(model: ModelSpec, base: ModelSpec) -> Rules:
            found = usual.rules(model, base)
            forward = replace(found.multipliers, residual_attention=attention, residual_mlp=mlp)
            return Rules(found.tensors, forward)

        monkeypatch.setattr(sp, "PARAMETRIZATION", replace(usual, rules=rules))
        rules_of.cache_clear()
        trainers_of.cache_clear()

    yield done
    rules_of.cache_clear()
    trainers_of.cache_clear()


@pytest.mark.parametrize("changes", [{}, {"decay": "independent"}, {"optimizer": "lion"}])
def test_a_residual_multiplier_is_one_of_the_forward_pass(with_branches, changes):
    """As large at first and in every step, decay and eps included."""
    plain = vary(parametrization="sp", dtype="float64", clip=0.0, steps=10)
    lion = "optimizer" in changes
    plain = vary(plain, **changes, **({} if lion else {"eps": 1e-3}))
    twice = Multiplier("residual.attention", 0.5), Multiplier("residual.mlp", 3.0)
    ours, usual = trained(vary(plain, modules=twice)), trained(plain)
    with_branches(0.5, 3.0)
    theirs = trained(plain)

    def losses(state: StackState) -> list[float]:
        return [float(row["val_loss"]) for row in state.curves[0]]  # type: ignore[arg-type]

    assert losses(ours) == pytest.approx(losses(theirs), abs=1e-11)
    assert abs(losses(usual)[-1] - losses(theirs)[-1]) > 1e-4
