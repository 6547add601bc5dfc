"""SIGINT, SIGTERM and SIGHUP at random moments of commands as they start: one line, right code?

    PYTHONPATH=. python tests/faults/signals.py STORE --signals 60

STORE is a finished study, and is only read. The moment is one of the CPU time that the process has
used, of which a busy machine gives it less; it is drawn between the interpreter's own start, which
is Python's, and a little beyond the end of the imports.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from mugrow.sweeps.program import RESUMED

COMMANDS = (
    "list methods",
    "list papers",
    "transfer {store}",
    "verify {store}",
    "advise --params 1e9 --tokens 2e10",
    "check szp --quick",
    "run quick --dry-run --set seeds=0 methods=scratch budgets=",
    "figure costs {store} -o {out}",
    "run --help",
)
SIGNALS = {signal.SIGINT: "", signal.SIGTERM: " by SIGTERM", signal.SIGHUP: " by SIGHUP"}
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def cpu_s(process: int) -> float:
    """The CPU time of a process so far; infinite of one that has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("inf")
    return float("inf") if fields[0] == "Z" else (int(fields[11]) + int(fields[12])) * TICK_S


def begun(process: int) -> bool:
    """Whether the program has put its handlers in place: it then catches SIGTERM."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return True
    caught = next((line for line in lines if line.startswith("SigCgt")), "SigCgt: 0")
    return bool(int(caught.split()[1], 16) & (1 << (signal.SIGTERM - 1)))


def wrong(store: Path, count: int, seed: int = 0, longest_s: float = 4.0) -> Iterator[str]:
    """What is not as it should be, a line a signal."""
    draw = random.Random(seed)
    for number in range(count):
        line, sent = draw.choice(COMMANDS), draw.choice([*SIGNALS])
        words = line.format(store=store, out=f"/tmp/{os.getpid()}-{number}.png").split()
        at = draw.uniform(0, longest_s)
        process = subprocess.Popen(
            [sys.executable, "-m", "mugrow", *words],
            stdout=subprocess.DEVNULL,
            stderr=-1,
            text=True,
        )
        while not begun(process.pid):
            time.sleep(0.001)
        started = cpu_s(process.pid)
        while cpu_s(process.pid) < started + at:
            time.sleep(0.002)
        process.send_signal(sent)
        said = process.communicate(timeout=600)[1]
        code = process.returncode
        right = {128 + sent: f"mugrow: stopped{SIGNALS[sent]}; {RESUMED}", 0: ""}
        last = (said.splitlines() or [""])[-1]
        what = f"{line}, {sent.name} after {at:.2f} s of CPU"
        print(f"{what}: exit {code}", file=sys.stderr, flush=True)
        ended = code == 0 or (code in right and last == right[code])
        if not ended or "Traceback" in said or said.count("mugrow: stopped") > 1:
            yield f"{what}: exit {code}, {said.strip()[-400:]!r}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--signals", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    found = []
    for line in wrong(given.store, given.signals, given.seed):
        print(line, flush=True)
        found.append(line)
    print(f"{len(found)} of {given.signals} not as they should be")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
