"""A second process that draws: figures take most of a report's time, and drawing keeps one core.

The helper is another Python, which imports what it needs while the study is read here, or while the
last runs train. It reads and summarizes the study for itself, so that little crosses over: names of
figures one way, what the page shows of them the other. Both take the next figure as soon as they
have drawn one, and their files are the same whoever drew them.

Nothing depends on it. Where there is one core, few runs or no way to start it there is none; what
it has not drawn when it ends, whatever ended it, is drawn here, and an error with it.
"""

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

Drawn = TypeVar("Drawn")
State = Mapping[str, Sequence[int]]

LEAST_BYTES = 20_000  # of runs.parquet, some fifty runs: a smaller report is soon drawn
ASK_EVERY_S = 0.01
PATIENCE_S = 5.0  # for one that is told to end to have put its files in order
PROGRAM = "from mugrow.analysis.report.helper import serve; serve()"


class Helper:
    """One that draws figures of the study in ``folder``. Raises ``OSError`` where no process can
    be started."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ready = folder, False
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
        )  # fmt: skip

    def share(
        self,
        names: Sequence[str],
        state: State,
        draw: Callable[[str], Drawn],
        told: Callable[[Any], Drawn],
    ) -> list[Drawn]:
        """Each of the figures as ``draw`` makes it, or as ``told`` has it of the helper's answer.
        It takes part if the study's files are in the ``state`` that they were in when they were
        read here."""
        waiting, found = deque(names), dict[str, Drawn]()

        def helped() -> None:
            with suppress(OSError, ValueError, EOFError):  # it has ended
                self._ask({"folder": str(self.folder.absolute()), "state": state})
                self.ready = True
                for name in _taken(waiting):
                    found[name] = told(self._ask(name))

        helping = Thread(target=helped, daemon=True)
        helping.start()
        for name in _taken(waiting):
            found[name] = draw(name)
        while self.ready and helping.is_alive() and len(found) < len(names):
            helping.join(ASK_EVERY_S)
        return [found[name] if name in found else draw(name) for name in names]

    def _ask(self, question: object) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        print(json.dumps(question), file=stdin, flush=True)
        if not (line := stdout.readline()):
            raise EOFError
        return json.loads(line)

    def end(self) -> None:
        """One that is drawing, for nobody any more, ends with that figure; else at once."""
        if not self.ready:
            self._process.kill()
        with suppress(OSError), self._process:  # closes its pipes, at which it ends
            with suppress(subprocess.TimeoutExpired):
                assert self._process.stdin is not None
                self._process.stdin.close()
                self._process.wait(PATIENCE_S)
            self._process.kill()


def _taken(waiting: deque[str]) -> Iterator[str]:
    """What is waiting, each for whoever of several takes it first."""
    with suppress(IndexError):
        while True:
            yield waiting.popleft()


def helper(folder: Path) -> Helper | None:
    """A helper for the study in ``folder``, where one is worth its start."""
    with suppress(OSError):
        if (os.cpu_count() or 1) > 1 and os.path.getsize(folder / "runs.parquet") >= LEAST_BYTES:
            return Helper(folder)
    return None


@contextmanager
def started(folder: Path) -> Iterator[Helper | None]:
    """``helper``, for as long as it may be needed."""
    found = helper(folder)
    try:
        yield found
    finally:
        if found is not None:
            found.end()


def state_of(folder: Path) -> State:
    """What tells the files that a report is made of from later ones: size and time of each."""
    from mugrow.analysis.read.store import FILES

    found = {name: folder / name for name in FILES}
    return {
        name: [path.stat().st_size, path.stat().st_mtime_ns]
        for name, path in found.items()
        if path.exists()
    }


def serve() -> None:
    """What the helper does: read the study that it is told, then draw the figures that it is told,
    until nobody tells it any. It ends where the study's files are others than it was told."""
    from mugrow.analysis.figures import FIGURES
    from mugrow.analysis.read.store import load
    from mugrow.analysis.report.drawn import draw_figure
    from mugrow.analysis.summary import summarize

    if not (line := sys.stdin.readline()):
        return
    asked = json.loads(line)
    folder = Path(asked["folder"])
    store = load(folder)
    if state_of(folder) != asked["state"]:
        return
    summary = summarize(store)
    _answer({})
    for line in sys.stdin:
        name = json.loads(line)
        drawn = draw_figure(name, FIGURES[name], summary, store, folder / "report" / "figures")
        _answer(asdict(drawn))


def _answer(said: object) -> None:
    print(json.dumps(said), flush=True)
