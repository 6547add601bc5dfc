"""A growth method in a file, in a study: its identity, its workers, its changes."""

import pickle
import threading
from collections import UserDict

import pandas as pd
import pytest

from mugrow.bench import growth, method_file
from mugrow.bench.growth import method
from mugrow.bench.run import run_stack
from mugrow.bench.spec import UserError
from mugrow.sweeps.override import override
from mugrow.sweeps.recipes import recipe
from mugrow.sweeps.scaffold import new_method

STUDY = """
name = "mine"
title = "A method of my own"
question = "Does it train?"
corpus = "{corpus}"
proxy_widths = [16]
log2_lr = [-7]
init_std = [0.1]
seeds = [0]
proxy_steps = 4
source_steps = 5
target_steps = 5
batch_sequences = 2
val_tokens = 64
final_val_tokens = 0
budgets = []
ladder = ["16:1:16:2"]
methods = ["scratch", "./twist.py"]
model = {{ width = 16, depth = 1, context = 16 }}
"""


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """What other tests have read is not known here."""
    monkeypatch.setattr(growth, "FROM_FILES", {})
    monkeypatch.setattr(method_file, "FROM_FILES", growth.FROM_FILES)
    monkeypatch.setattr(method_file, "_read", {})


@pytest.fixture
def twist(tmp_path):
    new_method("twist", tmp_path, one_file=True)
    return tmp_path / "twist.py"


class OfEachThread(UserDict):
    """What this thread has put there."""

    def __init__(self):
        self.own = threading.local()

    @property
    def data(self):
        return self.own.__dict__


@pytest.fixture
def in_another_process(monkeypatch):
    """Workers know no method but what they are handed, and nobody learns of one from them."""
    monkeypatch.setattr(growth, "FROM_FILES", OfEachThread())
    monkeypatch.setattr(method_file, "FROM_FILES", growth.FROM_FILES)

    def run(job, *leave):
        growth.FROM_FILES.clear()
        run_stack(pickle.loads(pickle.dumps(job)))

    monkeypatch.setattr("mugrow.sweeps.worker.run_stack", run)


def test_its_name_holds_its_content(twist):
    found = method_file.read_method(twist)
    assert found.name.startswith("twist@")
    assert method(found.name).name == found.name
    moved = twist.with_name("moved.py")
    moved.write_text(twist.read_text())
    assert method_file.read_method(moved).name == found.name
    moved.write_text(twist.read_text() + "\n")
    assert method_file.read_method(moved).name != found.name
    with pytest.raises(UserError, match=r"unknown method 'twist@00000000'"):
        method("twist@00000000")


@pytest.mark.integration
def test_a_study_grows_by_it_and_notices_a_change(
    mugrow, in_threads, in_another_process, few_figures, tmp_path, twist, corpus
):
    study, out = tmp_path / "study.toml", tmp_path / "out"
    study.write_text(STUDY.format(corpus=corpus))
    words = ("run", study, "--out", out, "--workers", 1)
    name = method_file.read_method(twist).name
    ended = mugrow(*words)
    assert ended.code == 0
    claim = f"method '{name}' says that it preserves the logits, exactly; measured: relative"
    assert ended.err.count(claim) == 1
    runs = pd.read_parquet(out / "runs.parquet")
    assert set(runs["status"]) == {"finished"}
    assert set(runs[runs["role"] == "target"]["method"]) == {"scratch", name}
    assert (out / "methods" / f"{name}.py").read_text() == twist.read_text()

    before = twist.read_text()
    twist.write_text(before.replace("zeros_like", "ones_like"))
    ended = mugrow(*words)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert f"the file of method 'twist' has changed: {out} was begun with {name}" in ended.err
    twist.write_text(before)
    ended = mugrow(*words)  # and goes on where it is itself again
    assert (ended.code, len(pd.read_parquet(out / "runs.parquet"))) == (0, len(runs))


def test_the_name_of_a_file_may_have_capitals_and_commas(twist):
    for name in ("UP.PY", "a,b.py", "one, two, three.Py"):
        file = twist.with_name(name)
        file.write_text(twist.read_text())
        study = override(recipe("quick"), [f"methods=scratch,{file}:noise=0.1,szp"])
        assert [one.name for one in study.methods] == ["scratch", str(file), "szp"]
        assert method_file.is_file(study.methods[1].name)
        assert method_file.read_method(file).name.startswith("twist@")
    absent = override(recipe("quick"), ["methods=scratch,./a,b.py"]).methods
    assert [one.name for one in absent] == ["scratch", "./a", "b.py"]  # what is not there


def test_parameters_behind_a_file(mugrow, twist, tmp_path, corpus):
    twist.write_text(twist.read_text().replace("rng: torch.Generator\n", "rng: torch.Generator, "
                                               "*, scale: float = 1.0\n"))  # fmt: skip
    set_ = ("--set", "ladder=16:1:16:2", "seeds=0")
    dry = ("run", "quick", "--dry-run", "--corpus", corpus, *set_)
    ended = mugrow(*dry, f"methods=scratch,{twist}:scale=2:noise=0.1")
    assert ended.code == 0, ended.err
    assert "twist@" in ended.out
    assert "says that it preserves the logits, exactly; measured: relative" in ended.err
    ended = mugrow(*dry, f"methods=scratch,{twist}:scal=2")
    name = method_file.read_method(twist).name
    assert ended.err == (
        f"mugrow: unknown parameter of method '{name}': 'scal'; did you mean 'scale'?\n"
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (None, "no such file: {path}"),
        ("", "{path} has no METHOD that is a GrowthMethod"),
        ("import sys; sys.exit(0)", "{path} cannot be imported: SystemExit: 0"),
        ("def (", "{path} cannot be imported: SyntaxError: invalid syntax"),
        ("from mugrow.bench.growth.szp import METHOD", "a method 'szp', which there is already"),
    ],
)
def test_a_broken_file_is_one_line(mugrow, tmp_path, corpus, text, line):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    words = ("run", "quick", "--corpus", corpus, "--set", f"methods=scratch,{path}")
    ended = mugrow(*words)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert line.format(path=path) in ended.err


def test_a_stored_model_grows_by_it(mugrow, finished, twist, tmp_path):
    runs = pd.read_parquet(finished.folder / "runs.parquet")
    source = runs[runs["role"] == "source"].iloc[0]["run_id"]
    words = ("--method", twist, "--depth", 2, "-o", tmp_path / "grown")
    ended = mugrow("grow", finished.folder / source, *words)
    assert ended.code == 0, ended.err
    assert "by twist@" in ended.out
