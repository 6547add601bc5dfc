"""The command line: ``mugrow COMMAND``. Results go to stdout, progress and errors to stderr.

A user's mistake is one line and exit code 2; ``mugrow.sweeps.program`` has all ways to end. The
commands themselves are in ``mugrow.sweeps.commands``.
"""

import sys
from collections.abc import Callable
from typing import Annotated

import tyro
from tyro.conf import subcommand

from mugrow.sweeps.arguments import words_of
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
from mugrow.sweeps.commands.read import ReadCommand
from mugrow.sweeps.commands.report import ReportCommand
from mugrow.sweeps.commands.reproduce import ReproduceCommand
from mugrow.sweeps.commands.run import RunCommand
from mugrow.sweeps.commands.savings import SavingsCommand
from mugrow.sweeps.commands.tokenize import TokenizeCommand
from mugrow.sweeps.commands.transfer import TransferCommand
from mugrow.sweeps.commands.verify import VerifyCommand
from mugrow.sweeps.commands.watch import WatchCommand
from mugrow.sweeps.program import main as main  # where it was before
from mugrow.sweeps.torchrun import under_torchrun

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
    | Annotated[ReadCommand, subcommand("read")]
    | Annotated[TokenizeCommand, subcommand("tokenize")]
    | Annotated[FitCommand, subcommand("fit")]
    | Annotated[LadderCommand, subcommand("ladder")]
    | Annotated[SavingsCommand, subcommand("savings")]
    | Annotated[TransferCommand, subcommand("transfer")]
    | Annotated[VerifyCommand, subcommand("verify")]
    | Annotated[WatchCommand, subcommand("watch")]
    | Annotated[AdviseCommand, subcommand("advise")]
    | Annotated[BenchCommand, subcommand("bench")]
    | Annotated[DocsCommand, subcommand("docs")]
)


def run() -> None:
    """Parse the program's words and run the command that they name."""
    command: Callable[[], None] = tyro.cli(
        Command,
        prog="mugrow",
        args=words_of(Command, sys.argv[1:]),
        config=(tyro.conf.FlagCreatePairsOff,),
        description="Tune small proxies, transfer the optimum to grown models, count the compute.",
    )
    with under_torchrun() as runs_it:
        if runs_it:
            command()
