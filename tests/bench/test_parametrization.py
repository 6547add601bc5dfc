"""The rule tables against the mup package itself, on an ordinary module built its way."""

from dataclasses import replace

import mup
import pytest
import torch
from torch import Tensor, nn

from mugrow.bench.model import Multipliers, parameters
from mugrow.bench.parametrization import Rule, Rules, generator, initial_weights, parametrization
from mugrow.bench.spec import ModelSpec, UserError, llama

GPT2 = ModelSpec(width=32, depth=1, head_size=16, context=64, vocab_size=64)
LLAMA = llama(width=32, depth=1, head_size=16, context=64, vocab_size=64)
PAIRS = {  # name: (base, model)
    "gpt2": (GPT2, replace(GPT2, width=96, depth=2)),
    "tied": (replace(GPT2, tied=True), replace(GPT2, tied=True, width=96)),
    "llama": (LLAMA, replace(LLAMA, width=96)),
    "larger heads": (GPT2, replace(GPT2, width=96, head_size=32)),
    "wider mlp": (GPT2, replace(GPT2, width=96, mlp_ratio=8.0)),  # fan-ins 3 and 6
    "base itself": (GPT2, GPT2),
}


class Block(nn.Module):
    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        D, mlp_width, bias = spec.width, spec.mlp_width, spec.bias
        norm = nn.LayerNorm if spec.norm == "layernorm" else nn.RMSNorm
        into = ("gate", "up") if spec.mlp == "swiglu" else ("up",)
        self.norm1, self.norm2 = norm(D), norm(D)
        self.attention = nn.ModuleDict({n: nn.Linear(D, D, bias) for n in ("q", "k", "v", "o")})
        self.mlp = nn.ModuleDict({n: nn.Linear(D, mlp_width, bias) for n in into})
        self.mlp["down"] = nn.Linear(mlp_width, D, bias)


class Plain(nn.Module):
    """The decoder's parameters in the layers that the package's README asks for."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.embed = nn.Embedding(spec.vocab_size, spec.width)
        if spec.positions == "learned":
            self.positions = nn.Embedding(spec.context, spec.width)
        self.blocks = nn.ModuleList(Block(spec) for _ in range(spec.depth))
        self.norm = (nn.LayerNorm if spec.norm == "layernorm" else nn.RMSNorm)(spec.width)
        if spec.tied:
            self.head = mup.MuSharedReadout(self.embed.weight, bias=False)
        else:
            self.head = mup.MuReadout(spec.width, spec.vocab_size, bias=False)

    def tensors(self) -> dict[str, Tensor]:
        """Parameters by the names of ``mugrow.bench.model.parameters``."""
        return {
            name.replace("weight", "gain") if "norm" in name else name: tensor
            for name, tensor in self.named_parameters()
        }


def plain(base: ModelSpec, model: ModelSpec) -> Plain:
    base = replace(base, depth=model.depth)
    module = Plain(model)
    delta = Plain(replace(base, width=2 * base.width))
    mup.set_base_shapes(module, Plain(base), delta=delta, rescale_params=False)
    return module


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest) -> tuple[Rules, Plain, ModelSpec]:
    base, model = PAIRS[request.param]
    return parametrization("mup").rules(model, base), plain(base, model), model


def is_decayed(name: str) -> bool:
    return not name.endswith(("gain", "bias"))


def test_every_parameter_has_a_rule(pair):
    rules, module, model = pair
    assert rules.tensors.keys() == module.tensors().keys() == parameters(model).keys()


def test_learning_rate_and_weight_decay_are_those_of_the_packages_groups(pair):
    rules, module, _ = pair
    tensors = module.tensors()
    groups = [
        {"params": [t for name, t in tensors.items() if is_decayed(name)]},
        {"params": [t for name, t in tensors.items() if not is_decayed(name)], "weight_decay": 0.0},
    ]
    optimizer = mup.MuAdamW(groups, lr=0.25, weight_decay=0.5)
    package = {id(t): group for group in optimizer.param_groups for t in group["params"]}
    for name, tensor in tensors.items():
        group = package[id(tensor)]
        assert rules.tensors[name].lr == pytest.approx(group["lr"] / 0.25), name
        assert rules.tensors[name].weight_decay == pytest.approx(group["weight_decay"] / 0.5), name


def test_initial_scale_is_the_packages(pair):
    """The package's own normal_ on the one side, ``initial_weights`` on the other."""
    rules, module, model = pair
    weights = initial_weights(model, rules, init_std=0.05, seed=0, dtype=torch.float32)
    torch.manual_seed(0)
    for name, tensor in module.tensors().items():
        if is_decayed(name):
            mup.init.normal_(tensor, std=0.05)
            assert weights[name].std().item() == pytest.approx(tensor.std().item(), rel=0.06), name
        else:
            assert torch.equal(weights[name], torch.full_like(weights[name], name.endswith("gain")))


def test_output_multiplier_is_the_packages_readouts(pair):
    rules, module, _ = pair
    assert rules.multipliers.output == pytest.approx(1 / module.head.width_mult())


def test_attention_logits_scale_as_one_over_head_size():
    base, model = PAIRS["larger heads"]
    multipliers = parametrization("mup").rules(model, base).multipliers
    assert multipliers.attention / 32**0.5 == pytest.approx(16**0.5 / 32)
    base, model = PAIRS["gpt2"]
    assert parametrization("mup").rules(model, base).multipliers.attention == 1.0


def test_rules_by_hand_with_the_eps_that_the_package_forgets():
    base, model = PAIRS["wider mlp"]
    rules = parametrization("mup").rules(model, base).tensors
    block = "blocks.0."
    assert rules["embed.weight"] == rules["positions.weight"] == Rule(1, 1, 1, 1 / 3)
    assert rules["head.weight"] == Rule(1, 1, 1, 1 / 3)
    assert rules["norm.gain"] == rules[block + "attention.q.bias"] == Rule(1, 1, 0, 1 / 3)
    assert rules[block + "mlp.up.bias"] == Rule(1, 1, 0, 1 / 6)
    assert rules[block + "attention.o.weight"] == pytest.approx(Rule(3**-0.5, 1 / 3, 3, 1 / 3))
    assert rules[block + "mlp.up.weight"] == pytest.approx(Rule(3**-0.5, 1 / 3, 3, 1 / 6))
    assert rules[block + "mlp.down.weight"] == pytest.approx(Rule(6**-0.5, 1 / 6, 6, 1 / 3))


def test_at_the_base_shape_mup_is_sp():
    assert parametrization("mup").rules(GPT2, GPT2) == parametrization("sp").rules(GPT2, GPT2)


@pytest.mark.parametrize("name", PAIRS)
def test_sp_changes_nothing_with_width(name):
    base, model = PAIRS[name]
    rules = parametrization("sp").rules(model, base)
    assert rules.multipliers == Multipliers(1.0, 1.0)
    assert rules.tensors == {n: Rule(1, 1, float(is_decayed(n)), 1) for n in parameters(model)}


def test_unknown_parametrization_names_the_nearest():
    with pytest.raises(UserError, match="unknown parametrization 'muP'; did you mean 'mup'"):
        parametrization("muP")


def test_initial_weights_are_one_draw_up_to_scale():
    """Other scales and other tensors leave a tensor's draw as it is; another seed does not."""
    base, model = PAIRS["gpt2"]
    mup_rules, sp_rules = (parametrization(n).rules(model, base) for n in ("mup", "sp"))
    wide = initial_weights(model, mup_rules, 0.1, 0, torch.float64)
    standard = initial_weights(model, sp_rules, 0.02, 0, torch.float64)
    name = "blocks.1.mlp.up.weight"
    torch.testing.assert_close(wide[name] * 3**0.5 / 5, standard[name], rtol=1e-12, atol=0)
    shallow = initial_weights(replace(model, depth=1), sp_rules, 0.02, 0, torch.float64)
    assert torch.equal(shallow["head.weight"], standard["head.weight"])
    other = initial_weights(model, sp_rules, 0.02, 1, torch.float64)
    assert not torch.equal(other["head.weight"], standard["head.weight"])
    assert not torch.equal(
        standard["blocks.0.attention.q.weight"], standard["blocks.0.attention.k.weight"]
    )


def test_a_generators_stream_depends_on_its_parts_alone():
    draws = [torch.rand(4, generator=generator(*parts)) for parts in (("a", 1), ("a", 2), ("b", 1))]
    torch.manual_seed(7)
    assert torch.equal(torch.rand(4, generator=generator("a", 1)), draws[0])
    assert not torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
