"""``mugrow check`` and plug-ins: real packages on the path, honest, lying and broken."""

import json
import re
import sys

import pandas as pd
import pytest

from mugrow.bench import entries, growth
from mugrow.bench.checks import CHECKS
from mugrow.bench.spec import UserError
from mugrow.sweeps import scaffold
from mugrow.sweeps.check import check

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
    entries._installed.cache_clear()

    def done(name: str, code: str) -> None:
        (tmp_path / f"mugrow_{name}.py").write_text(code)
        about = tmp_path / f"mugrow_{name}-0.1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mugrow-{name}\nVersion: 0\n")
        entry = f"[{growth.REGISTRY.group}]\n{name} = mugrow_{name}:METHOD\n"
        (about / "entry_points.txt").write_text(entry)
        entries._installed.cache_clear()
        sys.modules.pop(f"mugrow_{name}", None)

    yield done
    entries._installed.cache_clear()


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


def test_what_the_command_prints_is_a_functions_result(mugrow, fast):
    results = check(["stack"], full=False)
    rows = json.loads(mugrow("check", "stack", "--quick", "--json").out)
    assert [(row["check"], row["case"], row["status"]) for row in rows] == [
        (result.check, result.case, result.status) for result in results
    ]
    with pytest.raises(UserError, match="unknown method 'stakc'; did you mean 'stack'"):
        check(["stack", "stakc"])


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
    monkeypatch.setattr("mugrow.bench.growth.names", lambda: ("continue", "broken"))
    ended = mugrow("check", "--all", "--quick", "--json")
    rows = json.loads(ended.out)
    assert ended.code == 1
    (failed,) = [row for row in rows if row["status"] == "fail"]
    assert failed["method"] == "broken"
    assert failed["check"] == "load"
    assert "ImportError: libmagic is missing" in failed["reason"]
    assert {row["method"] for row in rows} == {"continue", "broken"}


def test_a_plug_in_that_cannot_be_loaded_is_listed_with_the_reason(mugrow, install):
    install("broken", "raise ImportError('libmagic is missing')")
    ended = mugrow("list", "methods", "--json")
    assert ended.code == 0
    rows = {row["name"]: row for row in json.loads(ended.out)}
    assert "ImportError: libmagic is missing" in rows["broken"]["summary"]
    assert rows["stack"]["axes"] == "depth"
    assert len({tuple(row) for row in rows.values()}) == 1  # the same columns


RAISES = ("return None", "return 1 // 0")  # of `supports`, the first function of the file


def raising(name: str) -> str:
    return code(name).replace(*RAISES, 1)


def test_a_plug_in_whose_facts_raise_is_one_line(mugrow, amended, install, tmp_path):
    install("crash", raising("crash"))
    words = amended("methods=scratch,crash", "ladder=16:1:16:2")
    ended = mugrow(*words, "--dry-run", "--out", tmp_path / "study")
    line = "plug-in method 'crash' raised ZeroDivisionError: integer division or modulo by zero"
    assert (ended.code, ended.err) == (2, f"mugrow: {line}\n")
    ended = mugrow("check", "crash", "--quick", "--json")
    assert ended.code == 1
    (row,) = json.loads(ended.out)
    assert (row["check"], row["status"], row["reason"]) == ("supports", "fail", line)


HOOKED = """
from mugrow.bench.growth import During

def during(small, big, steps, **params):
    return During(used=lambda trained, t, rng: trained if t < 3 else 1 // 0)

from dataclasses import replace
METHOD = replace(METHOD, during=during)
"""


def test_a_plug_in_that_raises_while_it_trains_fails_its_own_runs(
    mugrow, amended, install, in_threads, monkeypatch, tmp_path
):
    monkeypatch.setattr("mugrow.analysis.report.build.build_with", lambda folder, _: folder)
    install("crash", code("crash") + HOOKED)
    out = tmp_path / "study"
    ended = mugrow(*amended("methods=scratch,crash", "ladder=16:1:16:2"), "--out", out)
    assert ended.code == 0
    runs = pd.read_parquet(out / "runs.parquet")
    failed = runs[runs["status"] == "failed"]
    line = "plug-in method 'crash' raised ZeroDivisionError: integer division or modulo by zero"
    assert set(failed["method"]) == {"crash"}
    assert set(failed["reason"]) == {line}
    assert set(runs[runs["method"] == "scratch"]["status"]) == {"finished"}
    said = " ".join(ended.err.split())
    assert f"failed: 2, see {out}/runs/*/traceback.txt: {line}".replace(" ", "") in said.replace(
        " ", ""
    )


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
        (("szp:shrink",), "behind method 'szp' go parameters as PARAMETER=VALUE, not 'shrink'"),
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
