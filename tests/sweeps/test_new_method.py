"""``mugrow new method``: what it writes works as it is."""

import tomllib

import pytest

from mugrow.bench.checks import CHECKS, check_method, failures
from mugrow.bench.growth import REGISTRY


@pytest.mark.parametrize("form", [(), ("--package",)])
def test_a_package_registers_its_method(mugrow, tmp_path, form):
    ended = mugrow("new", "method", "my_twist", *form, "-o", tmp_path)
    assert ended.code == 0, ended.err
    home = tmp_path / "mugrow-my-twist"
    project = tomllib.loads((home / "pyproject.toml").read_text())
    assert project["project"]["entry-points"][REGISTRY.group] == {
        "my_twist": "mugrow_my_twist:METHOD"
    }
    (package,) = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    entry = REGISTRY.from_file(home / package / "__init__.py")
    assert entry.name == "my_twist"
    compile((home / "tests" / "test_my_twist.py").read_text(), "test", "exec")
    assert f"pip install -e {home}" in ended.out


def test_a_file_passes_the_kit_as_it_is(mugrow, tmp_path, monkeypatch):
    for slow in ("smoke", "coordinates"):
        monkeypatch.delitem(CHECKS, slow)
    ended = mugrow("new", "method", "twist", "--file", "-o", tmp_path)
    assert ended.out.endswith(f"mugrow check {tmp_path / 'twist.py'}\n")
    results = list(check_method(REGISTRY.from_file(tmp_path / "twist.py")))
    assert failures(results) == []
    exact = [r for r in results if r.check == "preservation" and r.status == "pass"]
    assert max(r.value for r in exact) == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("My-Twist",), "underscores; the nearest that is: my_twist"),
        (("2fast",), "underscores; the nearest that is: fast"),
        (("class",), "underscores; the nearest that is: class_"),
        (("été",), "underscores; the nearest that is: t"),
        (("stack",), "there is a method 'stack' already; see mugrow list methods"),
        (("twist", "--file", "--package"), "--package and --file are two things; give one"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(mugrow, tmp_path, words, line):
    ended = mugrow("new", "method", *words, "-o", tmp_path)
    assert ended.code == 2
    assert ended.err.endswith(line + "\n")
    assert ended.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(mugrow, tmp_path):
    path = tmp_path / "twist.py"
    path.write_text("mine")
    ended = mugrow("new", "method", "twist", "--file", "-o", tmp_path)
    assert (ended.code, ended.err) == (2, f"mugrow: {path} exists already\n")
    assert path.read_text() == "mine"
