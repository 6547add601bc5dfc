"""A report drawn by two processes is that of one, whatever becomes of the other."""

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from mugrow.analysis.figures import FIGURES
from mugrow.analysis.read.store import load
from mugrow.analysis.report import helper
from mugrow.analysis.report.drawn import drawing, save, told
from mugrow.analysis.summary import summarize

QUICK = Path("results/reference/quick")
NAMES = ["first", "second", "third", "fourth"]
LONG_S = 300.0  # on a busy machine: none waits so long where all is well
READY = "input(); print('[]', flush=True)"
ANSWERS = f"{READY}\nwhile True: print('{{\"by\": ' + input() + '}}', flush=True)"


@pytest.fixture
def with_program(monkeypatch, tmp_path):
    """A helper of another program, with which ``NAMES`` are shared: who has drawn which."""

    def share(program, draw=lambda name: "here"):
        monkeypatch.setattr(helper, "PROGRAM", program)
        other = helper.Helper(tmp_path)
        try:
            return other.begin(NAMES, {}, lambda answer: f"{answer['by']} there")(draw)
        finally:
            other.end()

    return share


def test_figures_are_drawn_by_who_is_free_and_come_in_order(with_program):
    found = with_program(ANSWERS, lambda name: time.sleep(0.3) or "here")
    assert found[0] == "here"
    assert found.count("here") < 4
    for name, drawn in zip(NAMES, found, strict=True):
        assert drawn in ("here", f"{name} there")


def test_what_a_helper_has_drawn_ahead_it_gives_first(monkeypatch, tmp_path):
    monkeypatch.setattr(helper, "PROGRAM", ANSWERS.replace("[]", '["fourth", "none", "third"]'))
    heard, both = [], threading.Event()

    def told(answer):
        heard.append(answer["by"])
        if len(heard) == 2:
            both.set()
        return answer["by"]

    def draw(name):
        assert both.wait(LONG_S)
        return name

    other = helper.Helper(tmp_path)
    try:
        assert other.begin(NAMES, {}, told)(draw) == NAMES
    finally:
        other.end()
    assert heard[:2] == ["fourth", "third"]


def test_one_that_is_stuck_is_not_awaited(with_program, monkeypatch):
    monkeypatch.setattr(helper, "LONGEST_S", 0.3)
    stuck = f"{READY}; input(); import time; time.sleep({LONG_S})"
    assert with_program(stuck, lambda name: time.sleep(0.3) or "here") == 4 * ["here"]


@pytest.mark.parametrize(
    "program",
    [
        "raise SystemExit",
        READY,
        f"{READY}; input()",
        f"{READY}; input(); print('no JSON', flush=True)",
        f"{READY}; input(); import os; os.kill(os.getpid(), 9)",
    ],
    ids=["at once", "when ready", "while it draws", "talks nonsense", "killed"],
)
def test_what_a_helper_that_ends_has_not_drawn_is_drawn_here(with_program, program):
    assert with_program(program, lambda name: time.sleep(0.1) or "here") == ["here"] * 4


def test_nobody_waits_for_a_helper_that_is_not_ready(with_program):
    began_s = time.monotonic()
    assert with_program("import time; time.sleep(60)") == ["here"] * 4
    assert time.monotonic() - began_s < 30


def test_an_error_here_is_raised(with_program):
    def draw(name):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        with_program(ANSWERS, draw)


def test_a_small_report_one_core_and_no_study_have_no_helper(tmp_path, monkeypatch):
    with helper.started(tmp_path) as found:
        assert found is None
    table = tmp_path / "runs.parquet"
    table.write_bytes(bytes(helper.LEAST_BYTES - 1))
    assert helper.helper(tmp_path) is None
    table.write_bytes(bytes(helper.LEAST_BYTES))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert helper.helper(tmp_path) is None
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(helper, "PROGRAM", "input()")
    with helper.started(tmp_path) as found:
        assert found.folder == tmp_path
    assert found._process.returncode is not None


def test_files_that_were_replaced_are_of_another_state(tmp_path):
    shutil.copytree(QUICK, tmp_path / "quick")
    before = helper.state_of(tmp_path / "quick")
    assert "runs.parquet" in before
    assert helper.state_of(tmp_path / "quick") == before
    os.utime(tmp_path / "quick" / "curves.parquet", ns=(1, 1))
    assert helper.state_of(tmp_path / "quick") != before


@pytest.fixture(params=[False, True], ids=["asked", "ahead"])
def both(tmp_path, request):
    """Two copies of a study, and a helper of the second, which may draw ahead."""
    alone, shared = tmp_path / "alone" / "quick", tmp_path / "shared" / "quick"
    for folder in (alone, shared):
        shutil.copytree(QUICK, folder)
    other = helper.Helper(shared, ahead=request.param)
    yield alone, shared, other
    other.end()


@pytest.mark.integration
def test_the_files_are_the_same_whoever_drew_them(both):
    alone, shared, other = both
    names = ["main", "curves", "costs", "optima", "contour"]
    store = load(alone)
    summary = summarize(store)
    answered = threading.Event()

    def draw(folder, name):
        return save(drawing(name, FIGURES[name], summary, store), folder / "report" / "figures")

    def draw_here(name):
        assert answered.wait(LONG_S), "the helper draws nothing"
        return draw(shared, name)

    def heard(answer):
        if answer["name"] == names[-1]:
            answered.set()
        return told(answer)

    by_both = other.begin(names, helper.state_of(shared), heard)(draw_here)
    assert by_both == [draw(alone, name) for name in names]
    assert by_both[-1].reason
    assert files(alone) == files(shared)
    assert len(files(shared)) == 12


@pytest.mark.integration
def test_a_helper_that_finds_other_files_takes_no_part(both):
    _, shared, other = both
    state = helper.state_of(shared) | {"runs.parquet": [1, 1]}
    heard = []
    other.begin(["main"], state, heard.append)(lambda name: other._process.wait(60))
    assert not heard
    assert not other.ready


def files(folder):
    found = (folder / "report" / "figures").iterdir()
    return {path.name: path.read_bytes() for path in found}
