"""Every family against transformers: in, grown, out, the next tokens; and what must not pass."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from tiny_models import MODELS, model_of, saved, tokens
from torch import Tensor

from mugrow.bench import checkpoint
from mugrow.bench.checkpoints import FAMILIES
from mugrow.bench.checkpoints.config import Config
from mugrow.bench.model import Decoder, Weights
from mugrow.bench.spec import ModelSpec, UserError, run_spec_from_json
from mugrow.sweeps.grow import CHECKPOINT, grow
from mugrow.sweeps.published import export_model, import_model

TOLERANCE = 1e-5
AT_ONCE = ("gpt2", "llama 3", "qwen3", "pythia")  # the others are integration tests
GROWTHS = {  # what is exact, so that the oracle can be the source
    "llama_pro": {"depth": 3},
    "hypercloning": {"width": 64},
    "lemon": {"width": 64, "depth": 3},
}


def loaded(folder: Path) -> tuple[ModelSpec, Weights]:
    weights, metadata = checkpoint.load(folder / CHECKPOINT)
    return run_spec_from_json(metadata["spec"]).model, weights


def logits(folder: Path) -> Tensor:
    spec, weights = loaded(folder)
    return Decoder(spec)(weights, tokens())


def theirs(folder: Path):
    import transformers

    return transformers.AutoModelForCausalLM.from_pretrained(folder).eval()


def difference(ours: Tensor, model) -> float:
    with torch.no_grad():
        return float((ours - model(tokens()).logits).abs().max())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in AT_ONCE else pytest.mark.integration)
        for name in MODELS
    ],
)
def test_in_grown_out_and_the_next_tokens(name, tmp_path):
    model = saved(name, tmp_path / "hf")
    assert import_model(tmp_path / "hf", tmp_path / "in").family == MODELS[name][0]
    assert logits(tmp_path / "in").std() > 0.1
    assert difference(logits(tmp_path / "in"), model) < TOLERANCE
    for method, shape in GROWTHS.items():
        grown = tmp_path / method
        result = grow(tmp_path / "in", grown, method, **shape)
        assert result.breaks is None
        export_model(grown, tmp_path / f"{method}-hf")
        back = theirs(tmp_path / f"{method}-hf")
        assert difference(logits(grown), back) < TOLERANCE
        with torch.no_grad():
            assert difference(model(tokens()).logits, back) < 3 * TOLERANCE
            prompt = tokens(5)[:1]
            words = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
            assert torch.equal(model.generate(prompt, **words), back.generate(prompt, **words))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", MODELS)
def test_what_is_imported_and_exported_is_the_same_to_the_bit(name, dtype, tmp_path):
    model = model_of(name).to(dtype)
    model.save_pretrained(tmp_path / "hf")
    import_model(tmp_path / "hf", tmp_path / "in")
    export_model(tmp_path / "in", tmp_path / "out")
    before, _ = checkpoint.load(tmp_path / "hf" / "model.safetensors")
    after, metadata = checkpoint.load(tmp_path / "out" / "model.safetensors")
    assert metadata["format"] == "pt"
    assert before.keys() == after.keys()
    for tensor, value in before.items():
        assert value.dtype == after[tensor].dtype == dtype
        assert torch.equal(value, after[tensor]), tensor
    back = theirs(tmp_path / "out")
    assert back.config.tie_word_embeddings == model.config.tie_word_embeddings
    ours = {key: value for key, value in back.config.to_dict().items() if key != "_name_or_path"}
    before = model.config.to_dict()
    differ = {key for key, value in ours.items() if before.get(key) != value}
    assert differ <= SAID_OTHERWISE, {key: (before.get(key), ours[key]) for key in differ}


SAID_OTHERWISE = {"n_inner", "transformers_version", "head_dim", "layer_types", "max_window_layers"}
SAID_OTHERWISE |= {"sliding_window", "dtype", "rope_parameters", "rotary_pct", "rotary_emb_base"}
SAID_OTHERWISE |= {"partial_rotary_factor", "rope_theta"}


BROKEN = {  # what an import that forgets something would run
    "gpt2": [{"mlp": "gelu"}, {"norm_eps": 1e-2}],
    "llama 3": [{"rope_scaling": "none"}, {"rope_theta": 5e5}],
    "llama linear, biased": [{"rope_scaling": "none"}],
    "mistral": [{"window": None}, {"window": 6}],
    "pythia": [{"parallel": False}, {"rotary_fraction": 1.0}],
    "opt": [{"position_offset": 0}, {"mlp": "gelu"}],
}


@pytest.mark.parametrize(("name", "change"), [(n, c) for n in BROKEN for c in BROKEN[n]])
def test_a_feature_that_is_ignored_is_seen(name, change, tmp_path):
    model = saved(name, tmp_path / "hf")
    import_model(tmp_path / "hf", tmp_path / "in")
    spec, weights = loaded(tmp_path / "in")
    wrong = replace(spec, **change)
    if "position_offset" in change:  # the rows stay where they are
        weights["positions.weight"] = weights["positions.weight"][:64]
    assert difference(Decoder(wrong)(weights, tokens()), model) > 100 * TOLERANCE


@pytest.mark.parametrize("name", MODELS)
def test_every_bias_and_gain_and_the_order_of_heads_of_keys_matter(name, tmp_path):
    model = saved(name, tmp_path / "hf")
    import_model(tmp_path / "hf", tmp_path / "in")
    spec, weights = loaded(tmp_path / "in")
    for tensor, value in weights.items():
        alike = tensor.endswith("attention.k.bias") and spec.positions == "learned"
        if value.dim() == 1 and not alike:  # adds the same to the scores of all keys
            without = weights | {tensor: torch.full_like(value, float(tensor.endswith("gain")))}
            change = difference(Decoder(spec)(without, tokens()), model)
            assert change > 100 * TOLERANCE, tensor
    turned = dict(weights)
    for part in "kv":
        name_ = f"blocks.0.attention.{part}.weight"
        turned[name_] = weights[name_].view(spec.groups, spec.head_size, -1).flip(0).flatten(0, 1)
    assert difference(Decoder(spec)(turned, tokens()), model) > 100 * TOLERANCE


EXACT_IN_FLOAT64 = {"gpt2", "opt"}  # rotations and RMSNorm are float32 in transformers


@pytest.mark.parametrize("name", sorted(EXACT_IN_FLOAT64))
def test_in_float64_nothing_is_left_of_the_difference(name, tmp_path):
    model = saved(name, tmp_path / "hf").double()
    import_model(tmp_path / "hf", tmp_path / "in")
    spec, weights = loaded(tmp_path / "in")
    double = {name: tensor.double() for name, tensor in weights.items()}
    assert difference(Decoder(spec)(double, tokens()), model) < 1e-12


SAYS_NOTHING = {  # of a config.json, whatever it says: the logits of a text do not depend on it
    *(
        "model_type",
        "transformers_version",
        "architectures",
        "dtype",
        "torch_dtype",
        "_name_or_path",
    ),
    *("id2label", "label2id", "problem_type", "chunk_size_feed_forward", "is_encoder_decoder"),
    *("output_attentions", "output_hidden_states", "return_dict", "use_cache", "pretraining_tp"),
    *("bos_token_id", "eos_token_id", "pad_token_id", "initializer_range", "init_std"),
    *("attention_dropout", "hidden_dropout", "classifier_dropout", "dropout", "layerdrop"),
    *("attn_pdrop", "embd_pdrop", "resid_pdrop", "reorder_and_upcast_attn", "is_decoder"),
    *("summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type"),
    "summary_use_proj",
}


@pytest.mark.parametrize("name", MODELS)
def test_no_word_of_a_config_is_passed_over(name, monkeypatch):
    read, get = set(), Config.get

    def noted(self, key, default=None):
        read.add(key)
        return get(self, key, default)

    monkeypatch.setattr(Config, "get", noted)
    kind, given = MODELS[name]
    config = transformers.AutoConfig.for_model(kind, **given).to_dict()
    if "use_sliding_window" in config:
        config |= {"use_sliding_window": True, "sliding_window": 4, "layer_types": None}
        config |= {"max_window_layers": 0}
    FAMILIES[kind].spec(Config(config, "here"))
    assert config.keys() - read <= SAYS_NOTHING


LLAMA3 = MODELS["llama 3"][1]["rope_parameters"]
USED = {"use_sliding_window": True, "sliding_window": 3}
ALL, NONE, SOME = (
    {"layer_types": [f"{kind}_attention" for kind in kinds]}
    for kinds in (["sliding"] * 2, ["full"] * 2, ["full", "sliding"])
)
OLD = {"rope_parameters": None, "rope_theta": 99.0}
EDITED = {  # what config.json may say too, and whether it can be expressed
    "llama 2": [
        (OLD | {"rope_scaling": {"type": "linear", "factor": 4 / 3}}, True),
        ({"rope_parameters": LLAMA3 | {"factor": 7.123456789}}, True),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, False),
        ({"rope_parameters": None, "partial_rotary_factor": 0.5}, False),
        ({"is_causal": False}, False),
        ({"per_layer_config": {"1": {"rms_norm_eps": 0.5}}}, False),
    ],
    "qwen2": [(USED | ALL, True), (USED | NONE, True), (USED | SOME, False)],
    "pythia": [
        ({"rope_parameters": None, "rotary_pct": 0.5, "rotary_emb_base": 77.0}, True),
        ({"rope_parameters": None, "rope_theta": 77.0}, False),
        ({"hidden_act": "gelu_fast"}, True),
    ],
    "gpt2": [
        ({"n_head": None, "num_attention_heads": 2}, True),
        ({"num_attention_heads": 2}, False),
    ],
}


@pytest.mark.parametrize("name", EDITED)
def test_what_is_edited_is_read_as_transformers_reads_it_or_refused(name, tmp_path):
    saved(name, tmp_path / "hf")
    path = tmp_path / "hf" / "config.json"
    before, plain = json.loads(path.read_text()), theirs(tmp_path / "hf")
    for number, (change, expressed) in enumerate(EDITED[name]):
        said = {key: value for key, value in (before | change).items() if value is not None}
        path.write_text(json.dumps(said))
        folder = tmp_path / f"{number}"
        if expressed:
            import_model(tmp_path / "hf", folder)
            assert difference(logits(folder), theirs(tmp_path / "hf")) < TOLERANCE
            if change != USED | NONE:
                assert difference(logits(folder), plain) > 5 * TOLERANCE
        else:
            with pytest.raises(UserError):
                import_model(tmp_path / "hf", folder)


def test_a_padded_vocabulary_is_kept(tmp_path):
    from tokenizers import Tokenizer, models

    model = saved("qwen2", tmp_path / "hf")
    words = {f"w{i}": i for i in range(90)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.save(str(tmp_path / "hf" / "tokenizer.json"))
    result = import_model(tmp_path / "hf", tmp_path / "in")
    assert (result.tokens, result.rows) == (90, 96)
    spec, _ = loaded(tmp_path / "in")
    assert (spec.vocab_size, spec.padded_vocab) == (90, 96)
    export_model(tmp_path / "in", tmp_path / "out")
    assert theirs(tmp_path / "out").config.vocab_size == 96
    assert (tmp_path / "out" / "tokenizer.json").exists()
    assert difference(logits(tmp_path / "in"), model) < TOLERANCE


def test_shards_are_read_one_after_the_other(tmp_path):
    model = model_of("qwen3")
    model.save_pretrained(tmp_path / "hf", max_shard_size="20KB")
    assert len(list((tmp_path / "hf").glob("*.safetensors"))) > 2
    import_model(tmp_path / "hf", tmp_path / "in")
    assert difference(logits(tmp_path / "in"), model) < TOLERANCE


def test_what_a_family_has_not_is_refused_by_name():
    for one, change, reason in (
        ("gpt2", {"norm": "rmsnorm"}, "a gpt2 cannot have norm='rmsnorm', only 'layernorm'"),
        ("llama", {"qk_norm": True}, "norm='layernorm'"),
    ):
        with pytest.raises(UserError, match=reason.replace("(", ".")):
            FAMILIES[one].check(replace(ModelSpec(width=16, depth=1), **change))
