"""``mugrow import`` and ``mugrow export`` without transformers: round trips, and bad input."""

import json
import shutil
from contextlib import suppress
from dataclasses import replace
from itertools import product

import pytest
import torch
from safetensors.torch import save_file
from tiny_imports import written_run

from mugrow.bench import checkpoint
from mugrow.bench.checkpoints import FAMILIES
from mugrow.bench.checkpoints.config import Config, mlp_size, rotary
from mugrow.bench.checkpoints.reading import spec_of
from mugrow.bench.checkpoints.source import Published
from mugrow.bench.checks.cases import NEOX, OPT, SMALL, random_weights
from mugrow.bench.model import Decoder
from mugrow.bench.parametrization import rules_of
from mugrow.bench.spec import (
    ModelSpec,
    UserError,
    llama,
    run_spec_from_json,
)
from mugrow.sweeps.published import export_model, import_model

LLAMA = llama(**SMALL, kv_heads=1, rope_theta=1e5, norm_eps=1e-6)
MODELS = {
    "gpt2": ModelSpec(**SMALL, mlp="gelu_tanh", tied=True),
    "llama": replace(LLAMA, rope_scaling="llama3:factor=8:low=1:high=4:context=16"),
    "mistral": replace(LLAMA, window=4, query_heads=4),
    "qwen2": replace(LLAMA, qkv_bias=True, rope_scaling="linear:factor=2", mlp_ratio=2.5),
    "qwen3": replace(LLAMA, qk_norm=True, query_heads=3),
    "gpt_neox": ModelSpec(**SMALL, **NEOX),
    "opt": ModelSpec(**SMALL, **OPT | {"padded_vocab": None}),
}


@pytest.fixture
def stored(tmp_path):
    """Write a model as a run would leave it."""

    def store(model, name="run", parametrization="sp", base=None, dtype=torch.float32):
        weights = random_weights(model, dtype=dtype)
        path = tmp_path / name / "checkpoint.safetensors"
        run = written_run(path, weights, model, parametrization, base)
        return path.parent, run, weights

    return store


def read(folder):
    weights, metadata = checkpoint.load(folder / "checkpoint.safetensors")
    return run_spec_from_json(metadata["spec"]), weights


@pytest.mark.parametrize("name", MODELS)
def test_what_is_exported_is_imported_as_it_was(name, stored, tmp_path):
    folder, _, weights = stored(MODELS[name])
    assert export_model(folder, tmp_path / "hf", family_name=name).family == name
    assert import_model(tmp_path / "hf", tmp_path / "in").family == name
    run, again = read(tmp_path / "in")
    assert run.model == MODELS[name]
    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[n], again[n]) for n in weights)


def test_multipliers_are_in_the_weights(stored, tmp_path):
    for number, (model, rules) in enumerate(
        [
            (replace(MODELS["gpt2"], tied=False), "mup"),
            (MODELS["gpt2"], "completep"),
            (MODELS["qwen3"], "completep"),
        ]
    ):
        base = replace(model, width=8, head_size=4, depth=1)
        folder, _, weights = stored(model, f"run{number}", rules, base, torch.float64)
        assert export_model(folder, tmp_path / f"hf{number}").folded
        import_model(tmp_path / f"hf{number}", tmp_path / f"in{number}")
        plain_run, plain = read(tmp_path / f"in{number}")
        tokens = torch.arange(8)[None]
        multipliers = rules_of(rules, model, base).multipliers
        assert multipliers.output != 1
        want = Decoder(model, multipliers)(weights, tokens)
        assert torch.allclose(Decoder(plain_run.model)(plain, tokens), want, atol=1e-12)


def test_a_run_of_its_own_is_of_the_first_family_that_can_be_it(stored, tmp_path):
    families = [
        (ModelSpec(**SMALL), "gpt2"),
        (llama(**SMALL), "llama"),
        (MODELS["qwen3"], "qwen3"),
        (ModelSpec(**SMALL, positions="rope"), "gpt_neox"),
    ]
    for number, (model, name) in enumerate(families):
        folder, run, _ = stored(model, f"run{number}")
        exported = export_model(folder, tmp_path / f"hf{number}")
        assert (exported.family, exported.run_id) == (name, run.run_id)
    card = (tmp_path / "hf0" / "README.md").read_text()
    assert f"run `{run.run_id}`" not in card
    assert "Trained for 1 steps" in card
    folder, _, _ = stored(ModelSpec(**SMALL, mlp="swiglu"), "other")
    with pytest.raises(UserError, match=r"no family has all .* a gpt2 cannot have mlp='swiglu'"):
        export_model(folder, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_an_import_is_grown_and_exported_with_its_lineage(mugrow, stored, tmp_path):
    folder, _, _ = stored(LLAMA)
    export_model(folder, tmp_path / "hf")
    (tmp_path / "hf" / "generation_config.json").write_text('{"eos_token_id": 3}')
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    (tmp_path / "hf" / "config.json").write_text(json.dumps(config | {"eos_token_id": 3}))

    def run(*words):
        ended = mugrow(*words, "--json")
        assert ended.code == 0, ended.err
        return json.loads(ended.out)

    first = run("import", tmp_path / "hf", "-o", tmp_path / "in")
    assert (first["family"], first["parameters"], first["dtype"]) == ("llama", 8784, "float32")
    words = ("--method", "hypercloning", "--width", 32, "--kv-heads", 2)
    grown = run("grow", tmp_path / "in", "-o", tmp_path / "grown", *words)
    assert grown["source_run_id"] == first["run_id"]
    assert grown["logit_error"] < 1e-5
    again = run(
        "grow", tmp_path / "grown", "-o", tmp_path / "deep", "--method", "llama_pro", "--depth", 3
    )
    last = run("export", tmp_path / "deep", "-o", tmp_path / "out", "--dtype", "bfloat16")
    assert (last["family"], last["dtype"], last["folded"]) == ("llama", "bfloat16", False)
    assert last["run_id"] == again["run_id"]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["eos_token_id"], config["num_hidden_layers"]) == (3, 3)
    assert (tmp_path / "out" / "generation_config.json").read_text() == '{"eos_token_id": 3}'
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.index("Imported from `hf`") < card.index("Grown by `hypercloning`")
    assert card.index("Grown by `hypercloning`") < card.index("Grown by `llama_pro`")
    _, metadata = checkpoint.load(tmp_path / "out" / "model.safetensors")
    steps = [step["step"] for step in json.loads(metadata["mugrow.lineage"])]
    assert steps == ["import", "grow", "grow"]


def change_config(**changes):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def change_tensors(edit):
    def change(folder):
        tensors, _ = checkpoint.load(folder / "model.safetensors")
        edit(tensors)
        save_file(tensors, folder / "model.safetensors")

    return change


def in_shards(folder):
    tensors, _ = checkpoint.load(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file(dict(list(tensors.items())[:5]), folder / "model-1.safetensors")
    files = {name: f"model-{1 + (i > 4)}.safetensors" for i, name in enumerate(tensors)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))


def cut_short(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def other_tokenizer(folder):
    from tokenizers import Tokenizer, models

    words = {f"w{i}": i for i in range(50)}
    Tokenizer(models.WordLevel(words, unk_token="w0")).save(str(folder / "tokenizer.json"))


def no_tokens(folder):
    from tokenizers import Tokenizer, models

    Tokenizer(models.BPE({}, [])).save(str(folder / "tokenizer.json"))


def index_of_numbers(folder):
    in_shards(folder)
    files = {"a": 1, "b": "model-1.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))


def remove(name):
    return lambda tensors: tensors.pop(name)


GATE, NORM = "model.layers.0.mlp.gate_proj.weight", "model.norm.weight"
YARN = {"rope_type": "yarn", "factor": 4.0}
BAD = {
    "no config": (lambda f: (f / "config.json").unlink(), "has no config.json"),
    "config that is no JSON": (lambda f: (f / "config.json").write_text("{"), "is not JSON"),
    "another architecture": (change_config(model_type="gemma"), "unknown model_type 'gemma'"),
    "no size": (change_config(hidden_size=None), "hidden_size must be a number, not None"),
    "heads that do not divide": (change_config(num_key_value_heads=3), "kv_heads 3 does not"),
    "activation": (change_config(hidden_act="gelu"), "hidden_act='gelu' cannot be expressed"),
    "scaling": (change_config(rope_scaling=YARN), "rope_scaling 'yarn' cannot be expressed"),
    "half of the biases": (change_config(attention_bias=True), "attention_bias=True without"),
    "quantised": (change_config(quantization_config={}), "quantization_config cannot"),
    "config against weights": (change_config(hidden_size=32), "and by config.json (32, 32)"),
    "too deep": (change_config(num_hidden_layers=3), "tensor model.layers.2."),
    "not deep enough": (change_config(num_hidden_layers=1), "model.layers.1.input_layernorm"),
    "tied, and not equal": (change_config(tie_word_embeddings=True), "lm_head.weight is not the"),
    "a flag in words": (
        change_config(tie_word_embeddings="false"),
        "tie_word_embeddings must be true or false, not 'false'",
    ),
    "index of numbers": (index_of_numbers, "1 is missing, 1 of 2 files"),
    "missing shard": (in_shards, "model-2.safetensors is missing, 1 of 2 files"),
    "no tensors": (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors"),
    "a tensor too few": (change_tensors(remove(GATE)), f"tensor {GATE} is missing, 1 in all"),
    "a tensor too many": (
        change_tensors(lambda t: t.update(extra=torch.ones(1))),
        "tensor extra is none that a llama of this config.json has",
    ),
    "a shape": (change_tensors(lambda t: t.update({NORM: torch.ones(3)})), "has shape (3,)"),
    "whole numbers": (
        change_tensors(lambda t: t.update({NORM: torch.ones(16, dtype=torch.int8)})),
        "is int8, which cannot be expressed",
    ),
    "not finite": (
        change_tensors(lambda t: t[NORM].fill_(float("nan"))),
        "holds numbers that are not finite",
    ),
    "truncated": (cut_short, "model.safetensors is damaged"),
    "a pickle": (pickled, "is a pickle, which may run anything; make it safetensors: python -c"),
    "a tokenizer of nothing": (no_tokens, "tokenizer.json has no tokens"),
    "another tokenizer's": (other_tokenizer, "the tokenizer has 50 tokens, and config.json"),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    weights = random_weights(LLAMA, dtype=torch.float32)
    written_run(folder / "checkpoint.safetensors", weights, LLAMA)
    export_model(folder, folder / "hf")
    return folder / "hf"


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(name, mugrow, exported, tmp_path):
    change, message = BAD[name]
    shutil.copytree(exported, tmp_path / "hf")
    change(tmp_path / "hf")
    ended = mugrow("import", tmp_path / "hf", "-o", tmp_path / "in")
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


def test_what_is_not_there_or_there_already(mugrow, exported, tmp_path):
    ended = mugrow("import", tmp_path / "none", "-o", tmp_path / "in")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "no folder with a config.json, no .gguf file and no hf:NAME" in ended.err
    for words in (("import", exported), ("export", exported.parent)):
        ended = mugrow(*words, "-o", exported)
        assert ended.code == 2
        assert "exists already" in ended.err
    ended = mugrow("export", exported.parent, "-o", tmp_path / "out", "--family", "gpt3")
    assert "unknown model_type 'gpt3'; did you mean 'gpt2'?" in ended.err
    ended = mugrow("export", exported.parent, "-o", tmp_path / "out", "--family", "gpt2")
    assert "a gpt2 cannot have norm='rmsnorm', only 'layernorm'" in ended.err
    assert not list(tmp_path.iterdir())


def test_a_method_that_learns_says_what_an_import_lacks(mugrow, exported, tmp_path):
    import_model(exported, tmp_path / "in")
    ended = mugrow(
        "grow", tmp_path / "in", "-o", tmp_path / "out", "--method", "ligo", "--depth", 4
    )
    assert ended.code == 2
    assert "ligo" in ended.err
    assert not (tmp_path / "out").exists()


def test_names_without_the_prefix_are_read_too(stored, tmp_path):
    folder, _, weights = stored(MODELS["gpt2"])
    export_model(folder, tmp_path / "hf")
    tensors, _ = checkpoint.load(tmp_path / "hf" / "model.safetensors")
    bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    bare["h.0.attn.bias"] = torch.ones(1, 1, 8, 8)  # a mask, as old files have it
    save_file(bare, tmp_path / "hf" / "model.safetensors")
    import_model(tmp_path / "hf", tmp_path / "in")
    _, again = read(tmp_path / "in")
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_old_and_new_words_for_rotary_positions_are_the_same():
    new = {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5}}
    old = {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_theta": 5e5}
    want = {"rope_theta": 5e5, "rope_scaling": "linear:factor=2", "rotary_fraction": 1.0}
    for words in (old, new):
        assert rotary(Config(words, "here")) == want
    with pytest.raises(UserError, match="rope_parameters by layer"):
        rotary(Config({"rope_parameters": {"full_attention": {}}}, "here"))


def test_an_mlp_grows_with_the_width_where_its_ratio_is_exact():
    assert mlp_size(576, 1536) == {"mlp_ratio": 1536 / 576}
    assert mlp_size(49, 1) == {"mlp_units": 1}


def test_every_family_has_a_model_here():
    assert MODELS.keys() == FAMILIES.keys()


JUNK = (None, "x", -1, 0, 1.5, 10**9, True, [], ["x"], {}, {"x": {}})


@pytest.mark.parametrize("name", MODELS)
def test_any_config_is_a_model_or_a_line(name):
    values = FAMILIES[name].config(MODELS[name]) | {"model_type": name, "rope_parameters": {}}
    for key, junk in product(values, JUNK):
        published = Published("here", Config(values | {key: junk}, "here"), lambda: iter(()))
        with suppress(UserError):
            assert isinstance(spec_of(published)[1], ModelSpec)


def test_the_hub_is_asked_for_safetensors_and_its_errors_are_a_line(
    mugrow, exported, tmp_path, monkeypatch
):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked = []

    def download(name, allow_patterns):
        asked.append(name)
        assert not any(pattern.endswith(".bin") for pattern in allow_patterns)
        if name == "nobody/nothing":
            raise LocalEntryNotFoundError("it is not in the cache\nand there is no network")
        return str(exported)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    ended = mugrow("import", "hf:someone/llama", "-o", tmp_path / "in")
    assert ended.code == 0, ended.err
    assert asked == ["someone/llama"]
    lineage = json.loads((tmp_path / "in" / "lineage.json").read_text())
    assert lineage[0]["source"] == "hf:someone/llama"
    ended = mugrow("import", "hf:nobody/nothing", "-o", tmp_path / "other")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "hf:nobody/nothing cannot be downloaded: it is not in the cache" in ended.err
