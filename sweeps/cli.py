"""The command line: ``mugrow COMMAND``. Results go to stdout, progress and errors to stderr.

A user's mistake is one line and exit code 2. Who reads the output may close it early, as ``head``
does: the program then ends without a word, with the code of a shell for SIGPIPE. The commands
themselves are in ``mugrow.sweeps.commands``.
"""

import os
import sys
from collections.abc import Callable
from typing import Annotated

import tyro
from tyro.conf import subcommand

from mugrow.bench.spec import UserError
from mugrow.sweeps.commands.advise import AdviseCommand
from mugrow.sweeps.commands.bench import BenchCommand
from mugrow.sweeps.commands.check import CheckCommand
from mugrow.sweeps.commands.coordcheck import CoordcheckCommand
from mugrow.sweeps.commands.docs import DocsCommand
from mugrow.sweeps.commands.export import ExportCommand
from mugrow.sweeps.commands.figure import FigureCommand
from mugrow.sweeps.commands.fit import FitCommand
from mugrow.sweeps.commands.grow import GrowCommand
from mugrow.sweeps.commands.import_ import ImportCommand
from mugrow.sweeps.commands.ladder import LadderCommand
from mugrow.sweeps.commands.listing import ListCommand
from mugrow.sweeps.commands.new import NewCommand
from mugrow.sweeps.commands.report import ReportCommand
from mugrow.sweeps.commands.reproduce import ReproduceCommand
from mugrow.sweeps.commands.run import RunCommand
from mugrow.sweeps.commands.savings import SavingsCommand
from mugrow.sweeps.commands.transfer import TransferCommand

Command = (
    Annotated[RunCommand, subcommand("run")]
    | Annotated[ListCommand, subcommand("list")]
    | Annotated[ReportCommand, subcommand("report")]
    | Annotated[FigureCommand, subcommand("figure")]
    | Annotated[ReproduceCommand, subcommand("reproduce")]
    | Annotated[CheckCommand, subcommand("check")]
    | Annotated[CoordcheckCommand, subcommand("coordcheck")]
    | Annotated[GrowCommand, subcommand("grow")]
    | Annotated[ImportCommand, subcommand("import")]
    | Annotated[ExportCommand, subcommand("export")]
    | Annotated[NewCommand, subcommand("new")]
    | Annotated[FitCommand, subcommand("fit")]
    | Annotated[LadderCommand, subcommand("ladder")]
    | Annotated[SavingsCommand, subcommand("savings")]
    | Annotated[TransferCommand, subcommand("transfer")]
    | Annotated[AdviseCommand, subcommand("advise")]
    | Annotated[BenchCommand, subcommand("bench")]
    | Annotated[DocsCommand, subcommand("docs")]
)


SIGPIPE_EXIT_CODE = 128 + 13


def main() -> None:
    """The program ``mugrow``."""
    try:
        try:
            _run()
        finally:
            sys.stdout.flush()  # here, where a closed pipe can be told from a mistake
    except (BrokenPipeError, SystemExit) as ended:
        # rich, which prints the tables, raises SystemExit while it handles a closed pipe
        if not any(isinstance(one, BrokenPipeError) for one in (ended, ended.__context__)):
            raise
        nowhere = os.open(os.devnull, os.O_WRONLY)  # the interpreter flushes both once more
        os.dup2(nowhere, sys.stdout.fileno())
        os.dup2(nowhere, sys.stderr.fileno())
        sys.exit(SIGPIPE_EXIT_CODE)


def _run() -> None:
    command: Callable[[], None] = tyro.cli(
        Command,
        prog="mugrow",
        config=(tyro.conf.FlagCreatePairsOff,),
        description="Tune small proxies, transfer the optimum to grown models, count the compute.",
    )
    try:
        command()
    except UserError as error:
        print(f"mugrow: {error}", file=sys.stderr)
        sys.exit(2)
    except (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        print(f"mugrow: {error.filename} cannot be used: {error.strerror}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("mugrow: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
