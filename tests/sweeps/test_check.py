"""``mugrow check`` and plug-ins: real packages on the path, honest, lying and broken."""

import json
import re
import sys

import pytest

from bench import growth
from bench.checks import CHECKS
from sweeps import scaffold

FAST = ("shapes", "source", "preservation")


@pytest.fixture
def fast(monkeypatch):
    """Only the checks that train nothing."""
    for name in [name for name in CHECKS if name not in FAST]:
        monkeypatch.delitem(CHECKS, name)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a plug-in: its module, and the metadata an installer leaves beside it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    growth._plugins.cache_clear()

    def done(name: str, code: str) -> None:
        (tmp_path / f"mugrow_{name}.py").write_text(code)
        about = tmp_path / f"mugrow_{name}-0.1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mugrow-{name}\nVersion: 0\n")
        entry = f"[{growth.GROUP}]\n{name} = mugrow_{name}:METHOD\n"
        (about / "entry_points.txt").write_text(entry)
        growth._plugins.cache_clear()
        sys.modules.pop(f"mugrow_{name}", None)

    yield done
    growth._plugins.cache_clear()


def code(name: str, *replacements: tuple[str, str]) -> str:
    (text,) = scaffold.single_file(name).values()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return text


def test_json_has_a_row_a_case(mugrow, fast):
    ended = mugrow("check", "stack", "--quick", "--json")
    rows = json.loads(ended.out)
    assert ended.code == 0
    keys = {"method", "check", "case", "status", "value", "tolerance", "reason"}
    assert all(row.keys() == keys for row in rows)
    assert {row["status"] for row in rows} == {"pass", "skip"}
    assert {row["check"] for row in rows} == {"supports", *FAST}
    assert all(row["reason"] for row in rows if row["status"] == "skip")
    assert len({(row["check"], row["case"]) for row in rows}) == len(rows)


def test_a_plug_in_is_listed_and_checked(mugrow, fast, install):
    install("twist", code("twist"))
    assert "twist" in mugrow("list", "methods", "--json").out
    ended = mugrow("check", "twist", "--quick")
    assert ended.code == 0, ended.out
    assert ended.out.startswith("twist: pass\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("torch.zeros_like(init[name])", "init[name].clone()"), "preservation, .*nothing should"),
        (("weights[name].clone()", "weights[name][:1]"), r"shapes, .* has shape \(1,"),
        (("weights[name].clone()", "weights[name]"), "source, .*shares its storage"),
        (("weights[name].clone()", "weights[name].log()"), "shapes, .*numbers that are not finite"),
        (("grown = {}", "raise RuntimeError('no luck')"), "RuntimeError: no luck"),
    ],
)
def test_a_plug_in_that_lies_or_breaks_is_named(mugrow, fast, install, change, said):
    install("liar", code("liar", change))
    ended = mugrow("check", "liar", "--quick")
    assert ended.code == 1
    assert ended.out.startswith("liar: FAIL\n")

    assert re.search(f"failed: .*{said}", ended.out), ended.out


def test_a_plug_in_that_cannot_be_loaded_fails_and_the_others_are_checked(
    mugrow, fast, install, monkeypatch
):
    install("broken", "raise ImportError('libmagic is missing')")
    monkeypatch.setattr("bench.growth.names", lambda: ("continue", "broken"))
    ended = mugrow("check", "--all", "--quick", "--json")
    rows = json.loads(ended.out)
    assert ended.code == 1
    (failed,) = [row for row in rows if row["status"] == "fail"]
    assert failed["method"] == "broken"
    assert failed["check"] == "load"
    assert "ImportError: libmagic is missing" in failed["reason"]
    assert {row["method"] for row in rows} == {"continue", "broken"}


def test_a_file_is_checked_by_its_path(mugrow, fast, tmp_path):
    path = tmp_path / "twist.py"
    path.write_text(code("twist"))
    assert mugrow("check", path, "--quick").code == 0


def test_parameters_are_part_of_the_name(mugrow, fast):
    rows = json.loads(mugrow("check", "szp:shrink=1.0:perturb=0.0", "--quick", "--json").out)
    assert {row["method"] for row in rows} == {"szp:shrink=1.0:perturb=0.0"}
    assert any(row["status"] == "pass" for row in rows)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "check takes METHOD ... or --all"),
        (("stack", "--all"), "check takes METHOD ... or --all"),
        (("stakc",), "unknown method 'stakc'; did you mean 'stack'?"),
        (("stack", "stakc"), "unknown method 'stakc'; did you mean 'stack'?"),
        (("szp:shrnk=1",), "unknown parameter of method 'szp': 'shrnk'; did you mean 'shrink'?"),
        (("szp:shrink",), "a method is NAME or NAME:PARAMETER=VALUE, not 'szp:shrink'"),
        (("no/such.py",), "no such file: no/such.py"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_checked(mugrow, words, line):
    ended = mugrow("check", *words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"mugrow: {line}\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nowhere", "cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("METHOD = 3", "has no METHOD that is a GrowthMethod"),
    ],
)
def test_a_file_without_a_method_is_one_line(mugrow, tmp_path, text, reason):
    path = tmp_path / "mine.py"
    path.write_text(text)
    assert mugrow("check", path).err == f"mugrow: {path} {reason}\n"
