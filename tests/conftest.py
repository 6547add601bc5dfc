"""The program ``mugrow``, in this process and as its users start it, and a tiny study to run.

pytest-xdist runs the tests in a process a core. Each has its own session fixtures, but for the
study ``finished``, which one of them trains and the others wait for. Nothing large is imported
here: the process that only hands out the tests needs none of it.
"""

import fcntl
import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    import pandas as pd

# One thread a process, in numpy's and scipy's BLAS too, and in the programs that tests start: the
# models are small, and the other cores have tests of their own.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

# Imports make a million objects that live to the end, and no garbage: nothing is collected while
# tests are found, and what is there then is never looked at again.
gc.disable()

# A deadline would measure the machine, and a missed one begins minutes of shrinking.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


# Its fixtures take longest: two wheels and two environments, which its tests share.
FIRST = "test_packaging.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A process without tests takes half of another's, from the end: what is first stays whole."""
    items.sort(key=lambda item: item.path.name != FIRST)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


PROGRAM = Path(sys.executable).with_name("mugrow")
SETTINGS = (
    "model.width=16",
    "model.depth=1",
    "model.context=16",
    "parametrizations=mup,sp",
    "proxy_widths=16,32",
    "log2_lr=-9,-7,-5",
    "init_std=0.04",
    "seeds=0,1",
    "sampler=grid",
    "generation=3",
    "rungs=",
    "ladder=16:1:32:1",
    "methods=scratch,szp",
    "batch_sequences=2",
    "log_every=2",
    "val_tokens=64",
    "proxy_steps=6",
    "source_steps=10",
    "target_steps=10",
    "budgets=",
    "final_val_tokens=0",
)
WORDS = (
    "the",
    "a",
    "man",
    "woman",
    "house",
    "river",
    "saw",
    "held",
    "gave",
    "to",
    "of",
    "grey",
    "new",
)


@dataclass(frozen=True)
class Finished:
    """A study that ran to its end as ``words``, and what the program printed."""

    words: list[str]
    folder: Path
    out: str
    err: str


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: object
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models this small gain nothing from a second thread, and lose much on a busy machine."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def short_timings() -> Iterator[None]:
    """No test asks how fast this machine is, but every study that is priced or run times a few
    steps of each of its shapes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mugrow.bench.throughput.PROBE_S", 0.01)
        patch.setattr("mugrow.bench.throughput.MATMUL_S", 0.01)
        yield


@pytest.fixture
def mugrow(monkeypatch, capsys) -> Iterator[Callable[..., Ended]]:
    """Call the program in this process: ``mugrow("list", "methods", "--json")``."""
    import torch

    from mugrow.sweeps.program import SIGNALS, main

    def call(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["mugrow", *map(str, words)])
        capsys.readouterr()
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        return Ended(code, *capsys.readouterr())

    threads, handlers = torch.get_num_threads(), [*map(signal.getsignal, SIGNALS)]
    yield call
    torch.set_num_threads(threads)
    for number, handler in zip(SIGNALS, handlers, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def in_threads(monkeypatch) -> Iterator[None]:
    """Stacks train in threads of this process: another executor, which needs no start-up."""
    import torch

    @contextmanager
    def threads(workers):
        with ThreadPoolExecutor(workers) as executor:
            yield executor

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr("mugrow.sweeps.engines.local.processes", threads)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """100 kB of words."""
    draw = random.Random(0)
    lines = (" ".join(draw.choices(WORDS, k=12)) for _ in range(2000))
    path = tmp_path_factory.mktemp("corpus") / "words.txt"
    path.write_text("\n\n".join(lines))
    return path


@pytest.fixture(scope="session")
def tiny(corpus) -> list[str]:
    """The words of ``mugrow run`` that make the study ``quick`` tiny: 30 runs in 6 stacks."""
    return ["run", "quick", "--corpus", str(corpus), "--set", *SETTINGS]


@pytest.fixture(scope="session")
def amended(tiny: list[str]) -> Callable[..., list[str]]:
    """The words of the tiny study with other settings: a key that is given twice is refused."""

    def words(*settings: str) -> list[str]:
        keys = {one.partition("=")[0] for one in settings}
        return [*(word for word in tiny if word.partition("=")[0] not in keys), *settings]

    return words


@pytest.fixture(scope="session")
def finished(tiny, tmp_path_factory) -> Finished:
    """The tiny study, run by the installed program with two worker processes. Not to be changed;
    a test that writes copies it."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # the folder that all workers share
    folder, said = root / "finished", root / "finished.json"
    with (root / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker for which it failed
            words = [*tiny, "--workers", "2", "--json", "--out", str(folder)]
            done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
            ended = Finished(words, folder, done.stdout, done.stderr)
            said.write_text(json.dumps(asdict(ended), default=str))
    read = json.loads(said.read_text())
    return Finished(read["words"], folder, read["out"], read["err"])


@pytest.fixture
def few_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports draw two of their figures: all of them are drawn in the report of ``finished``."""
    from mugrow.analysis import figures

    few = {name: figures.FIGURES[name] for name in ("curves", "savings")}
    monkeypatch.setattr(figures, "FIGURES", few)


def _tables(folder: Path) -> "dict[str, pd.DataFrame]":
    import pandas as pd

    tables = {
        name: pd.read_parquet(folder / f"{name}.parquet") for name in ("runs", "curves", "trials")
    }
    # How long it took is all that may differ between two runs of one study.
    tables["runs"] = tables["runs"].drop(columns=["wall_s", "tokens_per_s"])
    return tables


@pytest.fixture(scope="session")
def assert_same_study() -> Callable[[Path, Path], None]:
    """Two folders hold the same runs, curves and trials, in the same order, to the last bit."""

    import pandas as pd

    def check(left: Path, right: Path) -> None:
        for one, other in zip(_tables(left).values(), _tables(right).values(), strict=True):
            pd.testing.assert_frame_equal(one, other, check_exact=True)
        ids = _tables(right)["runs"]["run_id"]
        assert ids.is_unique
        assert set(ids) == {path.name for path in (right / "runs").iterdir()}

    return check
