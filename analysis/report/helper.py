"""A second process that draws: figures take most of a report's time, and drawing keeps one core.

The helper is another Python, which imports what it needs while the study is read here, or while the
last runs train; then it also draws ahead (``mugrow.analysis.report.ahead``). It reads and
summarizes the study for itself, so that little crosses over: names of figures one way, what the
page shows of them the other. Both take the next figure as soon as they have drawn one, and their
files are the same whoever drew them.

Nothing depends on it. Where there is one core, few runs or no way to start it there is none; what
it has not drawn when it ends, whatever ended it, is drawn here, and an error with it.
"""

import atexit
import gc
import json
import os
import select
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

Drawn = TypeVar("Drawn")
State = Mapping[str, Sequence[int]]

LEAST_BYTES = 20_000  # of runs.parquet, some fifty runs: a smaller report is soon drawn
ASK_EVERY_S = 0.01
LONGEST_S = 20.0  # for one figure, many times what any takes: one that is stopped is not awaited
PATIENCE_S = 5.0  # for one that is told to end to have put its files in order
PROGRAM = "from mugrow.analysis.report.helper import serve; serve()"


class Helper:
    """One that draws figures of the study in ``folder``, ``ahead`` if it is to begin before it is
    asked. Raises ``OSError`` where no process can be started."""

    def __init__(self, folder: Path, *, ahead: bool = False) -> None:
        self.folder, self.ready = folder, False
        self._waiting: deque[str] = deque()
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *([str(folder.absolute())] if ahead else [])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            encoding="utf-8",
        )  # fmt: skip

    def begin(
        self, names: Sequence[str], state: State, told: Callable[[Any], Drawn]
    ) -> Callable[[Callable[[str], Drawn]], list[Drawn]]:
        """Have it draw these figures, first those that it has drawn ahead, as long as some are
        waiting. It takes part if the study's files are in this ``state`` when it reads them.

        What is returned shares them: given how one is drawn here, it gives each of them, as it was
        drawn or as ``told`` has it of the helper's answer.
        """
        self._waiting.extend(names)
        waiting, found = self._waiting, dict[str, Drawn]()

        def helped() -> None:
            with suppress(OSError, ValueError, EOFError):  # it has ended
                ahead = self._ask({"folder": str(self.folder.absolute()), "state": state})
                self.ready = True
                for name in _taken(waiting, ahead):
                    found[name] = told(self._ask(name))

        helping = Thread(target=helped, daemon=True)
        helping.start()

        def share(draw: Callable[[str], Drawn]) -> list[Drawn]:
            for name in _taken(waiting):
                found[name] = draw(name)
            waited_s = 0.0
            while self.ready and helping.is_alive() and len(found) < len(names):
                if waited_s > LONGEST_S:
                    self._process.kill()
                had = len(found)
                helping.join(ASK_EVERY_S)
                waited_s = waited_s + ASK_EVERY_S if len(found) == had else 0.0
            return [found[name] if name in found else draw(name) for name in names]

        return share

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
        self._waiting.clear()
        if not self.ready:
            self._process.kill()
        with suppress(OSError), self._process:  # closes its pipes, at which it ends
            with suppress(subprocess.TimeoutExpired):
                assert self._process.stdin is not None
                self._process.stdin.close()
                self._process.wait(PATIENCE_S)
            self._process.kill()


def _taken(waiting: deque[str], first: Iterable[str] = ()) -> Iterator[str]:
    """What is waiting, each for whoever of several takes it first; ``first`` these."""
    for name in first:
        try:
            waiting.remove(name)
        except ValueError:  # it was taken
            continue
        yield name
    with suppress(IndexError):
        while True:
            yield waiting.popleft()


def helper(folder: Path, *, ahead: bool = False) -> Helper | None:
    """A helper for the study in ``folder``, where one is worth its start."""
    with suppress(OSError):
        if (os.cpu_count() or 1) > 1 and os.path.getsize(folder / "runs.parquet") >= LEAST_BYTES:
            return Helper(folder, ahead=ahead)
    return None


@contextmanager
def started(folder: Path, *, ahead: bool = False) -> Iterator[Helper | None]:
    """``helper``, for as long as it may be needed."""
    found = helper(folder, ahead=ahead)
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
    """What the helper does: draw ahead in the folder that it is given, if any; read the study that
    it is told, and say what of that holds; then draw the figures that it is told, until nobody
    tells it any. It ends where the study's files are others than it was told."""
    from mugrow.analysis.figures import FIGURES
    from mugrow.analysis.read.store import load
    from mugrow.analysis.report.ahead import Ahead, draw_ahead
    from mugrow.analysis.report.drawn import drawing, save
    from mugrow.analysis.summary import summarize

    gc.disable()  # as ``mugrow.analysis.report.drawn.uncollected`` says
    atexit.register(gc.freeze)  # nor at its end, which is waited for
    early = draw_ahead(Path(sys.argv[1]), _is_asked) if sys.argv[1:] else Ahead()
    if not (line := sys.stdin.readline()):
        return
    asked = json.loads(line)
    folder = Path(asked["folder"])
    store = load(folder)
    if state_of(folder) != asked["state"]:
        return
    summary = summarize(store)
    kept = early.still(summary, store)
    _answer([*kept])
    for line in sys.stdin:
        name = json.loads(line)
        drawn = kept.get(name) or drawing(name, FIGURES[name], summary, store)
        _answer(asdict(save(drawn, folder / "report" / "figures")))


def _is_asked() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


def _answer(said: object) -> None:
    print(json.dumps(said), flush=True)
