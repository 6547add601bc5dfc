"""Coordinate checks of real models: right and wrong parametrizations told apart."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import mugrow.bench.parametrization.mup as mup
from mugrow.bench.checks.cases import flavours, random_weights, some_tokens
from mugrow.bench.coordcheck import ModelSeries, check_series, coordcheck
from mugrow.bench.coordcheck.activations import activations
from mugrow.bench.coordcheck.series import SOURCE_STEPS, measured_series, own_hyper
from mugrow.bench.data.batches import resolve
from mugrow.bench.model import Decoder, Multipliers, flatten
from mugrow.bench.parametrization import Rules, initial_weights, rules_of
from mugrow.bench.spec import Start, UserError, llama

SHAPE = {"depth": 2, "head_size": 16, "context": 32, "vocab_size": 64}


def ladder(parametrization, widths=(32, 64, 128), **changes):
    settings = {
        "models": tuple(llama(width=width, **SHAPE) for width in widths),
        "base": llama(width=32, **SHAPE),
        "seeds": (0, 1, 2),
        "data": resolve("synthetic", val_tokens=32),
    }
    return ModelSeries(parametrization=parametrization, axis="width", **settings | changes)


def hidden(rows, kind="x"):
    return [row for row in rows if row.kind == kind and row.module not in ("embed", "head")]


def test_sp_grows_and_mup_does_not():
    sp = check_series(ladder("sp"))
    right = check_series(ladder("mup", seeds=range(5)))  # with 64 seeds the largest is 0.09
    assert len(hidden(sp)) == 2 * 8 * 5
    assert all(row.slope >= 0.4 for row in hidden(sp))
    assert {row.verdict for row in hidden(sp, "x") + hidden(sp, "dx")} == {"fail"}
    assert all(abs(row.slope) <= 0.1 for row in hidden(right))
    assert "fail" not in {row.verdict for row in right}
    (readout,) = (row for row in right if (row.kind, row.module, row.step) == ("x", "head", 0))
    assert readout.slope == pytest.approx(-0.5, abs=0.05)


@pytest.fixture
def with_hidden_rates(monkeypatch):
    """muP with the rates of hidden matrices multiplied by a power of the width's ratio."""

    def done(power):
        def rules(model, base):
            right = mup.rules(model, base)
            factor = (model.width / base.width) ** power
            tensors = {
                name: rule._replace(lr=rule.lr * factor) if rule.init_std < 1 else rule
                for name, rule in right.tensors.items()
            }
            return Rules(tensors, right.multipliers)

        wrong = replace(mup.PARAMETRIZATION, rules=rules)
        monkeypatch.setattr(mup, "PARAMETRIZATION", wrong)
        rules_of.cache_clear()

    yield done
    rules_of.cache_clear()


def moved(rows):
    return {row.module: row for row in rows if (row.kind, row.step) == ("dx", 2)}


def test_hidden_rates_that_do_not_fall_with_the_width_fail(with_hidden_rates):
    with_hidden_rates(1)
    rows = check_series(ladder("mup", steps=2, seeds=range(5)))
    assert "fail" not in {row.verdict for row in rows if row.step == 0}
    right = [module for module, row in moved(rows).items() if row.verdict != "fail"]
    assert right == ["embed", "head"]


def test_updates_that_vanish_show_in_the_movement(with_hidden_rates):
    with_hidden_rates(-1)
    rows = check_series(ladder("mup", steps=2, seeds=range(5)))
    flat = [row for row in hidden(rows) if row.module.endswith((".q", ".k", ".v", ".up"))]
    assert {row.verdict for row in flat} == {"pass"}
    for module in ("attention.q", "attention.k", "attention.logits", "mlp.down"):
        assert moved(rows)[f"blocks.0.{module}"].verdict == "fail"
    assert all(row.slope < -0.2 for row in moved(rows).values() if row.module != "embed")


@pytest.mark.integration
def test_depth_is_carried_by_completep_and_completedp_and_not_by_mup():
    models = tuple(llama(width=32, **SHAPE | {"depth": depth}) for depth in (2, 4, 8))
    changes = {"models": models, "axis": "depth", "steps": 6}
    found = {}
    for name in ("mup", "completep", "completedp"):
        rows = check_series(replace(ladder(name), **changes))
        judged = {row.module: row for row in rows if row.verdict != "exempt"}
        assert {row.step for row in judged.values()} == {6}
        found[name] = judged["blocks.last"]
    assert found["mup"].slope > 0.5
    assert found["mup"].verdict == "fail"
    assert found["completep"].verdict != "fail"
    assert found["completedp"].verdict != "fail"


def test_completedp_is_mup_in_width_its_readout_included():
    """At rates that differ by m and gradients that differ by m, the same movement of every module
    but for rounding."""
    rows, same = (
        check_series(ladder(name, (32, 64), seeds=(0, 1), steps=2))
        for name in ("mup", "completedp")
    )
    for one, other in zip(rows, same, strict=True):
        assert one.slope == pytest.approx(other.slope, abs=1e-3), one.module


def test_growth_is_measured_from_where_the_source_left():
    """A method that preserves the logits begins with its source's, on the batch that comes next."""
    grown = ladder("mup", (64, 128), start=Start(method="hypercloning"), seeds=(0, 1), steps=1)
    longer = ladder("mup", (32, 64), seeds=(0, 1), steps=SOURCE_STEPS)
    first, after = measured_series(grown)[0], measured_series(longer)[0]
    assert first["x", "head", 0] == pytest.approx(after["x", "head", SOURCE_STEPS], rel=0.1)
    assert first["x", "head", 0] != pytest.approx(after["x", "head", 0], rel=0.1)
    assert {row.method for row in check_series(grown)} == {"hypercloning"}
    assert first["x", "embed", 0] != pytest.approx(after["x", "embed", SOURCE_STEPS], rel=1e-6)


def test_activations_are_those_of_the_textbook():
    """Of GPT-2 with one head, computed anew from its weights."""
    spec = replace(flavours()["gpt2"], depth=1, head_size=16)
    w, tokens = random_weights(spec), some_tokens()
    decoder = Decoder(spec, Multipliers(output=0.5, attention=2.0))
    seen = activations(decoder, flatten(spec, w)[None], tokens[None])
    T, D = tokens.shape[1], spec.width

    def norm(x, name):
        return torch.nn.functional.layer_norm(x, (D,), w[f"{name}.gain"], w[f"{name}.bias"])

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    x = w["embed.weight"][tokens] + w["positions.weight"][:T]
    want = {"embed": x}
    for name in "qkv":
        want[f"blocks.0.attention.{name}"] = linear(
            norm(x, "blocks.0.norm1"), f"blocks.0.attention.{name}"
        )
    q, k, v = (want[f"blocks.0.attention.{name}"] for name in "qkv")
    logits = 2.0 * q @ k.mT / math.sqrt(16)
    past = torch.ones(T, T, dtype=torch.bool).tril()
    want["blocks.0.attention.logits"] = logits[:, past]
    y = logits.masked_fill(~past, -math.inf).softmax(-1) @ v
    want["blocks.0.attention.o"] = linear(y, "blocks.0.attention.o")
    x = x + want["blocks.0.attention.o"]
    want["blocks.0.mlp.up"] = linear(norm(x, "blocks.0.norm2"), "blocks.0.mlp.up")
    h = torch.nn.functional.gelu(want["blocks.0.mlp.up"])
    want["blocks.0.mlp.down"] = linear(h, "blocks.0.mlp.down")
    want["blocks.0"] = x + want["blocks.0.mlp.down"]
    want["head"] = 0.5 * norm(want["blocks.0"], "norm") @ w["head.weight"].T
    assert list(seen) == list(want)
    for name, tensor in want.items():
        torch.testing.assert_close(seen[name], tensor.reshape(1, -1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("flavour", ["gpt2", "llama"])
def test_members_are_measured_apart(flavour):
    spec = flavours()[flavour]
    flat = [flatten(spec, random_weights(spec, seed)) for seed in (0, 1)]
    tokens = torch.stack([some_tokens(), some_tokens().flip(0)])
    both = activations(Decoder(spec), torch.stack(flat), tokens)
    for member in (0, 1):
        alone = activations(Decoder(spec), flat[member][None], tokens[member][None])
        for name, x in alone.items():
            torch.testing.assert_close(both[name][member], x[0], rtol=0, atol=1e-12)


def test_observing_changes_nothing():
    spec = flavours()["llama"]
    flat, tokens = flatten(spec, random_weights(spec))[None], some_tokens()[None]
    plain = Decoder(spec).logits(flat, tokens)
    observed = Decoder(spec, observe=lambda name, x: None).logits(flat, tokens)
    assert torch.equal(plain, observed)


def test_the_first_size_is_that_of_the_initial_weights():
    series = ladder("mup", (32, 64), seeds=(0, 1), steps=1)
    rules = rules_of("mup", series.models[0], series.base)
    weights = initial_weights(series.models[0], rules, series.hyper.init_std, 1, torch.float32)
    sizes = measured_series(series)[0]
    tall = weights["embed.weight"].abs().mean(1)
    assert tall.min() <= sizes["x", "embed", 0][1] <= tall.max()
    assert set(sizes) == {
        *(("x", module, step) for _, module, _ in sizes for step in (0, 1)),
        *(("dx", module, 1) for _, module, _ in sizes),
    }
    assert all(np.shape(size) == (2,) for size in sizes.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": (llama(width=64, **SHAPE),)}, "at least two widths, not 64 alone"),
        ({"seeds": (3,)}, "at least two different seeds, not 3"),
        ({"seeds": (3, 3)}, "at least two different seeds, not 3 3"),
        ({"parametrization": "mupp"}, "unknown parametrization 'mupp'; did you mean 'mup'?"),
        ({"base": llama(width=64, **SHAPE)}, "width 32 is below the base's 64"),
        ({"start": Start(method="szp")}, "width 16 (half the smallest) is below the base's 32"),
        ({"start": Start(method="szpp")}, "unknown method 'szpp'; did you mean 'szp'?"),
        ({"start": Start(method="scratch")}, "'scratch' grows no source"),
        ({"start": Start(method="stack")}, "grows depth only"),
        ({"start": Start(method="prune")}, "shrinks its source"),
        ({"start": Start(method="szp", params=(("shrunk", 1),))}, "did you mean 'shrink'?"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes, message):
    with pytest.raises(UserError) as refused:
        replace(ladder("mup"), **changes)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["lr", "init_std"])
def test_a_model_that_cannot_move_is_refused(name):
    series = ladder("mup")
    with pytest.raises(UserError, match=f"{name} must be above 0"):
        replace(series, hyper=replace(series.hyper, **{name: 0.0}))


def test_models_are_trained_at_the_parametrizations_own_rate_unless_one_is_given():
    mup_hyper, spectral = own_hyper("mup"), own_hyper("spectral")
    unit = own_hyper("umup:embedding=constant")
    assert (mup_hyper.lr, mup_hyper.init_std) == (0.01, 0.08)
    assert (unit.lr, unit.init_std) == (pytest.approx(0.01 * 2**6.5), 1.0)
    assert (spectral.lr, spectral.init_std) == (pytest.approx(0.04), 0.08)
    given = own_hyper("umup", lr=0.5, init_std=2.0)
    assert (given.lr, given.init_std) == (0.5, 2.0)
    assert own_hyper("umup", lr=0.5).init_std == 1.0


def test_umup_holds_but_for_its_embedding():
    """Five seeds of what the default takes 40 of; with the rate of muP's embedding nothing is
    exempt."""
    found = {}
    for name in ("umup", "umup:embedding=constant"):
        rows = coordcheck(name, seeds=range(5), steps=2)
        found[name] = {row.module: row for row in rows if row.kind == "dx"}
        assert not [row for row in found[name].values() if row.verdict == "fail"]
    assert found["umup"]["embed"].slope == pytest.approx(-0.5, abs=0.05)
    exempt = {module for module, row in found["umup"].items() if row.verdict == "exempt"}
    assert exempt == {"embed", *(f"blocks.0.attention.{name}" for name in "qkv")} | {
        "blocks.0.attention.logits"
    }
    constant = found["umup:embedding=constant"]
    assert "exempt" not in {row.verdict for row in constant.values()}


def test_an_odd_depth_has_no_half():
    models = tuple(llama(width=32, **SHAPE | {"depth": depth}) for depth in (2, 5))
    with pytest.raises(UserError, match=r"depth 5 has no half to grow from.*: 6"):
        replace(ladder("mup"), models=models, axis="depth", start=Start(method="stack"))


def test_a_run_that_diverges_is_no_row():
    series = ladder("sp", (32, 64), seeds=(0, 1))
    with pytest.raises(UserError, match="width 32 and depth 2 diverged within"):
        check_series(replace(series, hyper=replace(series.hyper, lr=1e30)))
