"""``mugrow grow`` on the runs of a finished study."""

import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest
import torch

from mugrow.bench import checkpoint
from mugrow.bench.growth import Moments, method
from mugrow.bench.model import parameters
from mugrow.bench.parametrization import generator, initial_weights, parametrization
from mugrow.bench.spec import UserError, run_spec_from_json
from mugrow.bench.start import read_source
from mugrow.sweeps.grow import growth_again


@pytest.fixture(scope="module")
def source(finished):
    """The folder of a trained source of width 16 and depth 1."""
    runs = pd.read_parquet(finished.folder / "runs.parquet")
    run_id = runs[runs["role"] == "source"]["run_id"].iloc[0]
    return finished.folder / "runs" / run_id


def grown(mugrow, source, out, *words):
    ended = mugrow("grow", source, *words, "--json", "-o", out)
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def test_what_is_written_is_the_grown_source(mugrow, source, tmp_path):
    result = grown(mugrow, source, tmp_path / "g", "--method", "hypercloning", "--width", 32)
    weights, metadata = checkpoint.load(tmp_path / "g" / "checkpoint.safetensors")
    spec = run_spec_from_json(metadata["spec"])
    read, run = read_source(source / "checkpoint.safetensors", "float32", carry=False)
    assert (spec.model.width, spec.model.depth) == (32, run.model.depth)
    assert spec.start.source_run_id == result["source_run_id"] == source.name
    assert spec.run_id == result["run_id"]
    assert weights.keys() == parameters(spec.model).keys()
    assert torch.equal(weights["embed.weight"], read.weights["embed.weight"].repeat(1, 2))
    assert result["breaks"] is None
    assert result["logit_error"] < 1e-5  # float32
    assert not (tmp_path / "g" / "state.safetensors").exists()
    before = source / "checkpoint.safetensors"
    assert growth_again(spec, before) == (None, result["logit_error"])
    learning = replace(spec, start=replace(spec.start, method="ligo"))
    with pytest.raises(UserError, match="'ligo' trains on the study's text"):
        growth_again(learning, before)


def test_a_method_that_changes_the_logits_says_how_much(mugrow, source, tmp_path):
    ended = mugrow(
        "grow",
        source,
        "--method",
        "szp",
        "--set",
        "shrink=0.2",
        "--width",
        32,
        "-o",
        tmp_path / "g",
    )
    assert ended.code == 0, ended.err
    assert "logits here: changed: " in ended.out
    _, metadata = checkpoint.load(tmp_path / "g" / "checkpoint.safetensors")
    assert run_spec_from_json(metadata["spec"]).start.params == (("shrink", 0.2),)


def test_the_seed_and_noise_are_the_draws(mugrow, source, tmp_path):
    words = ("--method", "hypercloning", "--width", 32)
    grown(mugrow, source, tmp_path / "plain", *words)
    grown(mugrow, source, tmp_path / "noisy", *words, "--noise", 0.5, "--seed", 9)
    plain, _ = checkpoint.load(tmp_path / "plain" / "checkpoint.safetensors")
    noisy, metadata = checkpoint.load(tmp_path / "noisy" / "checkpoint.safetensors")
    spec = run_spec_from_json(metadata["spec"])
    assert (spec.seed, spec.start.noise) == (9, 0.5)
    rules = parametrization(spec.parametrization).rules(spec.model, spec.base)
    init = initial_weights(spec.model, rules, spec.hyper.init_std, 9, torch.float32)
    name = "blocks.0.mlp.up.weight"
    torch.testing.assert_close(noisy[name] - plain[name], 0.5 * init[name])


def test_the_optimizers_state_is_grown_too(mugrow, source, tmp_path):
    words = ("--method", "hypercloning", "--width", 32, "--optimizer", "carry")
    assert grown(mugrow, source, tmp_path / "g", *words)["optimizer"] == "carried"
    state, _ = checkpoint.load(tmp_path / "g" / "state.safetensors")
    before, run = read_source(source / "checkpoint.safetensors", "float32", carry=True)
    after, spec = read_source(tmp_path / "g" / "checkpoint.safetensors", "float32", carry=True)
    assert after.carried.updates == before.carried.updates == run.last_step
    want = method("hypercloning").grow_moments(
        Moments(**before.carried.buffers),
        before.decoder,
        after.decoder,
        generator("growth", spec.seed),
    )
    for name in parameters(spec.model):
        assert torch.equal(state[f"v.{name}"], want.v[name]), name


@pytest.mark.parametrize("kind", ["id", "file", "again"])
def test_a_source_is_found_by_id_by_file_and_once_grown(mugrow, source, tmp_path, kind):
    paths = {
        "id": source.parent.parent / source.name,
        "file": source / "checkpoint.safetensors",
        "again": tmp_path / "once",
    }
    if kind == "again":
        grown(mugrow, source, paths[kind], "--method", "hypercloning", "--width", 32)
    words = ("--method", "stack", "--depth", 2)
    result = grown(mugrow, paths[kind], tmp_path / "g", *words)
    assert result["target_shape"] == ("w32-d2" if kind == "again" else "w16-d2")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--method", "stakc"), "unknown method 'stakc'; did you mean 'stack'?"),
        (("--method", "stack", "--width", "32"), "'stack' grows depth only"),
        (("--method", "hypercloning", "--width", "8"), "is not a multiple of head_size 16"),
        (("--method", "stack", "--depth", "0"), "depth must be at least 1, not 0"),
        (("--method", "zero_pad", "--width", "32", "--head-size", "8"), "would shrink from 16 to"),
        (("--method", "szp", "--set", "shrnk=1"), "'shrnk'; did you mean 'shrink'?"),
        (("--method", "szp", "--set", "shrink"), "--set takes PARAMETER=VALUE, not 'shrink'"),
        (("--method", "scratch", "--width", "32"), "'scratch' grows no source"),
        (("--method", "lemon", "--width", "32", "--optimizer", "carry"), "not carry the optim"),
        (("--method", "gradual_stack", "--depth", "4"), "stages, with training between them"),
    ],
)
def test_what_cannot_be_grown_is_one_line_and_nothing_is_written(
    mugrow, source, tmp_path, words, line
):
    ended = mugrow("grow", source, *words, "-o", tmp_path / "g")
    assert (ended.code, ended.out) == (2, "")
    assert line in ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "g").exists()


def test_sources_that_are_not_there(mugrow, source, finished, tmp_path):
    runs = pd.read_parquet(finished.folder / "runs.parquet")
    proxy = runs[runs["role"] == "proxy"]["run_id"].iloc[0]
    damaged = tmp_path / "checkpoint.safetensors"
    shutil.copy(source / "checkpoint.safetensors", damaged)
    alone = damaged.read_bytes()
    damaged.write_bytes(alone[:1000])
    lonely = tmp_path / "lonely.safetensors"
    lonely.write_bytes(alone)
    words = ("--method", "hypercloning", "--width", "32", "-o", tmp_path / "g")
    for path, line in (
        (finished.folder / proxy, f"run {proxy} left no checkpoint"),
        (finished.folder / source.name[:-1], f"did you mean {source.name!r}?"),
        (tmp_path / "nowhere", "is neither a checkpoint, nor a run's folder, nor STUDY/RUN_ID"),
        (damaged, "is damaged"),
    ):
        ended = mugrow("grow", path, *words)
        assert ended.code == 2
        assert line in ended.err
        assert ended.err.count("\n") == 1
    ended = mugrow("grow", lonely, *words, "--optimizer", "carry")
    assert "no optimizer state to carry beside" in ended.err
    assert not (tmp_path / "g").exists()


def test_nothing_is_written_over(mugrow, source, tmp_path):
    ended = mugrow("grow", source, "--method", "continue", "-o", tmp_path)
    assert (ended.code, ended.err) == (2, f"mugrow: {tmp_path} exists already\n")
    for here in ("", "."):
        ended = mugrow("grow", source, "--method", "continue", "-o", here)
        assert (ended.code, ended.err) == (
            2, "mugrow: the folder to write is '' or '.', which is here: give it a name\n"
        )  # fmt: skip
