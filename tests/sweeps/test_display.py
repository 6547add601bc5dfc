"""Displays: plain lines that a log can hold, and a live table that a terminal can draw."""

import io
import json
from dataclasses import replace

import pytest
from fake_runs import ALONE, DATA, run_all
from rich.console import Console

from mugrow.sweeps.display import LiveDisplay, PlainDisplay, Work, display, duration, reports, title
from mugrow.sweeps.plan import plan

STACKS = run_all(ALONE)[0].stacks
PROXIES, TARGETS = STACKS[0], STACKS[-1]
REPORT = {
    "step": 40,
    "steps": 100,
    "members": 7,
    "tokens_per_s": 51234.0,
    "best_val_loss": 2.34567,
}


@pytest.fixture
def folder(tmp_path):
    """A study's folder in which the proxies have reported and the targets have not."""
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / f"{PROXIES.key}.json").write_text(json.dumps(REPORT))
    return tmp_path


def work(*in_flight):
    return Work(
        in_flight=in_flight, done_runs=3, all_runs=30, done_s=10.0, whole_s=100.0, left_s=95.0
    )


def test_durations():
    assert duration(0) == "0 min 00 s"
    assert duration(59.6) == "1 min 00 s"
    assert duration(754) == "12 min 34 s"
    assert duration(3599.7) == "1 h 00 min"
    assert duration(7384) == "2 h 03 min"


def test_titles_say_what_a_stack_is():
    assert title(PROXIES) == "tune mup w32-d2"
    assert title(TARGETS) == "target w128-d2 szp hypercloning"
    source = next(stack for stack in STACKS if stack.runs[0].role == "source")
    assert title(source) == "source w64-d2 scratch"


def test_reports_of_stacks_that_have_and_have_not_reported(folder):
    told, silent = reports(folder, [PROXIES, TARGETS])
    assert told == REPORT
    assert silent["step"] == 0
    assert silent["steps"] == TARGETS.runs[0].spec.last_step
    assert silent["best_val_loss"] is None


def test_a_report_that_is_cut_off_counts_as_none(folder):
    (folder / "stacks" / f"{PROXIES.key}.json").write_text('{"step": 4')
    (report,) = reports(folder, [PROXIES])
    assert report["step"] == 0


def test_plain_lines(folder, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("mugrow.sweeps.display.time.monotonic", lambda: clock[0])
    file = io.StringIO()
    with PlainDisplay(Console(file=file, width=40), folder) as shown:
        shown.say("one [bold]line[/bold] that is longer than the console is wide")
        shown.show(work(PROXIES))  # too soon after the start
        clock[0] += 16
        shown.show(work(PROXIES, TARGETS))
        clock[0] += 1
        shown.show(work(PROXIES))  # too soon after the last
    assert file.getvalue().splitlines() == [
        "one [bold]line[/bold] that is longer than the console is wide",
        "3/30 runs, about 1 min 35 s left",
        "  tune mup w32-d2: step 40/100  7 runs  51.2k tokens/s  best loss 2.3457",
        "  target w128-d2 szp hypercloning: step 0/200  2 runs  0.0k tokens/s  starting",
    ]


def test_a_live_table_on_a_terminal(folder):
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=160, highlight=False)
    with LiveDisplay(console, folder) as shown:
        shown.show(work(PROXIES, TARGETS))
        shown.say("a line [of] its own")
        shown.live.refresh()
        both = file.getvalue()
        file.truncate(0)
        shown.show(work(TARGETS))
        shown.live.refresh()
        one = file.getvalue()
    for text in ("tune mup w32-d2", "step 40/100", "51.2k tokens/s", "3/30 runs", "a line [of]"):
        assert text in both
    assert "target w128-d2 szp hypercloning" in one
    assert "tune mup" not in one


def test_a_live_table_of_stacks_to_come_and_go(folder):
    """Every stack of a study, one after another: rows are added and removed, and none is left."""
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    shown = LiveDisplay(console, folder)
    for stack in plan(ALONE, DATA, {}).provisional:
        shown.show(work(stack))
        assert list(shown.tasks) == [stack.key]
    shown.show(replace(work(), done_s=100.0))
    assert not shown.tasks
    assert [task.description for task in shown.progress.tasks] == ["study"]


@pytest.mark.parametrize(("terminal", "kind"), [(True, LiveDisplay), (False, PlainDisplay)])
def test_the_display_follows_where_stderr_goes(tmp_path, monkeypatch, terminal, kind):
    monkeypatch.setattr("rich.console.Console.is_terminal", terminal)
    shown = display(tmp_path)
    assert isinstance(shown, kind)
    console = shown.live.console if isinstance(shown, LiveDisplay) else shown.console
    assert console.stderr
