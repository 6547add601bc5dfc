"""``mugrow import`` and ``mugrow export`` without transformers: round trips, and bad input."""

import json
import shutil
import sys
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
from mugrow.bench.checkpoints.reading import read_weights, spec_of
from mugrow.bench.checkpoints.source import Published, opened
from mugrow.bench.checkpoints.vocabulary import vocabulary
from mugrow.bench.checks.cases import NEOX, OPT, SMALL, random_weights
from mugrow.bench.model import Decoder
from mugrow.bench.parametrization import rules_of
from mugrow.bench.spec import (
    ModelSpec,
    UserError,
    canonical_json,
    llama,
    rope_scaling,
    run_spec_from_json,
)
from mugrow.sweeps.published import export_model, import_model

LLAMA = llama(**SMALL, kv_heads=1, rope_theta=1e5, norm_eps=1e-6)
MODELS = {
    "gpt2": ModelSpec(**SMALL, mlp="gelu_tanh", tied=True),
    "llama": replace(LLAMA, rope_scaling="llama3:factor=8:low=1:high=4:context=16"),
    "mistral": replace(LLAMA, window=4, query_heads=4),
    "qwen2": replace(
        LLAMA, qkv_bias=True, query_heads=4, rope_scaling="linear:factor=2", mlp_ratio=2.5
    ),
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


def in_both_shards(folder):
    tensors, _ = checkpoint.load(folder / "model.safetensors")
    in_shards(folder)
    save_file(dict(list(tensors.items())[5:]), folder / "model-2.safetensors")
    return tensors


def in_two_files(folder):
    tensors = in_both_shards(folder)
    save_file(dict(list(tensors.items())[4:]), folder / "model-2.safetensors")


def change_index(edit):
    def change(folder):
        in_both_shards(folder)
        path = folder / "model.safetensors.index.json"
        index = json.loads(path.read_text())
        edit(index["weight_map"])
        path.write_text(json.dumps(index))

    return change


def remove(name):
    return lambda tensors: tensors.pop(name)


GATE, NORM = "model.layers.0.mlp.gate_proj.weight", "model.norm.weight"
YARN = {"rope_type": "yarn", "factor": 4.0}
BAD = {
    "no config": (lambda f: (f / "config.json").unlink(), "has no config.json"),
    "config that is no JSON": (lambda f: (f / "config.json").write_text("{"), "is not JSON"),
    "another architecture": (change_config(model_type="gemma"), "unknown model_type 'gemma'"),
    "no size": (change_config(hidden_size=None), "hidden_size must be a number, not None"),
    "heads that do not divide": (
        change_config(num_key_value_heads=3),
        "num_key_value_heads 3 does not divide num_attention_heads 2",
    ),
    "activation": (change_config(hidden_act="gelu"), "hidden_act='gelu' cannot be expressed"),
    "scaling": (change_config(rope_scaling=YARN), "rope_scaling 'yarn' cannot be expressed"),
    "half of the biases": (change_config(attention_bias=True), "attention_bias=True without"),
    "quantised": (change_config(quantization_config={}), "quantization_config cannot"),
    "config against weights": (change_config(hidden_size=32), "and by config.json (32, 32)"),
    "too deep": (
        change_config(num_hidden_layers=3),
        "config.json: num_hidden_layers=3, and the tensors are of 2 blocks",
    ),
    "not deep enough": (change_config(num_hidden_layers=1), "num_hidden_layers=1, and the tensors"),
    "tied, and not equal": (change_config(tie_word_embeddings=True), "lm_head.weight is not the"),
    "a flag in words": (
        change_config(tie_word_embeddings="false"),
        "tie_word_embeddings must be true or false, not 'false'",
    ),
    "index of numbers": (index_of_numbers, "1 is missing, 1 of 2 files"),
    "an adapter": (
        lambda f: (f / "adapter_config.json").write_text("{}"),
        "holds an adapter, adapter_config.json: merge it into its model first",
    ),
    "an index of what is not there": (
        change_index(lambda files: files.update(extra="model-1.safetensors")),
        "says that extra is in model-1.safetensors, and it is in none",
    ),
    "an index of another file": (
        change_index(lambda files: files.update({next(iter(files)): "model-2.safetensors"})),
        "is in model-2.safetensors, and it is in model-1.safetensors",
    ),
    "an index that leaves out": (
        change_index(lambda files: files.pop(next(iter(files)))),
        "which model.safetensors.index.json does not list",
    ),
    "a tensor in two files": (in_two_files, "is in model-1.safetensors and in model-2.safetensors"),
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


def test_what_a_dtype_cannot_hold_is_refused(stored, tmp_path):
    folder, run, weights = stored(LLAMA)
    weights["norm.gain"][0] = 1e5
    checkpoint.save(folder / "checkpoint.safetensors", weights, {"spec": canonical_json(run)})
    with pytest.raises(UserError, match="holds 100000, which is beyond float16"):
        export_model(folder, tmp_path / "hf", dtype="float16")
    assert not (tmp_path / "hf").exists()
    export_model(folder, tmp_path / "hf", dtype="bfloat16")


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


NAN = float("nan")
LLAMA3 = {
    "rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
    "original_max_position_embeddings": 16,
}  # fmt: skip
USED = {"use_sliding_window": True, "sliding_window": 4}
MIXED = ["full_attention", "sliding_attention"]
SAID_WRONG = [  # a family, what its config.json says, and what is said of that
    ("llama", {"rms_norm_eps": -1.0}, "rms_norm_eps must be a finite number above 0, not -1.0"),
    ("llama", {"rms_norm_eps": NAN}, "rms_norm_eps must be a finite number above 0, not nan"),
    ("gpt2", {"layer_norm_epsilon": 0.0}, "layer_norm_epsilon must be a finite number above 0"),
    ("gpt_neox", {"layer_norm_eps": 0}, "layer_norm_eps must be a finite number above 0, not 0"),
    ("llama", {"rope_theta": 0.0}, "rope_theta must be a finite number above 0, not 0.0"),
    ("gpt_neox", {"rotary_pct": 1.5, "partial_rotary_factor": 1.5}, "_factor is at most 1"),
    ("llama", {"rope_scaling": LLAMA3 | {"factor": -8}}, "factor must be a finite number above 0"),
    ("llama", {"rope_scaling": LLAMA3 | {"low_freq_factor": 5}}, "low_freq_factor 5 must be below"),
    ("llama", {"hidden_size": 2**25}, "hidden_size must be a whole number from 1 to 16777216, not"),
    ("opt", {"num_attention_heads": 3}, "hidden_size 16 is not a multiple of num_attention_heads"),
    ("gpt2", {"n_head": 3}, "n_embd 16 is not a multiple of n_head 3"),
    ("gpt2", {"num_attention_heads": 1}, "num_attention_heads=1 contradicts n_head=2"),
    ("gpt_neox", {"rope_theta": 3.0}, "rope_theta=3.0 contradicts 10000.0, which transformers"),
    ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5 cannot be expressed"),
    ("qwen3", {"rope_parameters": {"rope_theta": 3.0}}, "rope_theta=100000.0 contradicts 3.0 of"),
    (
        "llama",
        {"rope_scaling": LLAMA3, "rope_parameters": {"rope_type": "default"}},
        "rope_scaling contradicts rope_parameters",
    ),
    ("llama", {"is_causal": False}, "is_causal=False cannot be expressed, only True"),
    ("llama", {"per_layer_config": {"1": {"rms_norm_eps": 1}}}, "per_layer_config={'1': {'rms"),
    ("llama", {"transformers_weights": "b.safetensors"}, "transformers_weights='b.safetensors'"),
    ("gpt_neox", {"head_dim": 4}, "head_dim=4 cannot be expressed, only None"),
    ("llama", {"layer_types": MIXED}, "layer_types 'sliding_attention' cannot be expressed here"),
    ("mistral", {"layer_types": MIXED}, "layer_types 'full_attention' cannot be expressed here"),
    ("qwen2", {**USED, "layer_types": MIXED}, "layer_types: a sliding_window of some layers and"),
    ("qwen2", {**USED, "layer_types": None, "max_window_layers": 1}, "max_window_layers=1: a slid"),
    ("qwen3", {**USED, "layer_types": ["chunked"]}, "layer_types 'chunked' cannot be expressed"),
]


def config_of(name, **changes):
    values = FAMILIES[name].config(MODELS[name]) | {"model_type": name} | changes
    return Published("here", Config(values, "here"), lambda: iter(()))


@pytest.mark.parametrize(("name", "changes", "said"), SAID_WRONG)
def test_what_a_config_says_wrong_is_named_by_its_own_words(name, changes, said):
    with pytest.raises(UserError) as error:
        spec_of(config_of(name, **changes))
    assert said in str(error.value)
    assert str(error.value).startswith("here: ")


def test_layer_types_say_which_layers_have_a_window():
    for kind, first, window in (
        ("full_attention", 0, None), ("sliding_attention", 9, 4), (None, 0, 4), (None, 9, None),
    ):  # fmt: skip
        kinds = kind and [kind, kind]
        said = config_of("qwen2", **USED, layer_types=kinds, max_window_layers=first)
        assert spec_of(said)[1].window == window


def test_every_digit_of_a_scaling_counts():
    words = {"rope_scaling": {"rope_type": "linear", "factor": 4 / 3}, "rope_theta": 5e5}
    name, params = rope_scaling(rotary(Config(words, "here"))["rope_scaling"])
    assert (name, params) == ("linear", {"factor": 4 / 3})


def test_gpt2_is_read_by_the_names_of_other_families_too():
    values = dict(config_of("gpt2").config.values)
    for own, other in (("n_head", "num_attention_heads"), ("n_embd", "hidden_size")):
        values[other] = values.pop(own)
    assert spec_of(Published("here", Config(values, "here"), lambda: iter(())))[1] == MODELS["gpt2"]


@pytest.mark.parametrize("name", ["num_hidden_layers", "hidden_size", "vocab_size"])
def test_a_huge_size_is_refused_before_anything_is_built(name, exported, monkeypatch):
    family = sys.modules["mugrow.bench.checkpoints.family"]

    def unread():
        raise AssertionError("read")

    def parameters(spec):
        assert spec.depth <= 2, "built"
        return all_of(spec)

    all_of, published = family.parameters, opened(str(exported))
    monkeypatch.setattr(family, "parameters", parameters)
    found = [one._replace(read=unread) for one in published.tensors()]
    values = published.config.values | {name: 10**6}
    huge = replace(published, config=Config(values, "here"), tensors=lambda: iter(found))
    one, spec = spec_of(huge)
    with pytest.raises(UserError, match=r"num_hidden_layers=1000000|has shape"):
        read_weights(huge, one, spec)


def sentencepiece(pieces):
    """As SentencePiece writes a model: field 1 a piece, then field 2 of the trainer."""
    each = [b"\x0a" + bytes([len(piece)]) + piece for piece in pieces]
    return b"".join(b"\x0a" + bytes([len(one)]) + one for one in each) + b"\x12\x02\x08\x01"


WORDS = {f"w{i}": i for i in range(30)}
PIECES = sentencepiece([f"w{i}".encode() for i in range(30)])
TIKTOKEN = b"IQ== 0\nIg== 1\n"
BESIDE = [  # files, the one that is the tokenizer, its tokens
    ({}, None, None),
    ({"vocab.json": json.dumps(WORDS).encode(), "merges.txt": b""}, "vocab.json", 30),
    ({"vocab.txt": b"\n".join(word.encode() for word in WORDS)}, "vocab.txt", 30),
    ({"tokenizer.model": PIECES}, "tokenizer.model", 30),
    ({"spiece.model": PIECES, "added_tokens.json": b'{"<pad>": 30}'}, "spiece.model", 31),
    (
        {
            "vocab.json": json.dumps(WORDS).encode(),
            "tokenizer_config.json": b'{"added_tokens_decoder": {"31": {"content": "<end>"}}}',
        },
        "vocab.json",
        32,
    ),
    ({"tokenizer.model": TIKTOKEN}, "tokenizer.model", None),
    ({"tokenizer.model": PIECES[:-1]}, "tokenizer.model", None),
    ({"tekken.json": b"{}"}, "tekken.json", None),
]


@pytest.mark.parametrize(("files", "file", "tokens"), BESIDE)
def test_tokens_are_counted_where_a_tokenizer_says_so(files, file, tokens):
    assert vocabulary(files, "here") == (file, tokens)


def test_a_vocabulary_of_another_size_is_padded_or_refused(mugrow, exported, tmp_path):
    shutil.copytree(exported, tmp_path / "hf")
    (tmp_path / "hf" / "spiece.model").write_bytes(PIECES)
    ended = mugrow("import", tmp_path / "hf", "-o", tmp_path / "in")
    assert ended.out.endswith("tokenizer: 30 tokens in 32 rows\n")
    assert read(tmp_path / "in")[0].model.padded_vocab == 32
    (tmp_path / "hf" / "vocab.json").write_text(json.dumps(WORDS | {"one more": 32}))
    ended = mugrow("import", tmp_path / "hf", "-o", tmp_path / "other")
    assert ended.code == 2
    assert "the tokenizer has 33 tokens, and config.json vocab_size 32" in ended.err
    (tmp_path / "hf" / "vocab.json").write_text("[]")
    ended = mugrow("import", tmp_path / "hf", "-o", tmp_path / "other")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "vocab.json cannot be read: vocab.json is not a JSON object" in ended.err
    (tmp_path / "hf" / "vocab.json").unlink()
    (tmp_path / "hf" / "spiece.model").write_bytes(TIKTOKEN)
    ended = mugrow("import", tmp_path / "hf", "-o", tmp_path / "other")
    assert "spiece.model does not say how many tokens it has; they are not compared" in ended.out


def test_of_a_file_and_an_index_the_file_is_read(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "hf")
    (tmp_path / "hf" / "model.safetensors.index.json").write_text("{}")
    import_model(tmp_path / "hf", tmp_path / "in")


def test_the_scale_of_new_weights_is_the_familys_own(stored, tmp_path):
    for name, key in (("llama", "initializer_range"), ("opt", "init_std")):
        folder, _, _ = stored(MODELS[name], name)
        export_model(folder, tmp_path / f"{name}-hf", family_name=name)
        change_config(**{key: 0.006})(tmp_path / f"{name}-hf")
        import_model(tmp_path / f"{name}-hf", tmp_path / f"{name}-in")
        assert read(tmp_path / f"{name}-in")[0].hyper.init_std == 0.006
    for number in (-1.0, 0.0, NAN):
        change_config(init_std=number)(tmp_path / "opt-hf")
        with pytest.raises(UserError, match="init_std must be a finite number above 0"):
            import_model(tmp_path / "opt-hf", tmp_path / "other")


def test_a_torchvision_that_does_not_import_is_said_where_it_matters(
    mugrow, exported, tmp_path, monkeypatch
):
    from mugrow.sweeps import published

    for name in ("transformers", "torchvision"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('operator nms does not exist')")
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    published.broken_torchvision.cache_clear()
    ended = mugrow("export", exported.parent, "-o", tmp_path / "out")
    published.broken_torchvision.cache_clear()
    assert ended.code == 0
    assert ended.err == (
        "caution: transformers cannot be imported here: torchvision, which it imports, is not of "
        "the build of torch (operator nms does not exist); pip uninstall torchvision\n"
    )


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
