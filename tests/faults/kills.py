"""A small study killed again and again, at random moments: does it end with the same bits?

    PYTHONPATH=. python tests/faults/kills.py --kills 100

Each time the program is started, and after a random while SIGKILL ends it, or one of its workers,
or SIGTERM, SIGHUP or Ctrl-C stops it. Its stacks save themselves all the time, so many a kill is
amid a save. Whenever the study ends all the same, its tables must be those of one that ran through,
`mugrow verify` must find nothing, and nothing may have been set aside; then it begins anew.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pandas as pd

from mugrow.sweeps.verify import verify

RESUMED = "the same command goes on from here"
WORDS = ("the", "a", "man", "house", "river", "saw", "held", "gave", "to", "of", "grey", "new")
SETTINGS = (
    *("model.width=16", "model.depth=1", "model.context=16", "parametrizations=mup"),
    *("proxy_widths=16", "log2_lr=-9,-5", "init_std=0.02,0.04", "seeds=0,1", "sampler=tpe"),
    *("trials=8", "generation=4", "rungs=0.5:0.5", "ladder=16:1:32:1", "methods=scratch,szp"),
    *("batch_sequences=2", "log_every=5", "val_tokens=64", "proxy_steps=60", "source_steps=60"),
    *("target_steps=80", "budgets=", "final_val_tokens=0"),
)
# A process that has imported all forks one for every line of words it reads, which starts workers
# of its own: imports would take most of the time. There is no report at the end.
PROGRAM = """
import json, multiprocessing, os, sys
import optuna
import mugrow.analysis.report.build, mugrow.bench.run, mugrow.sweeps.run
from mugrow.sweeps.program import main
mugrow.analysis.report.build.build_with = lambda folder, other: folder
mugrow.bench.run.SAVE_EVERY_S = mugrow.bench.run.SHOW_EVERY_S = 0.02
mugrow.bench.run.LONGEST_SHARE = 1.0
forked = multiprocessing.get_context("fork")
multiprocessing.get_context = lambda method: forked
for line in sys.stdin:
    sys.argv, said = json.loads(line)
    if not (child := os.fork()):
        os.setpgrp()
        file = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.exit(main())
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
KINDS = ("SIGKILL", "SIGKILL", "SIGKILL", "worker", "SIGTERM", "SIGHUP", "SIGINT")
STOPS = {"SIGTERM": 143, "SIGHUP": 129, "SIGINT": 130}


def write_corpus(path: Path) -> None:
    draw = random.Random(0)
    path.write_text("\n\n".join(" ".join(draw.choices(WORDS, k=12)) for _ in range(2000)))


def children(process: int) -> list[int]:
    try:
        listed = Path(f"/proc/{process}/task/{process}/children").read_text()
    except OSError:
        return []
    return [int(one) for one in listed.split()]


def gone(group: list[int]) -> None:
    """Wait for these processes to end: workers outlive their parent by up to a second."""
    while any(Path(f"/proc/{one}").exists() for one in group):
        time.sleep(0.02)


def tables(folder: Path) -> list[pd.DataFrame]:
    """What may not differ: all but how long it took."""
    found = [pd.read_parquet(folder / f"{name}.parquet") for name in ("runs", "curves", "trials")]
    return [found[0].drop(columns=["wall_s", "tokens_per_s"]), *found[1:]]


def weights(folder: Path) -> dict[str, bytes]:
    """The content of all files of tensors, by run and name."""
    paths = folder.glob("runs/*/*.safetensors")
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in paths}


def check_same(whole: Path, killed: Path) -> None:
    for one, other in zip(tables(whole), tables(killed), strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert weights(whole) == weights(killed), "checkpoints differ"
    assert not verify(killed).damage
    left = [*killed.glob("**/*.damaged-*"), *killed.glob("**/.*.tmp"), *killed.glob("stacks/*")]
    assert not left, left


class Program:
    """Starts the program and reads how it ended."""

    def __init__(self, folder: Path) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.parent = subprocess.Popen([sys.executable, "-c", PROGRAM], **pipes)
        self.said = folder / "said"

    def start(self, *words: str) -> int:
        print(json.dumps([["mugrow", *words], str(self.said)]), file=self.parent.stdin, flush=True)
        return int(self.parent.stdout.readline())

    def ended(self) -> tuple[int, str]:
        return int(self.parent.stdout.readline()), self.said.read_text()

    def close(self) -> None:
        self.parent.stdin.close()
        self.parent.wait()


def check_said(kind: str, code: int, said: str) -> None:
    """No traceback; what was stopped says how to go on."""
    assert "Traceback" not in said, said
    if kind in STOPS and code == -getattr(signal, kind) and not said:
        return  # before the program had begun
    if kind in STOPS and "\nreport: " in said:
        return  # after all had ended
    if kind in STOPS:
        assert code == STOPS[kind], (kind, code, said)
    if kind in (*STOPS, "worker"):
        assert RESUMED in said, (kind, code, said)


def kills(count: int, seed: int = 0, longest_s: float = 1.5) -> Counter[str]:
    """Kill ``count`` times; returns how often by what, and how many studies ended meanwhile.
    Raises ``AssertionError`` where one ended otherwise than one that ran through."""
    draw, done = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        write_corpus(folder / "words.txt")
        words = ["run", "quick", "--corpus", str(folder / "words.txt"), "--set", *SETTINGS]
        words += ["--workers", "2", "--out"]
        program = Program(folder)
        program.start(*words, str(folder / "whole"))
        code, said = program.ended()
        assert code == 0, said
        killed = folder / "killed"
        while done["kills"] < count:
            process, kind = program.start(*words, str(killed)), draw.choice(KINDS)
            if draw.random() < 0.8:  # else it may still be starting
                while not (workers := children(process)) and Path(f"/proc/{process}").exists():
                    time.sleep(0.01)
            time.sleep(draw.uniform(0, longest_s))
            workers = children(process)
            if kind == "worker" and not workers:
                kind = "SIGKILL"
            target = draw.choice(workers) if kind == "worker" else process
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(target, getattr(signal, kind, signal.SIGKILL))
            code, said = program.ended()
            gone(workers)
            if code == 0:
                check_same(folder / "whole", killed)
                shutil.rmtree(killed)
                done["studies"] += 1
                continue
            check_said(kind, code, said)
            done["kills"] += 1
            done[kind] += 1
            print(done["kills"], kind, code, file=sys.stderr, flush=True)
        program.start(*words, str(killed))
        code, said = program.ended()
        assert code == 0, said
        check_same(folder / "whole", killed)
        done["studies"] += 1
        program.close()
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for what, count in kills(given.kills, given.seed).items():
        print(f"{what:8}{count:6}")


if __name__ == "__main__":
    main()
