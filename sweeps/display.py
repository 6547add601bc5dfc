"""What a person sees while a study runs: a live table on a terminal, plain lines elsewhere.

Everything goes to stderr, so that stdout stays free for results. Workers report through small files
beside their saved states (see ``mugrow.bench.run``), which also works when they are on other
machines.
"""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from mugrow.sweeps.plan import PlannedStack

PLAIN_EVERY_S = 15.0


@dataclass(frozen=True)
class Work:
    """The state of a study. ``done_s`` of ``whole_s`` seconds of work are done; with the workers
    there are, ``left_s`` seconds remain. ``ended`` has how many runs did, by their status."""

    in_flight: tuple[PlannedStack, ...]
    done_runs: int
    all_runs: int
    done_s: float
    whole_s: float
    left_s: float
    ended: Mapping[str, int] = field(default_factory=dict)


class Display(Protocol):
    """Where a study's progress is shown: ``say`` a line that stays, ``show`` where things stand."""

    def __enter__(self) -> "Display": ...
    def __exit__(self, *error: object) -> None: ...
    def say(self, line: str) -> None: ...
    def show(self, work: Work) -> None: ...


def display(folder: Path) -> Display:
    """The display that suits where stderr goes."""
    console = Console(stderr=True, highlight=False)
    return LiveDisplay(console, folder) if console.is_terminal else PlainDisplay(console, folder)


def title(stack: PlannedStack) -> str:
    """What a stack is, in a few words."""
    runs = stack.runs
    model = runs[0].spec.model
    shape = f"w{model.width}-d{model.depth}"
    if runs[0].role == "proxy":
        return f"tune {runs[0].spec.parametrization} {shape}"
    methods = dict.fromkeys(run.spec.start.method for run in runs)
    return f"{runs[0].role} {shape} {' '.join(methods)}"


def duration(seconds: float) -> str:
    """``2 h 05 min`` or ``3 min 07 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def reports(folder: Path, stacks: Iterable[PlannedStack]) -> list[dict[str, Any]]:
    """The last report of each stack in flight; one that has not reported yet is at step 0."""
    found = []
    for stack in stacks:
        report: dict[str, Any] = {
            "step": 0,
            "steps": stack.runs[0].spec.train_steps,
            "members": len(stack.runs),
            "tokens_per_s": 0.0,
            "best_val_loss": None,
        }
        try:
            text = (folder / "stacks" / f"{stack.key}.json").read_text(encoding="utf-8")
            read = json.loads(text)
        except (OSError, ValueError):
            read = {}
        numbers = read if isinstance(read, dict) else {}
        report |= {key: numbers[key] for key in report if isinstance(numbers.get(key), int | float)}
        found.append(report)
    return found


def _numbers(report: dict[str, Any]) -> str:
    loss = report["best_val_loss"]
    best = f"best loss {loss:.4f}" if loss is not None else "starting"
    rate = f"{report['tokens_per_s'] / 1000:.1f}k tokens/s"
    return f"step {report['step']}/{report['steps']}  {report['members']} runs  {rate}  {best}"


class PlainDisplay:
    """Lines for logs: what ended, and every so often where things stand."""

    def __init__(self, console: Console, folder: Path) -> None:
        self.console, self.folder = console, folder
        self.shown_s = time.monotonic()

    def __enter__(self) -> "PlainDisplay":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)

    def show(self, work: Work) -> None:
        if time.monotonic() - self.shown_s < PLAIN_EVERY_S:
            return
        self.shown_s = time.monotonic()
        self.say(f"{work.done_runs}/{work.all_runs} runs, about {duration(work.left_s)} left")
        for stack, report in zip(work.in_flight, reports(self.folder, work.in_flight), strict=True):
            self.say(f"  {title(stack)}: {_numbers(report)}")


class LiveDisplay:
    """A bar for the study and one for each stack in flight."""

    def __init__(self, console: Console, folder: Path) -> None:
        self.folder = folder
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[numbers]}"),
            console=console,
        )
        self.live = Live(self.progress, console=console, refresh_per_second=4)
        self.study = self.progress.add_task("study", total=None, numbers="")
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "LiveDisplay":
        self.live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.live.__exit__(None, None, None)

    def say(self, line: str) -> None:
        self.live.console.print(line, markup=False, soft_wrap=True)

    def show(self, work: Work) -> None:
        numbers = f"{work.done_runs}/{work.all_runs} runs  about {duration(work.left_s)} left"
        self.progress.update(self.study, completed=work.done_s, total=work.whole_s, numbers=numbers)
        keys = {stack.key for stack in work.in_flight}
        for key in self.tasks.keys() - keys:
            self.progress.remove_task(self.tasks.pop(key))
        for stack, report in zip(work.in_flight, reports(self.folder, work.in_flight), strict=True):
            if stack.key not in self.tasks:
                self.tasks[stack.key] = self.progress.add_task(title(stack), numbers="")
            self.progress.update(
                self.tasks[stack.key],
                completed=report["step"],
                total=report["steps"],
                numbers=_numbers(report),
            )
