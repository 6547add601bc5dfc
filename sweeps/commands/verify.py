"""``mugrow verify``: is a store what was written?"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional


@dataclass(frozen=True)
class VerifyCommand:
    """Read all of a folder of runs and say what is damaged; exit code 1 if anything is.

    Checksums, identities and values of runs, checkpoints, saved states, evaluations and tables.
    Nothing is changed: what is damaged is done again by the command that made it.
    """

    directory: Positional[Path]
    """A folder of `mugrow run`, `mugrow reproduce` or `mugrow grow`."""
    json: bool = False
    """Print as JSON."""

    def __call__(self) -> None:
        from mugrow.analysis.read.plain import to_json
        from mugrow.sweeps.program import printable
        from mugrow.sweeps.verify import verify

        found = verify(self.directory)
        if self.json:
            plain = to_json(found)
            plain["folder"] = str(found.folder)
            for one, damage in zip(plain["damage"], found.damage, strict=True):
                one["path"] = str(damage.path)
            print(json.dumps(plain, indent=2))
        else:
            for damage in found.damage:
                print(printable(str(damage)))
            counts = {
                "runs": found.runs,
                "stacks in flight": found.stacks,
                "evaluations": found.evaluations,
                "sets of tables": found.tables,
            }
            read = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
            whole = f"{len(found.damage)} damaged" if found.damage else "nothing is damaged"
            print(f"{read or '1 grown model'}: {whole}")
            if found.unchecked:
                print(f"{found.unchecked} runs have no checksums: they are from before there were")
            if found.unfinished:
                print(f"{found.unfinished} runs were not written to their end, and would be")
            if found.absent:
                print(
                    f"{found.absent} runs are known by tables alone: here they would be done again"
                )
        if found.damage:
            sys.exit(1)
