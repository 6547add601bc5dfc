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
class Check:
    """Take growth methods through the contract kit; exit code 1 if anything fails.

    A METHOD is a name of `mugrow list methods`, with parameters as in szp:shrink=0.2, or the path
    of a Python file that defines METHOD.
    """

    methods: Annotated[Positional[tuple[str, ...]], arg(metavar="METHOD ...")] = ()
    all: bool = False
    """Every method there is, plug-ins too."""
    quick: bool = False
    """Preservation on four flavours of the decoder instead of all 32."""
    json: bool = False
    """Print every case as JSON."""
    table: bool = False
    """Print a Markdown table of the methods with their measured logit error, and check no more."""

    def __call__(self) -> None:
        import torch

        from mugrow.bench.growth import names

        torch.set_num_threads(1)  # models this small only wait for a second thread
        if self.all == bool(self.methods):
            raise UserError("check takes METHOD ... or --all")
        words = names() if self.all else self.methods
        if self.table:
            from mugrow.bench.checks.load import find
            from mugrow.bench.checks.table import table

            print(table(map(find, words)), end="")
            return
        results: list[CheckResult] = []
        for method, found in [(word, _results(word, full=not self.quick)) for word in words]:
            results += _watched(method, found)
            if not self.json:
                _print(method, [result for result in results if result.method == method])
        if self.json:
            print(json.dumps([_row(result) for result in results], indent=2))
        if any(result.status == "fail" for result in results):
            sys.exit(1)


def _results(word: str, full: bool) -> Iterator["CheckResult"]:
    """Of one method. A name or parameter that does not exist is the user's mistake, raised here; a
    plug-in that cannot be loaded is a result."""
    from mugrow.bench.checks import CheckResult, check_method
    from mugrow.bench.checks.load import find
    from mugrow.bench.entries import with_params
    from mugrow.bench.growth import check_params, names

    name, params = with_params("method", word)
    try:
        entry = find(name)
    except UserError as error:
        if name not in names():
            raise
        return iter(
            [CheckResult(method=word, check="load", case="any", status="fail", reason=str(error))]
        )
    check_params(entry, params)
    return check_method(entry, params, full=full, label=word)


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
    own = [result for result in results if result.check == check]
    values = sorted(result.value for result in own if result.value is not None)
    ends = {"smallest": values[0], "largest": values[-1]} if values else {}
    counts = {status: [r.status for r in own].count(status) for status in ("pass", "fail", "skip")}
    return {"check": check, **counts, "smallest": None, "largest": None, **ends}


def _row(result: "CheckResult") -> dict[str, Any]:
    """JSON has no numbers that are not finite."""
    value = result.value
    return asdict(result) | {"value": value if value is None or math.isfinite(value) else None}
