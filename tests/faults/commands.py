"""Every command that writes, where it cannot: one line that names the path, and exit code 2.

    PYTHONPATH=. python tests/faults/commands.py STORE

STORE is a finished study, and is only read. Each command meets a disk that is full (a limit on the
size of files, which root has too), a folder that is a file, a link that leads nowhere, and a folder
where nobody can write (``/proc``: modes are no obstacle to root); some a standard output that is
full. Afterwards nothing half-written is left.
"""

import argparse
import io
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

RESUMED = "the same command goes on from here"


COMMANDS = {  # by name their words, in which {out} is where they write
    "report": "report {store}",
    "report of a table": "report {store}/grid.csv --n n --d d --loss loss --bootstrap 2 "
    "--out {out}",
    "transfer --figures": "transfer {store} --figures {out}",
    "figure": "figure costs {store} -o {out}/costs.svg",
    "savings --figure": "savings {store}/points.csv --run run --x x --loss loss --baseline base "
    "--figure {out}/savings.svg",
    "grow": "grow {store}/{source} --method szp --width 32 -o {out}/grown",
    "new method": "new method mine -o {out}",
    "new method --file": "new method mine --file -o {out}",
    "fit --exclusions": "fit {store}/points.csv --form power --loss loss --var x=x --run run "
    "--step x --exclusions {out}/left.csv",
}
IN_PLACE = ("report",)  # writes where it reads


def call(words: list[str], stdout: object = None) -> tuple[object, str, str]:
    """Run the program in this process: its exit code and what it said."""
    from mugrow.sweeps.program import SIGNALS, main

    out, err = io.StringIO(), io.StringIO()
    before, handlers = sys.argv, [*map(signal.getsignal, SIGNALS)]
    sys.argv = ["mugrow", *words]
    try:
        with redirect_stdout(stdout or out), redirect_stderr(err):  # type: ignore[type-var]
            try:
                main()
                code: object = 0
            except SystemExit as end:
                code = end.code
            except Exception as error:  # what the program would end in a traceback with
                code = f"Traceback: {error!r}"
    finally:
        sys.argv = before
        for number, handler in zip(SIGNALS, handlers, strict=True):
            signal.signal(number, handler)
    return code, out.getvalue(), err.getvalue()


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """Whatever writes more into one file meanwhile is told that it is too large."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def prepared(store: Path, folder: Path) -> Path:
    """A copy of the store, with tables that the commands read."""
    copy = Path(shutil.copytree(store, folder / "store"))
    points = [(run, x, 3 - 0.1 * x) for run in ("base", "grown") for x in range(1, 21)]
    rows = "".join(f"{run},{x},{loss}\n" for run, x, loss in points)
    (copy / "points.csv").write_text(f"run,x,loss\n{rows}")
    grid = [(n, d) for n in (1e6, 4e6, 16e6, 64e6) for d in (1e8, 4e8, 16e8)]
    rows = "".join(f"{n},{d},{1.5 + 400 * n**-0.3 + 900 * d**-0.3}\n" for n, d in grid)
    (copy / "grid.csv").write_text(f"n,d,loss\n{rows}")
    return copy


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def obstacles(folder: Path) -> dict[str, Path]:
    """Places where nothing can be written."""
    (folder / "file").write_text("a file")
    (folder / "link").symlink_to(folder / "nowhere" / "at" / "all")
    return {
        "below a file": folder / "file" / "out",
        "below a link to nowhere": folder / "link" / "out",
        "read-only": Path("/proc/out"),
    }


def wrong(store: Path, only: Iterable[str] | None = None) -> Iterator[str]:
    """What is not as it should be, a line a case, of all commands or of some."""
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        copy = prepared(store, folder)
        sources = sorted(copy.glob("runs/*/checkpoint.safetensors"))
        before = files(copy)
        places = obstacles(folder)
        for name in COMMANDS if only is None else only:
            cases = {"full disk": (folder / "out", 0)}
            if name not in IN_PLACE:
                cases |= {place: (path, -1) for place, path in places.items()}
            for case, (out, size) in cases.items():
                names = {"store": copy, "out": out, "source": sources[0].parent.name}
                words = [word.format(**names) for word in COMMANDS[name].split()]
                with files_at_most(size):
                    code, _, err = call(words)
                yield from judged(f"{name}, {case}", code, err)
                left = [*folder.rglob("*.tmp")]
                if left:
                    yield f"{name}, {case}: left {left}"
                if name not in IN_PLACE and files(copy) != before:
                    yield f"{name}, {case}: what it reads has changed"
                shutil.rmtree(folder / "out", ignore_errors=True)
        for words in (["list", "methods"], ["transfer", str(copy)], ["verify", str(copy)]):
            with open("/dev/full", "w") as full:
                code, _, err = call(words, full)
            yield from judged(f"{words[0]} > /dev/full", code, err, "standard output")


def judged(case: str, code: object, err: str, named: str = "/") -> Iterator[str]:
    lines = err.splitlines()
    last = lines[-1] if lines else ""
    good = code == 2 and last.startswith("mugrow: ") and named in last and "Traceback" not in err
    if not good or not (RESUMED in last or "cannot be" in last or "exists" in last):
        yield f"{case}: exit {code}, {err.strip()[-400:] or 'nothing said'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    given = parser.parse_args()
    lines = [*wrong(given.store)]
    print("\n".join(lines) or f"{len(COMMANDS)} commands: as they should be")
    raise SystemExit(bool(lines))


if __name__ == "__main__":
    main()
