"""``mugrow check``: what growth methods say about themselves, measured."""

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from mugrow.bench.spec import UserError
from mugrow.sweeps.commands.output import print_table

if TYPE_CHECKING:
    from mugrow.bench.checks import CheckResult


@dataclass(frozen=True)
class CheckCommand:
    """Take growth methods through the contract kit; exit code 1 if anything fails.

    A METHOD is a name of `mugrow list methods`, with parameters as in szp:shrink=0.2, or the path
    of a Python file that defines METHOD.
    """

    methods: Annotated[Positional[tuple[str, ...]], arg(metavar="METHOD ...")] = ()
    all: bool = False
    """Every method there is, plug-ins too."""
    quick: bool = False
    """Preservation on six flavours of the decoder instead of all 49."""
    json: bool = False
    """Print every case as JSON."""
    table: bool = False
    """Print a Markdown table of the methods with their measured logit error, and check no more."""

    def __call__(self) -> None:
        import torch

        from mugrow.bench.growth import REGISTRY, names
        from mugrow.sweeps.check import method_table, results_of

        torch.set_num_threads(1)  # models this small only wait for a second thread
        if self.all == bool(self.methods):
            raise UserError("check takes METHOD ... or --all")
        words = names() if self.all else self.methods
        ignored = REGISTRY.loadable()[1] if self.table else REGISTRY.ignored().values()
        for reason in ignored if self.all else ():
            print(reason, file=sys.stderr)
        if self.table:
            loaded = [entry.name for entry in REGISTRY.loadable()[0]] if self.all else words
            print(method_table(loaded), end="")
            return
        kits = {word: results_of(word, full=not self.quick) for word in words}
        results: list[CheckResult] = []
        for word, kit in kits.items():
            measured = [*_watched(word, kit)]
            results += measured
            if not self.json:
                _print(word, measured)
        if self.json:
            print(json.dumps([_row(result) for result in results], indent=2))
        if any(result.status == "fail" for result in results):
            sys.exit(1)


def _watched(method: str, results: Iterator["CheckResult"]) -> Iterator["CheckResult"]:
    """The results, with what is being checked shown on a terminal meanwhile."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    with console.status(method) as status:
        for done, result in enumerate(results, 1):
            status.update(f"{method}: {result.check}, {done} cases")
            yield result


def _print(method: str, results: list["CheckResult"]) -> None:
    """A row a check, then the failing cases in full, and why others were skipped."""
    failed = [result for result in results if result.status == "fail"]
    print(f"{method}: {'FAIL' if failed else 'pass'}")
    print_table([_summary(results, check) for check in dict.fromkeys(r.check for r in results)])
    for result in failed:
        value = "" if result.value is None else f" {result.value:.3g} (at {result.tolerance:.3g})"
        print(f"  failed: {result.check}, {result.case}:{value} {result.reason or ''}")
    for reason in sorted({r.reason or "" for r in results if r.status == "skip"}):
        print(f"  skipped: {reason}")
    print(flush=True)


def _summary(results: list["CheckResult"], check: str) -> dict[str, Any]:
    cases = [result for result in results if result.check == check]
    values = sorted(case.value for case in cases if case.value is not None)
    ends = {"smallest": values[0], "largest": values[-1]} if values else {}
    statuses = [case.status for case in cases]
    counts = {status: statuses.count(status) for status in ("pass", "fail", "skip")}
    return {"check": check, **counts, "smallest": None, "largest": None, **ends}


def _row(result: "CheckResult") -> dict[str, Any]:
    """JSON has no numbers that are not finite."""
    value = result.value
    return asdict(result) | {"value": value if value is None or math.isfinite(value) else None}
