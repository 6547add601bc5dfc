"""Studies in files: TOML, Python, and what ``mugrow new study`` writes."""

import json
import tomllib
from dataclasses import replace

import pytest

import mugrow as api
from mugrow.bench.spec import Multiplier
from mugrow.sweeps.new_study import new_study
from mugrow.sweeps.recipes import recipe
from mugrow.sweeps.study import Method, Rung, Step, Variant

LEAST = """
name = "mine"
title = "A study"
question = "Does it read?"
proxy_widths = [16]
log2_lr = [-9, -7.5]
init_std = [0.1]
proxy_steps = 6
model.width = 16
model.depth = 1
"""


@pytest.fixture
def written(tmp_path):
    def done(text: str):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return done


def test_the_fields_of_a_study(written, tmp_path):
    (tmp_path / "twist.py").write_text("")
    text = """
corpus = "novels.txt"
seeds = [0, 1]
rungs = ["0.5:0.25"]
ladder = ["16:1:32:1"]
methods = ["scratch", "szp:shrink=0.2:optimizer=carry"]
variants = ["tied:model.tied=true,seeds=3"]
hyper = { weight_decay = 0, modules = ["lr.head:2"] }
schedule.kind = "cosine"
"""
    study = recipe(written(LEAST + text))
    assert study.log2_lr == (-9.0, -7.5)
    assert type(study.log2_lr[0]) is type(study.hyper.weight_decay) is float
    assert study.hyper.modules == (Multiplier("lr.head", 2.0),)
    assert study.corpus == str(tmp_path / "novels.txt")
    assert study.rungs == (Rung(0.5, 0.25),)
    assert study.ladder == (Step(16, 1, 32, 1),)
    szp = Method("szp", (("shrink", 0.2),), optimizer="carry")
    assert study.methods == (Method("scratch"), szp)
    assert study.variants == (Variant("tied", ("model.tied=true", "seeds=3")),)
    assert (study.schedule.kind, study.model.depth, study.source_steps) == ("cosine", 1, 500)
    assert recipe(written(LEAST)).corpus == "stdlib"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "name is missing; it has no default"),
        (LEAST.replace("depth", "dpeth"), "unknown setting 'model.dpeth'; did you mean 'model.dep"),
        (LEAST.replace("model.depth = 1", ""), "model.depth is missing"),
        (LEAST + "sedes = [1]", "unknown setting 'sedes'; did you mean 'seeds'?"),
        (LEAST + "width = 3", "unknown setting 'width'; did you mean 'model.width'?"),
        (LEAST + "seeds = 1", "seeds must be a list, in brackets, not 1"),
        (LEAST + "seeds = ['a']", "seeds is a list of whole numbers, and 'a' is none"),
        (LEAST + "seeds = [true]", "seeds is a list of whole numbers, and True is none"),
        (LEAST + "seeds = [1.5]", "seeds is a list of whole numbers, and 1.5 is none"),
        (LEAST + "seeds = []", "seeds must name at least one, not none"),
        (LEAST + "token_factors = [nan]", "token_factors is a list of finite numbers, and nan is"),
        (LEAST + "trials = '3'", "trials must be a whole number, not '3'"),
        (LEAST + "error_rate = inf", "error_rate must be a finite number, not inf"),
        (LEAST + "corpus = 3", "corpus must be text, not 3"),
        (LEAST + "corpus = 2026-11-28", "corpus must be text, not datetime.date(2026, 11, 28)"),
        (LEAST + "growing_heads = 1", "growing_heads must be true or false, not 1"),
        (LEAST + "hyper = 3", "hyper must be a table, [hyper], not 3"),
        (LEAST + "hyper.lr = 3", "unknown setting 'hyper.lr'; did you mean 'hyper.clip'?"),
        (LEAST + "model.vocab_size = 3", "vocab_size follows from the corpus"),
        (LEAST + "model.window = 1.5", "model.window must be a whole number, not 1.5"),
        (LEAST + "model.kv_heads = 'none'", "model.kv_heads must be a whole number, not 'none'"),
        (LEAST + "ladder = [[16, 1, 32, 1]]", "ladder is a list of texts as --set has them, and"),
        (LEAST + "ladder = ['16:1']", "ladder is made of source_width:source_depth:"),
        (LEAST + "methods = ['scratch', 'szp:shrink']", "behind method 'szp' go parameters"),
        (LEAST + "seeds = [1", "mine.toml is not TOML: Unclosed array (at end of document)"),
        (LEAST.replace('"mine"', '"../mine"'), "name must be one of a folder in results, not '../"),
        (LEAST.replace("width = 16", "width = 1000000000"), "width must be at most 16777216, not"),
        (LEAST + "corpus = ''", "the corpus is '': give a name or a path"),
        (LEAST + "proxy_steps = 7", "is not TOML: Cannot overwrite a value (at"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file(written, mugrow, text, line):
    path = written(text)
    ended = mugrow("run", path, "--dry-run")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ended.err.startswith(f"mugrow: {path}" * ("corpus is" not in line))
    assert line in ended.err


@pytest.mark.parametrize("form", ["toml", "py"])
def test_what_is_no_file_is_one_line(mugrow, tmp_path, form):
    assert "no such file" in mugrow("run", tmp_path / f"none.{form}").err
    (tmp_path / f"folder.{form}").mkdir()
    assert "is a folder, not a" in mugrow("run", tmp_path / f"folder.{form}").err
    (tmp_path / f"bytes.{form}").write_bytes(b"\xff\xfe\x00")
    assert "codec can't decode" in mugrow("run", tmp_path / f"bytes.{form}").err
    (tmp_path / "study.yaml").write_text("")
    line = "study.yaml' is no study: one in a file ends in .py or .toml\n"
    assert mugrow("run", tmp_path / "study.yaml").err.endswith(line)
    assert mugrow("run", tmp_path).code == 2
    large = tmp_path / "large.toml"
    with large.open("wb") as file:
        file.truncate(2**40)
    assert "is no study: it has 1,099,511,627,776 bytes" in mugrow("run", large).err


def test_a_study_of_python_is_checked_too(tmp_path, mugrow):
    path = tmp_path / "mine.py"
    begin = "from dataclasses import replace\nfrom mugrow.sweeps.recipes import quick\n"
    for change, line in (
        ("proxy_steps='300'", "proxy_steps must be a whole number, not '300'; the nearest is 300"),
        ("seeds=[0, 1]", "seeds must be a tuple, not [0, 1]; write (0, 1)"),
        (
            "seeds=(2**62 + 1,)",
            "seeds must be at most 4611686018427387904, not 4611686018427387905",
        ),
        ("name=''", "name"),
        ("name='a/b'", "name"),
    ):
        path.write_text(f"{begin}study = replace(quick.study(), {change})")
        ended = mugrow("run", path, "--dry-run")
        assert (ended.code, ended.err.count("\n")) == (2, 1)
        assert line in ended.err


def test_a_dataclass_in_a_studys_file_may_postpone_its_annotations(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass, replace\n"
        "from mugrow.sweeps.recipes import quick\n@dataclass\nclass Mine:\n    seed: int\n"
        "study = replace(quick.study(), name='mine', seeds=(Mine(5).seed,))\n"
    )
    assert api.recipe(path).seeds == (5,)


def test_a_name_of_a_file_without_its_ending_is_asked_for(mugrow, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new_study("mine", tmp_path)
    assert mugrow("run", "mine").err == (
        "mugrow: unknown study 'mine'; did you mean the file 'mine.toml'?\n"
    )


def test_a_new_study_is_priced_as_it_is(mugrow, tmp_path):
    mugrow("new", "study", "mine", "-o", tmp_path)
    ended = mugrow("run", tmp_path / "mine.toml", "--dry-run", "--json")
    assert ended.code == 0, ended.err
    assert {run["role"] for run in json.loads(ended.out)["runs"]} >= {"proxy", "source", "target"}


def test_a_new_study_is_the_same_in_both_forms(tmp_path, mugrow):
    ended = mugrow("new", "study", "my-study", "-o", tmp_path)
    toml = tmp_path / "my-study.toml"
    assert ended.out == f"{toml}\n\nmugrow run {toml} --dry-run\nmugrow run {toml}\n"
    python = new_study("my-study", tmp_path, python=True)
    told, computed = recipe(toml), recipe(python)
    assert replace(told, corpus="synthetic") == computed
    assert {*tomllib.loads(toml.read_text())["model"]} == {
        *("width", "depth", "head_size", "context", "positions")
    }


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("My Study",), "dashes and underscores; the nearest that is: my-study"),
        (("../study",), "dashes and underscores; the nearest that is: study"),
        (("",), "dashes and underscores; the nearest that is: my-study"),
        (("quick",), "there is a study 'quick' already; see mugrow list studies"),
        (("mine", "--package"), "--package and --file are for methods; a study is a file"),
    ],
)
def test_mistakes_in_a_new_study(mugrow, tmp_path, words, line):
    ended = mugrow("new", "study", *words, "-o", tmp_path)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert ended.err.endswith(line + "\n")
    assert not list(tmp_path.iterdir())
    mugrow("new", "study", "mine", "-o", tmp_path)
    assert mugrow("new", "study", "mine", "-o", tmp_path).err.endswith("exists already\n")
