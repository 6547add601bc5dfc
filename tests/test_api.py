"""What ``import mugrow`` gives: its names, their types and examples, and the page on them."""

import ast
import doctest
import inspect
import json
import re
import runpy
import subprocess
import sys
import typing
from importlib import import_module
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import pytest

import mugrow
from mugrow.analysis.laws.rows import RowPolicy
from mugrow.analysis.read.plain import to_json
from mugrow.bench.checks import CHECKS

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "results" / "reference"
EXAMPLE = ROOT / "docs" / "examples" / "from_python.py"
PAGE = ROOT / "docs" / "how-to" / "python.md"
HEAVY = {"torch", "pandas", "numpy", "matplotlib", "scipy", "pyarrow", "optuna"}
SLOW = ("smoke", "coordinates", "equivalence", "noise")
"""Checks of the contract kit that train; tests of their own run them."""


@pytest.fixture
def few_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SLOW:
        monkeypatch.delitem(CHECKS, name)


@pytest.fixture
def mugrow_program(request: pytest.FixtureRequest) -> Any:
    """The fixture ``mugrow``, beside the module of that name."""
    return request.getfixturevalue("mugrow")


def functions() -> dict[str, Any]:
    values = {name: getattr(mugrow, name) for name in mugrow.__all__}
    return {name: value for name, value in values.items() if inspect.isfunction(value)}


def written() -> tuple[dict[str, str], dict[str, str]]:
    """Of every public name, where it is defined: for type checkers, and when it is used."""
    tree = ast.parse(Path(mugrow.__file__).read_text())
    typed: dict[str, str] = {}
    homes: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for line in node.body:
                if isinstance(line, ast.ImportFrom):
                    for alias in line.names:
                        typed[alias.asname or alias.name] = f"{line.module}:{alias.name}"
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES":
            homes = ast.literal_eval(node.value)
    return typed, {
        name: f"mugrow.{home}" + ("" if ":" in home else f":{name}") for name, home in homes.items()
    }


def test_importing_it_brings_nothing_large() -> None:
    program = (
        "import mugrow, sys; dir(mugrow); print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "mugrow" in done.stdout.split()
    assert not HEAVY & set(done.stdout.split())


def test_type_checkers_and_users_get_the_same_names() -> None:
    typed, homes = written()
    assert typed == homes
    assert list(homes) == mugrow.__all__ == sorted(mugrow.__all__)
    assert {*mugrow.__all__, "__version__", "analysis", "bench", "sweeps"} == set(dir(mugrow))


def test_every_name_is_what_its_home_defines() -> None:
    for name, home in written()[1].items():
        module, _, there = home.partition(":")
        assert getattr(mugrow, name) is getattr(import_module(module), there)
        assert getattr(mugrow, name).__module__ == module


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(AttributeError, match="module 'mugrow' has no attribute 'sumarize'"):
        _ = mugrow.sumarize


@pytest.mark.parametrize("name", mugrow.__all__)
def test_examples_are_true(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every function has one; so has what people construct."""
    monkeypatch.chdir(ROOT)
    value = getattr(mugrow, name)
    tests = doctest.DocTestFinder(recurse=False).find(value, name, globs={})
    examples = [example for test in tests for example in test.examples]
    constructed = {"Study", "Method", "Question", "Paper", "Claim", "GrowthMethod"}
    assert examples or not (name in functions() or name in constructed)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    said: list[str] = []
    for test in tests:
        runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)


def test_the_module_s_own_example_is_true(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (test,) = doctest.DocTestFinder(recurse=False).find(mugrow, "mugrow", globs={})
    assert test.examples
    said: list[str] = []
    assert not doctest.DocTestRunner(verbose=False).run(test, out=said.append).failed, said


@pytest.mark.parametrize("name", functions())
def test_arguments_and_results_have_types(name: str) -> None:
    function = functions()[name]
    signature = inspect.signature(function)
    for part in (*signature.parameters.values(), signature):
        stated = getattr(part, "annotation", None) or signature.return_annotation
        assert stated is not inspect.Signature.empty, f"{name}: {part}"
    for word, annotation in typing.get_type_hints(function).items():
        assert not any_in(annotation), f"{name}: {word} is {annotation}"


def any_in(annotation: object) -> bool:
    return annotation is Any or any(map(any_in, typing.get_args(annotation)))


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(
            lambda: (
                ["transfer", str(REFERENCE / "quick")],
                mugrow.transfer(mugrow.load(REFERENCE / "quick")),
            ),
            id="transfer",
        ),
        pytest.param(
            lambda: (
                ["advise", "--params", "4e5", "--tokens", "3e5", "--store",
                 str(REFERENCE / "quick")],
                mugrow.advise(
                    mugrow.Question(params=4e5, tokens=3e5), mugrow.load(REFERENCE / "quick")
                ),
            ),
            id="advise",
        ),
        pytest.param(lambda: (["list", "methods"], mugrow.listing("methods")), id="list"),
        pytest.param(
            lambda: (["check", "stack", "--quick"], mugrow.check(["stack"], full=False)), id="check"
        ),
    ],
)  # fmt: skip
def test_a_command_prints_what_the_function_returns(program, mugrow_program, few_checks) -> None:
    words, returned = program()
    ended = mugrow_program(*words, "--json")
    assert ended.code in (0, None), ended.err
    assert json.loads(ended.out) == to_json(returned)


@pytest.mark.parametrize(
    "function",
    [
        mugrow.summarize,
        mugrow.transfer,
        lambda store: mugrow.advise(mugrow.Question(params=4e5, tokens=3e5), store),
    ],
    ids=["summarize", "transfer", "advise"],
)
def test_a_directory_stands_for_its_store(function) -> None:
    expected = to_json(function(mugrow.load(REFERENCE / "quick")))
    assert to_json(function(REFERENCE / "quick")) == expected
    with pytest.raises(mugrow.UserError, match="nowhere is not a directory"):
        function("nowhere")


def test_a_figure_is_drawn_from_a_directory() -> None:
    assert mugrow.draw("costs", REFERENCE / "quick").axes
    with pytest.raises(mugrow.UserError, match="nowhere is not a directory"):
        mugrow.draw("costs", "nowhere")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Losses of two methods, which are a law's too."""
    path = tmp_path / "table.csv"
    rows = [f"{arm},{t},{k / t**0.5}" for t in range(1, 41) for arm, k in (("a", 8), ("b", 6))]
    path.write_text("\n".join(["arm,tokens,loss", *rows]))
    return path


def test_savings_prints_what_it_returns(mugrow_program, table: Path) -> None:
    words = ("--run", "arm", "--x", "tokens", "--loss", "loss", "--baseline", "a")
    ended = mugrow_program("savings", table, *words, "--source-cost", "3", "--json")
    returned = mugrow.savings(
        table, run="arm", x="tokens", loss="loss", baseline="a", source_cost=3.0
    )
    assert len(returned) == 2
    assert json.loads(ended.out) == to_json(returned)


def test_a_data_frame_stands_for_its_file(table: Path) -> None:
    frame = pd.read_csv(table)
    words = {"run": "arm", "x": "tokens", "loss": "loss", "baseline": "a"}
    of_file = mugrow.savings(table, **words, source_cost=3.0)
    assert to_json(mugrow.savings(frame, **words, source_cost=3)) == to_json(of_file)
    half = frame[(frame["arm"] == "a") & (frame["tokens"] <= 20)].assign(length="half")
    lengths = pd.concat([half, frame.assign(length="whole")])
    (found,) = mugrow.equal_compute(lengths, **words, length="length")
    assert found.difference == pytest.approx(-2 / 40**0.5)
    sizes = pd.DataFrame({"n": [1e6, 2e6, 4e6, 8e6], "d": 1e9})
    sizes["loss"] = 2 + 100 * sizes["n"] ** -0.3
    assert mugrow.extrapolate(sizes, n="n", d="d", loss="loss")


def test_a_word_alone_is_one_name(table: Path) -> None:
    words = {"run": "arm", "x": "tokens", "loss": "loss"}
    with pytest.raises(mugrow.UserError, match="unknown run 'grown'"):
        mugrow.savings(table, **words, baseline="a", methods="grown")
    with pytest.raises(mugrow.UserError, match="unknown method 'stak'; did you mean 'stack'"):
        mugrow.check("stak")
    assert mugrow.recipe("quick", "seeds=4,5").seeds == (4, 5)
    rows = pd.DataFrame({"w": [1, 1, 2, 2], "lr": [1, 2, 1, 2], "loss": 3.0, "kind": "mup"})
    found = mugrow.transfer(rows, size="w", lr="lr", loss="loss", by="kind")
    assert {sweep.parametrization for sweep in found.sweeps} == {"mup"}


@pytest.mark.parametrize(("given", "said"), [("1e9", "'1e9'"), (None, "None"), (-1, "-1")])
def test_a_question_of_what_is_no_number_is_one_line(given: Any, said: str) -> None:
    with pytest.raises(mugrow.UserError, match=f"params must be a number .*, not {said}$"):
        mugrow.Question(params=given, tokens=1e9)


@pytest.mark.parametrize(
    ("cost", "said"), [(-1, "-1"), ("x", "'x'"), ({"b": float("nan")}, "nan"), ({"a": -2}, "-2")]
)
def test_a_cost_that_is_none_is_one_line(table: Path, cost: Any, said: str) -> None:
    with pytest.raises(mugrow.UserError, match=f"at least 0, not {said}$"):
        mugrow.savings(table, run="arm", x="tokens", loss="loss", baseline="a", source_cost=cost)


def test_fit_prints_what_it_returns(mugrow_program, table: Path) -> None:
    words = ("--form", "power", "--loss", "loss", "--var", "x=tokens", "--where", "arm == 'a'")
    ended = mugrow_program("fit", table, *words, "--json")
    policy = RowPolicy(where="arm == 'a'")
    returned = mugrow.fit(table, "power", loss="loss", variables={"x": "tokens"}, policy=policy)
    assert json.loads(ended.out) == to_json(returned)


@pytest.mark.integration
def test_the_page_is_a_program_that_runs(
    few_checks,
    few_figures,
    in_threads,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Begun at the checkout's root; training threads stand for its processes."""
    matplotlib.use("svg")
    monkeypatch.chdir(ROOT)
    ended = runpy.run_path(str(EXAMPLE), run_name="__main__")
    out = capsys.readouterr().out
    assert "unknown study 'quikc'; did you mean 'quick'?" in out
    assert ended["finished"].page == ended["page"]
    assert (ended["folder"] / "savings.pdf").stat().st_size > 1000
    assert {line.claim for line in ended["reproduced"].ledger} == {"longer-is-better"}
    assert ended["grown"].breaks is None
    assert ended["grown"].logit_error < 1e-6
    unused = {name for name in functions() if f"mugrow.{name}(" not in EXAMPLE.read_text()}
    assert not unused


def test_the_page_shows_all_of_the_program_in_its_order() -> None:
    text = EXAMPLE.read_text()
    parts = re.findall(r"# --8<-- \[start:(\w+)\]", text)
    assert parts == re.findall(r"# --8<-- \[end:(\w+)\]", text)
    shown = re.findall(r'^--8<-- "docs/examples/from_python\.py:(\w+)"$', PAGE.read_text(), re.M)
    assert shown == parts
