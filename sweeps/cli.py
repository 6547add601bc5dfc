"""The command line: ``mugrow COMMAND``. Results go to stdout, progress and errors to stderr.

A user's mistake is one line and exit code 2; ``mugrow.sweeps.program`` has all ways to end. Each
command is a class of one file in ``mugrow.sweeps.commands``, and only the one that is asked for is
imported: the words of the others, and what the library that parses them makes of those, take longer
than many a command. The help on all of them is read from the files as text.
"""

import ast
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.resources import files
from textwrap import fill

from mugrow.bench.spec import UserError, unknown
from mugrow.sweeps.program import main as main  # where it was before
from mugrow.sweeps.torchrun import under_torchrun

DESCRIPTION = "Tune small proxies, transfer the optimum to grown models, count the compute."
COMMANDS = (
    *(
        "run",
        "list",
        "report",
        "compare",
        "figure",
        "reproduce",
        "check",
        "coordcheck",
        "grow",
        "import",
    ),
    *("export", "new", "read", "tokenize", "fit", "ladder", "savings", "transfer", "importance"),
    *("verify", "watch", "advise", "bench", "docs"),
)
MODULES = {"list": "listing", "import": "import_"}  # of those that could not have their own name
PACKAGE = "mugrow.sweeps.commands"
WIDEST = 100


def run() -> None:
    """Run the command that the program's words name. Raises ``UserError``."""
    name, *words = sys.argv[1:] or [""]
    if name in ("-h", "--help"):
        print(help_text(min(shutil.get_terminal_size().columns, WIDEST)))
    elif name == "--version":
        from mugrow import __version__

        print(f"mugrow {__version__}")
    elif name.startswith("--tyro-"):  # a shell's completions
        import tyro

        kinds: dict[str, Callable[..., object]] = {one: command_class(one) for one in COMMANDS}
        tyro.extras.subcommand_cli_from_dict(kinds, prog="mugrow", args=[name, *words])
    elif name == "":
        raise UserError(
            f"a command is missing: {', '.join(COMMANDS)}; mugrow --help has a line on each"
        )
    else:
        command = parsed(name, words)
        with under_torchrun() as runs_it:
            if runs_it:
                command()


def parsed(name: str, words: Sequence[str]) -> Callable[[], None]:
    """The command of this name with its options; to be called. Raises ``UserError``, and
    ``SystemExit`` for what the command has not, and for its help."""
    kind = command_class(name)
    import tyro

    from mugrow.sweeps.arguments import words_of

    command: Callable[[], None] = tyro.cli(
        kind,
        prog=f"mugrow {name}",
        args=words_of(kind, words),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    return command


def command_class(name: str) -> type:
    """The dataclass of a command, whose fields are its options. Raises ``UserError``."""
    if name not in COMMANDS:
        raise unknown("command", name, COMMANDS)
    module = import_module(f"{PACKAGE}.{MODULES.get(name, name)}")
    found: type = getattr(module, _class_name(name))
    return found


def help_text(columns: int) -> str:
    """What ``mugrow --help`` prints: a line on each command."""
    lines = [
        *("usage: mugrow COMMAND ...", "", DESCRIPTION, "", "commands:"),
        *(_about(name, columns) for name in COMMANDS),
        *("", "options:", "  -h, --help  of all commands, or of one: mugrow run --help"),
        "  --version   the version that is installed",
    ]
    return "\n".join(lines)


def _about(name: str, columns: int) -> str:
    source = (files(PACKAGE) / f"{MODULES.get(name, name)}.py").read_text(encoding="utf-8")
    (kind,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == _class_name(name)
    )
    summary = (ast.get_docstring(kind) or "").partition("\n\n")[0]
    return fill(f"  {name:<10}  {' '.join(summary.split())}", columns, subsequent_indent=14 * " ")


def _class_name(name: str) -> str:
    return f"{name.capitalize()}Command"
