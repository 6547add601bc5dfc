"""Every command with a standard output that is closed, full or ASCII: no traceback, right code.

    PYTHONPATH=. python tests/faults/streams.py STORE

STORE is a finished study, and is only read. A process that has imported all forks one for each
command and stream, with real file descriptors: a pipe that nobody reads any more, none at all,
``/dev/full``, and one whose encoding has no μ.
"""

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

from commands import COMMANDS, prepared

READING = {  # commands that only print, by name their words
    **{f"list {kind}": f"list {kind}" for kind in (
        "studies", "methods", "parametrizations", "optimizers", "corpora", "samplers", "forms",
        "figures", "papers", "evaluations")},
    "help": "--help",
    "help of run": "run --help",
    "run --dry-run": "run quick --dry-run --set seeds=0 methods=scratch budgets=",
    "reproduce --dry-run": "reproduce gstack --dry-run --only G1",
    "read": "read {store}/points.csv",
    "savings": "savings {store}/points.csv --run run --x x --loss loss --baseline base",
    "fit": "fit {store}/points.csv --form power --loss loss --var x=x --run run "
    "--step x",
    "fit of two": "fit {store}/grid.csv --form chinchilla --n n --d d --loss loss --bootstrap 2",
    "ladder": "ladder {store}/grid.csv --n n --d d --loss loss",
    "advise": "advise --params 1e9 --tokens 2e10",
    "transfer": "transfer {store}",
    "verify": "verify {store}",
    "check": "check szp --quick",
    "a mistake": "fit {store}/nothing.csv --loss μ",
}  # fmt: skip
IMPORTED = (
    *("torch", "pandas", "scipy.optimize", "matplotlib.pyplot", "mugrow.sweeps.cli"),
    *(
        "mugrow.sweeps.listing",
        "mugrow.sweeps.check",
        "mugrow.sweeps.run",
        "mugrow.sweeps.reproduce",
    ),
    *(
        "mugrow.sweeps.verify",
        "mugrow.sweeps.grow",
        "mugrow.sweeps.draw",
        "mugrow.analysis.figures",
    ),
    *("mugrow.analysis.measure.logs", "mugrow.analysis.laws.table_fit"),
    "mugrow.analysis.report.build",
)
CODES = {"pipe": (0, 1, 2, 141), "closed": (0, 1, 2), "full": (2,), "ascii": (0, 1, 2)}
SILENT = ("a mistake", "read")  # what may print nothing there, and so never meets the disk


def forked(words: list[str], stream: str, folder: Path) -> tuple[int, str]:
    """The exit code of a command with that standard output, and what it said on standard error."""
    said = folder / "said"
    sys.stdout.flush()
    if not (child := os.fork()):
        _become(stream, said)
        sys.argv = ["mugrow", *words]
        _run()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, said.read_text(errors="replace")


def _become(stream: str, said: Path) -> None:
    """Give this process the streams, as a shell does before a program begins."""
    error = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(error, 2)
    if stream == "pipe":
        reads, writes = os.pipe()
        os.dup2(writes, 1)
        os.close(reads)
        os.close(writes)
    elif stream == "closed":
        os.close(1)
    elif stream == "full":
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    else:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    encoding = "ascii" if stream == "ascii" else "utf-8"
    errors = "strict"
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), encoding, write_through=True)
    if stream == "closed":
        sys.stdout = None  # type: ignore[assignment]  # as Python has it then
        return
    raw = io.BufferedWriter(io.FileIO(1, "w", closefd=False))
    sys.stdout = io.TextIOWrapper(raw, encoding, errors=errors)


def _run() -> None:
    """The program, to the end of the interpreter, which flushes what is left."""
    from mugrow.sweeps.program import main

    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException as error:
        os.write(2, f"Traceback: {error!r}".encode())
        code = 70
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError) as error:
        os.write(2, f"Traceback at the end: {error!r}".encode())
        code = 120
    os._exit(code if isinstance(code, int) else int(code is not None))


def wrong(store: Path, only: Iterable[str] | None = None) -> Iterator[str]:
    """What is not as it should be, a line a command and stream."""
    for module in IMPORTED:  # once, as it takes most of the time
        import_module(module)
    commands = COMMANDS | READING
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        copy = prepared(store, folder)
        source = sorted(copy.glob("runs/*/checkpoint.safetensors"))[0].parent.name
        for name in commands if only is None else only:
            for stream, right in CODES.items():
                out = folder / f"out-{stream}-{len([*folder.iterdir()])}"
                names = {"store": copy, "out": out, "source": source}
                words = [word.format(**names) for word in commands[name].split()]
                print(f"{name}, {stream}", file=sys.stderr, flush=True)
                code, said = forked(words, stream, folder)
                if stream == "full" and name in (*COMMANDS, *SILENT):
                    right = (0, 1, 2)
                if code not in right or "Traceback" in said or "Error" in said:
                    yield f"{name}, {stream}: exit {code}, {said.strip()[-300:]}"
                if stream == "pipe" and code == 141 and said.startswith("mugrow: "):
                    yield f"{name}, {stream}: not silent: {said.strip()[-300:]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("only", nargs="*")
    given = parser.parse_args()
    found = []
    for line in wrong(given.store, given.only or None):
        print(line, flush=True)
        found.append(line)
    print(f"{len(found)} not as they should be")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
