"""The program ``mugrow``: how it begins and how it ends.

    0    done, also where the answer is that the data cannot say
    1    a check has failed, or a store is damaged
    2    a mistake, or a file or a disk that cannot be used: one line that names it
    130  Ctrl-C; 143 and 129 for SIGTERM and SIGHUP: one line
    141  who read the output has closed it, as ``head`` does: without a word

Whatever stopped it, the same command goes on from there. Nothing large is imported here, so that
all this holds from the first moment on; the commands are in ``mugrow.sweeps.cli``. A second signal
ends the program at once, whatever it is doing; its workers end themselves when it is gone.
"""

import atexit
import errno
import gc
import os
import signal
import sys
from contextlib import suppress

RESUMED = "the same command goes on from here"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIGPIPE_EXIT_CODE = 128 + signal.SIGPIPE
LEAST_COLUMNS = 40  # the help of a narrower terminal would never end
STDOUT = "standard output"
OF_WRITING = (errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT)  # what names no file
SHOW_CURSOR = b"\x1b[?25h"


class Stopped(KeyboardInterrupt):
    """Raised by SIGTERM and SIGHUP, as ``KeyboardInterrupt`` is by Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Stops:
    """Handles signals: the first is raised, so that files and workers are cleared away; a second
    ends the program where it is."""

    def __init__(self) -> None:
        self.line: bytes | None = None  # still to be said
        self.seen = self.ended = False
        self.process = os.getpid()

    def __call__(self, number: int, frame: object) -> None:
        if os.getpid() != self.process:  # one that was forked has no line to say
            os._exit(128 + number)
        if self.ended or self.seen:
            if self.line is not None:
                with suppress(OSError):
                    os.write(2, (SHOW_CURSOR if os.isatty(2) else b"") + self.line)
            os._exit(128 + number)
        self.seen, self.line = True, f"{_stopped(number)}\n".encode()
        raise KeyboardInterrupt if number == signal.SIGINT else Stopped(number)


def _stopped(number: int) -> str:
    by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    return f"mugrow: stopped{by}; {RESUMED}"


def main() -> None:
    """The program, from its words to its exit code."""
    # what ends is not searched for cycles, which takes half a second
    atexit.register(gc.freeze)
    stops = _Stops()
    for number in SIGNALS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):  # nohup means it
            with suppress(ValueError):  # not the main thread
                signal.signal(number, stops)
    try:
        _streams()
        code = _ended()
    except KeyboardInterrupt as stopped:
        by = stopped.number if isinstance(stopped, Stopped) else int(signal.SIGINT)
        _say(_stopped(by))
        # One that came up through code in a string, as dataclasses have, is noted by CPython, which
        # would end itself by SIGINT whatever the exit code; the next such code has it forget.
        exec("")
        code = 128 + by
    stops.ended, stops.line = True, None
    if code is not None:
        sys.exit(code)


def _ended() -> str | int | None:
    """Run the command; its exit code, if it has one."""
    try:
        try:
            from mugrow.sweeps.cli import run

            run()
        finally:
            _flush()  # here, where a closed pipe can be told from a mistake
    except SystemExit as ended:
        if (line := _of_others(ended)) is not None:  # else one could end all with 0
            _say(line)
            return 2
        # rich, which prints the tables, raises SystemExit while it handles a closed pipe
        if not isinstance(ended.__context__, BrokenPipeError):
            return ended.code
        _nowhere()
        return SIGPIPE_EXIT_CODE
    except BrokenPipeError:
        _nowhere()
        return SIGPIPE_EXIT_CODE
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # somebody else's code may raise anything
        if (line := _line(error)) is None:
            raise
        _say(line)
        return 2
    return None


def _line(error: BaseException) -> str | None:
    """What is said of an error that the program is not to blame for; ``None`` of others."""
    from mugrow.bench.checksums import Damaged
    from mugrow.bench.spec import UserError

    if isinstance(error, UserError | Damaged):
        return f"mugrow: {error}"
    if isinstance(error, OSError):
        reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
        named = error.filename or (STDOUT if error.errno in OF_WRITING else "the system")
        return f"mugrow: {named} cannot be used: {reason}; {RESUMED}"
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return f"mugrow: out of memory; {RESUMED}, with fewer --workers if need be"
    return _of_others(error)


def _of_others(error: BaseException) -> str | None:
    """What is said of an error of a plug-in, or of a file of the user's, at its use."""
    if "mugrow.bench.entries" not in sys.modules:
        return None
    from mugrow.bench.entries import blamed_on, in_one_line

    where = blamed_on(error)
    return None if where is None else f"mugrow: {where} raised {in_one_line(error)}"


def _streams() -> None:
    """Standard streams that can be written to: what was closed goes nowhere, and what an encoding
    lacks is a question mark. The narrowest terminal that help is laid out for."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:  # closed, so the next file that is opened would be taken for it
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    with suppress(ValueError):
        if 0 < int(os.environ.get("COLUMNS", 0)) < LEAST_COLUMNS:
            os.environ["COLUMNS"] = str(LEAST_COLUMNS)


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        error.filename = STDOUT
        _nowhere()
        raise


def _nowhere() -> None:
    """What is still to be printed goes nowhere: the interpreter flushes once more at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def printable(text: str) -> str:
    """A text as one line that does nothing to a terminal: what came from a file may hold codes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _say(line: str) -> None:
    with suppress(OSError, ValueError):
        print(printable(line), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
