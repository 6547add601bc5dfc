"""The command line: ``mugrow COMMAND``. Results go to stdout, progress and errors to stderr.

A user's mistake is one line and exit code 2. The commands themselves are in
``mugrow.sweeps.commands``.
"""

import sys
from collections.abc import Callable
from typing import Annotated

import tyro
from tyro.conf import subcommand

from mugrow.bench.spec import UserError
from mugrow.sweeps.commands.advise import Advise
from mugrow.sweeps.commands.bench import Bench
from mugrow.sweeps.commands.check import Check
from mugrow.sweeps.commands.coordcheck import Coordcheck
from mugrow.sweeps.commands.docs import DocsCommand
from mugrow.sweeps.commands.figure import Figure
from mugrow.sweeps.commands.fit import Fit
from mugrow.sweeps.commands.grow import Grow
from mugrow.sweeps.commands.ladder import Ladder
from mugrow.sweeps.commands.listing import List
from mugrow.sweeps.commands.new import New
from mugrow.sweeps.commands.report import Report
from mugrow.sweeps.commands.reproduce import Reproduce
from mugrow.sweeps.commands.run import Run
from mugrow.sweeps.commands.savings import Savings
from mugrow.sweeps.commands.transfer import Transfer

Command = (
    Annotated[Run, subcommand("run")]
    | Annotated[List, subcommand("list")]
    | Annotated[Report, subcommand("report")]
    | Annotated[Figure, subcommand("figure")]
    | Annotated[Reproduce, subcommand("reproduce")]
    | Annotated[Check, subcommand("check")]
    | Annotated[Coordcheck, subcommand("coordcheck")]
    | Annotated[Grow, subcommand("grow")]
    | Annotated[New, subcommand("new")]
    | Annotated[Fit, subcommand("fit")]
    | Annotated[Ladder, subcommand("ladder")]
    | Annotated[Savings, subcommand("savings")]
    | Annotated[Transfer, subcommand("transfer")]
    | Annotated[Advise, subcommand("advise")]
    | Annotated[Bench, subcommand("bench")]
    | Annotated[DocsCommand, subcommand("docs")]
)


def main() -> None:
    """The program ``mugrow``."""
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
    except KeyboardInterrupt:
        print("mugrow: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
