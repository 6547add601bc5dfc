"""``mugrow watch``: a study as it runs."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from mugrow.bench.spec import UserError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from mugrow.sweeps.watch import Watch, Watched, WatchedStack, WatchedStudy


@dataclass(frozen=True)
class WatchCommand:
    """Watch a study as it runs: its runs by state, steps, losses, speed, time left. On a terminal
    until it ends or Ctrl-C is pressed; elsewhere once."""

    directory: Positional[Path]
    """The folder of `mugrow run`, or of `mugrow reproduce`."""
    every: float = 2.0
    """Seconds between two looks."""
    json: bool = False
    """Print what is there now, as JSON."""

    def __call__(self) -> None:
        from rich.console import Console

        from mugrow.sweeps.program import Stopped
        from mugrow.sweeps.watch import Watch

        if not self.every > 0:
            raise UserError(f"--every must be above 0, not {self.every:g}")
        watch = Watch(self.directory)
        if self.json:
            return print(json.dumps(asdict(watch.look()), indent=2, default=str))
        console = Console(highlight=False)
        if not console.is_terminal:
            return Console(width=140, highlight=False).print(shown(watch.look()))
        try:
            self._live(watch, console)
        except KeyboardInterrupt as stopped:
            if isinstance(stopped, Stopped):
                raise

    def _live(self, watch: "Watch", console: "Console") -> None:
        import time

        from rich.live import Live

        with Live(console=console, auto_refresh=False) as live:
            while True:
                watched = watch.look()
                live.update(shown(watched), refresh=True)
                if watched.is_over:
                    return
                time.sleep(self.every)


def shown(watched: "Watched") -> "RenderableType":
    """A line a study, and a table of the stacks in flight."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    lines: list[RenderableType] = [Text(_line(study)) for study in watched.studies]
    if watched.stacks:
        columns = ("in flight", "state", "runs", "step", "best loss", "tokens/s", "left")
        table = Table(*columns, box=None, header_style="bold")
        for stack in watched.stacks:
            table.add_row(*map(Text, _cells(stack)))
        lines.append(table)
    return Group(*lines)


def _line(study: "WatchedStudy") -> str:
    from mugrow.sweeps.display import duration

    runs = ", ".join(f"{count} {state}" for state, count in study.runs.items()) or "no runs yet"
    if study.program is None:
        return f"{study.name}: {runs}; no program runs it"
    return f"{study.name}: {runs}; about {duration(study.left_s or 0)} left, says {study.program}"


def _cells(stack: "WatchedStack") -> tuple[str, ...]:
    from mugrow.sweeps.display import duration

    return (
        stack.title,
        stack.state,
        str(stack.runs),
        f"{stack.step}/{stack.steps}",
        "–" if stack.best_val_loss is None else f"{stack.best_val_loss:.4f}",
        "–" if stack.tokens_per_s is None else f"{stack.tokens_per_s:,.0f}",
        "–" if stack.left_s is None else duration(stack.left_s),
    )
