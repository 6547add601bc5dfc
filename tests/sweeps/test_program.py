"""How the program ends, whatever happens: a line or nothing, and never a traceback."""

import errno
import io
import os
import signal
import subprocess
import sys
import time

import pytest

from mugrow.bench.checksums import Damaged
from mugrow.sweeps import program

START = (sys.executable, "-m", "mugrow")
RESUMED = "the same command goes on from here"


@pytest.fixture(autouse=True)
def heard():
    """Signals as a terminal has them; who starts the tests in the background may ignore some."""
    before = {number: signal.getsignal(number) for number in program.SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def raising(monkeypatch, error):
    def run():
        raise error

    monkeypatch.setattr("mugrow.sweeps.cli.run", run)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), "a/b cannot be used: No space"),
        (OSError(errno.EIO, "Input/output error"), "standard output cannot be used: Input/output"),
        (BlockingIOError(errno.EAGAIN, "Try again"), "the system cannot be used: Try again"),
        (OSError("odd"), "the system cannot be used: odd"),
        (FileNotFoundError(errno.ENOENT, "No such file", "gone"), "gone cannot be used: No such"),
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
    ],
)
def test_what_the_machine_lacks_is_a_line(mugrow, monkeypatch, error, said):
    raising(monkeypatch, error)
    ended = mugrow("list", "methods")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"mugrow: {said}")
    assert RESUMED in ended.err
    assert ended.err.count("\n") == 1


def test_damage_is_a_line_without_codes_for_the_terminal(mugrow, monkeypatch, tmp_path):
    raising(monkeypatch, Damaged(tmp_path / "a\x1b[31m\nb", "it is red"))
    ended = mugrow("list", "methods")
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert r"a\x1b[31m\nb is damaged: it is red" in ended.err


def test_a_mistake_of_ours_is_a_traceback(mugrow, monkeypatch):
    raising(monkeypatch, ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError):
        mugrow("list", "methods")


@pytest.mark.parametrize(
    ("number", "code", "by"),
    [
        (signal.SIGINT, 130, ""),
        (signal.SIGTERM, 143, " by SIGTERM"),
        (signal.SIGHUP, 129, " by SIGHUP"),
    ],
)
def test_a_signal_is_a_line(mugrow, monkeypatch, number, code, by):
    monkeypatch.setattr("mugrow.sweeps.cli.run", lambda: os.kill(os.getpid(), number))
    ended = mugrow("list", "methods")
    assert ended.code == code
    assert ended.err == f"mugrow: stopped{by}; {RESUMED}\n"


def test_what_is_ignored_stays_so(mugrow, monkeypatch):
    """As under nohup."""
    monkeypatch.setattr("mugrow.sweeps.cli.run", lambda: os.kill(os.getpid(), signal.SIGHUP))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert mugrow("list", "methods").code == 0


def test_a_second_signal_ends_it_where_it_is():
    code = (
        "import os, signal, sys, mugrow.sweeps.cli as cli\n"
        "from mugrow.sweeps.program import main\n"
        "def run():\n"
        "    try: os.kill(os.getpid(), signal.SIGINT)\n"
        "    finally: os.kill(os.getpid(), signal.SIGTERM); print('still here')\n"
        "cli.run = run\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 143
    assert done.stdout == ""
    assert done.stderr == f"mugrow: stopped; {RESUMED}\n"


@pytest.mark.parametrize("stream", ["pipe", "closed", "full", "ascii"])
def test_standard_output(stream):
    """Closed by who reads it, closed from the beginning, on a full disk, and of no use for μ."""
    list_ = [*START, "list", "samplers"]  # which imports nothing large
    if stream == "pipe":
        with subprocess.Popen(list_, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.close()
            assert (process.stderr.read(), process.wait(60)) == (b"", 141)
    elif stream == "closed":
        done = subprocess.run(["sh", "-c", f"{' '.join(list_)} >&-"], stderr=-1, timeout=60)
        assert (done.stderr, done.returncode) == (b"", 0)
    elif stream == "full":
        with open("/dev/full", "w") as full:
            done = subprocess.run(list_, stdout=full, stderr=-1, text=True, timeout=60)
        assert done.stderr == (
            f"mugrow: standard output cannot be used: No space left on device; {RESUMED}\n"
        )
        assert done.returncode == 2
    else:
        ascii_ = os.environ | {"PYTHONIOENCODING": "ascii"}
        words = [*START, "--help"]  # in boxes
        done = subprocess.run(words, env=ascii_, capture_output=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.isascii()


def test_ctrl_c_before_anything_is_imported():
    """As soon as the interpreter has started: what is large is imported later."""
    code = (
        "import sys, os, signal\n"
        "from mugrow.sweeps import program\n"
        "class Press:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'mugrow.sweeps.cli': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Press())\n"
        "program.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, f"mugrow: stopped; {RESUMED}\n")


def test_ctrl_c_in_code_that_is_a_string(tmp_path):
    """As it is within a dataclass that is being made: the exit code is still the program's."""
    code = (
        "import sys\n"
        "from mugrow.sweeps import program\n"
        "class Press:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'mugrow.sweeps.cli': exec('raise KeyboardInterrupt')\n"
        "sys.meta_path.insert(0, Press())\n"
        "program.main()\n"
    )
    (tmp_path / "pressed.py").write_text(code)  # as ``python -m mugrow`` is run, not the script
    run = [sys.executable, "-m", "pressed"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, f"mugrow: stopped; {RESUMED}\n")


def test_the_program_itself_is_light():
    code = "import sys, mugrow.sweeps.program; print(len(sys.modules), 'tyro' in sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True)
    count, tyro = done.stdout.split()
    assert (int(count) < 80, tyro) == (True, "False")


def test_help_on_the_narrowest_terminal(mugrow, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1")
    began = time.monotonic()
    assert mugrow("run", "--help").code == 0
    assert time.monotonic() - began < 30


def test_streams_that_are_missing(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    program._streams()
    assert sys.stdout is not None


def test_what_ends_is_not_searched_for_cycles():
    """The cycle would be found, and say so, in a search that nobody waits for gladly."""
    code = """
import gc, sys
from mugrow.sweeps.program import main

class Cycle:
    def __init__(self):
        self.itself = self
    def __del__(self):
        print("searched")

gc.disable()
Cycle()
sys.argv = ["mugrow", "--version"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.startswith("mugrow")
    assert "searched" not in done.stdout
