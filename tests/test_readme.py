"""What the README tells people to type works, and what it points at exists."""

import json
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest

from mugrow.bench.checks.cases import flavours
from mugrow.bench.growth import GrowthMethod
from mugrow.sweeps.recipes import RECIPES, recipe

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# What is added to a command so that it ends in seconds: the same program, on less. So it is with
# what a check has no words for, in `few_cases`.
SHORTER = {
    "run": ("--dry-run", "--out", "results/dry"),
    "coordcheck": ("--steps", "1", "--seeds", "0", "1"),
    "bench": (
        *("--widths", "16", "--stacks", "1", "--context", "16", "--seconds", "0.01"),
        *("--depth", "1", "--threads", "1"),
    ),
}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.M | re.S)


def lines():
    """The lines of all shell blocks, as words, comments left out; but for the walk with a published
    checkpoint, which ``checkpoints/test_walk.py`` takes on a small one."""
    shell = "".join(block for block in blocks("bash") if "'.[hf]'" not in block)
    words = (shlex.split(line, comments=True) for line in shell.splitlines())
    return [line for line in words if line]


def set_up_commands():
    return [line for line in lines() if line[:3] == ["python3", "-m", "venv"]]


def mugrow_commands():
    """The arguments of every call of the program, also where it comes after an installation."""
    joined = " && ".join(shlex.join(line) for line in lines())
    calls = (shlex.split(call) for call in joined.split(" && "))
    return [call[1:] for call in calls if Path(call[0]).name == "mugrow"]


def test_there_are_two_set_up_commands_that_install_and_run():
    study, tests = set_up_commands()
    assert study[-3:] == [".venv/bin/mugrow", "run", "quick"]
    assert tests[-1] == ".venv/bin/pytest"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for words, what in ((study, "."), (tests, ".[dev]")):
        install = words[words.index("install") :]
        assert install[: install.index("&&")] == ["install", "-c", "constraints.txt", "-e", what]
    assert (ROOT / "constraints.txt").exists()
    assert "dev" in extras["optional-dependencies"]


def test_the_commands_cover_the_program():
    assert {words[0] for words in mugrow_commands()} == {
        "run",
        "list",
        "report",
        "compare",
        "bench",
        "savings",
        "fit",
        "ladder",
        "advise",
        "check",
        "transfer",
        "importance",
        "reproduce",
        "figure",
        "coordcheck",
        "read",
        "verify",
        "watch",
    }


@pytest.fixture
def few_cases(monkeypatch):
    """Checks of a growth method take GPT-2 as it is, and LLaMA, of one seed; the smoke test trains
    shortly."""
    few = {name: flavours()[name] for name in ("gpt2", "llama")}
    monkeypatch.setattr("mugrow.bench.checks.cases.flavours", lambda full=False: few)
    monkeypatch.setattr("mugrow.bench.checks.coordinates.SEEDS", (0,))
    monkeypatch.setattr("mugrow.bench.checks.smoke.STEPS", 60)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(words, marks=pytest.mark.integration if words[0] == "check" else ())
        for words in mugrow_commands()
    ],
    ids=" ".join,
)
def test_every_mugrow_command_works(
    words, mugrow, finished, few_figures, few_cases, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished.folder, tmp_path / "results" / "quick")
    if words[0] == "compare":
        shutil.copytree(finished.folder, tmp_path / "results" / "mine")
    if words[0] == "importance":
        shutil.copytree(
            ROOT / "results" / "reference" / "modules", tmp_path / "results" / "modules"
        )
    header = "method,params,tokens,val_loss\n"
    rows = [
        f"{arm},1000,{k * n},{4 - k / 10}\n"
        for arm, n in (("a", 50), ("scratch", 99))
        for k in range(9)
    ]
    (tmp_path / "curves.csv").write_text(header + "".join(rows))
    header = "corpus,params,tokens,loss\n"
    rows = [f"c,{n},{d},{2 + 9 / n + 9 / d}\n" for n in (2, 4, 8, 16) for d in (20, 40, 80)]
    (tmp_path / "runs.csv").write_text(header + "".join(rows))
    rows = [f"{n},{2.0**x},{3 + (x + 8) ** 2 / n}\n" for n in (64, 128) for x in range(-11, -4)]
    (tmp_path / "sweep.csv").write_text("width,lr,loss\n" + "".join(rows))
    ended = mugrow(*words, *SHORTER.get(words[0], ()))
    assert ended.code == 0, ended.err
    assert ended.out


@pytest.mark.parametrize("name", [name for name in RECIPES if not recipe(name).source])
def test_every_recipe_is_priced_without_training(name, mugrow, tmp_path):
    ended = mugrow("run", name, "--dry-run", "--json", "--out", tmp_path / "study")
    assert ended.code == 0, ended.err
    plan = json.loads(ended.out)
    roles = {run["role"] for run in plan["runs"]}
    study = recipe(name)
    grown = {"source", "target"} if study.ladder else set()
    assert roles == {"proxy"} | grown | ({"trunk", "branch"} if study.budgets and grown else set())
    assert all(run["flops"] > 0 for run in plan["runs"])
    assert plan["estimated_s"] > 0
    assert not (tmp_path / "study").exists()


def test_a_recipe_that_grows_an_import_says_how_to_make_it(mugrow, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = mugrow("run", "grow-smollm2", "--dry-run")
    assert ended.code == 2
    assert ended.err.endswith("to make one: mugrow import SOURCE -o smollm2\n")


def test_the_example_of_a_growth_method_is_one():
    (example,) = (block for block in blocks("python") if "METHOD" in block)
    names = {"GrowthMethod": GrowthMethod, "supports": lambda small, big: None}
    exec(example, names)
    assert names["METHOD"].params == {"strength": 1.0}


def test_every_file_it_shows_or_links_to_exists():
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_nothing_is_left_to_fill_in():
    assert not re.findall(r"@@\w+@@|TODO|TBD", README)
