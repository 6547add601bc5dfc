"""``mugrow run``: the main job."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from mugrow.sweeps.arguments import Amount
from mugrow.sweeps.commands.machine_options import HERE, MachineOptions
from mugrow.sweeps.commands.output import check_priced, print_summary


@dataclass(frozen=True)
class RunCommand:
    """Run a study: plan, tune, transfer, train, collect, report. Resumes whatever is there."""

    study: Positional[str]
    """A study's name, see `mugrow list studies`, or a file: FILE.py that defines `study`, or
    FILE.toml with its fields."""
    out: Path | None = None
    """Its folder; results/STUDY by default."""
    corpus: str | None = None
    """Another corpus, by name or path."""
    text_field: str | None = None
    """Of a corpus of records, as .jsonl: the field that is the text."""
    glob: str | None = None
    """Of a corpus that is a folder: the files to read, as '*.md,*.rst'; '*.txt' by default."""
    token_dtype: str | None = None
    """Of a corpus of bare token ids: uint8, uint16, uint32, ..."""
    set: Annotated[UseAppendAction[tuple[tuple[str, ...], ...]], arg(metavar="KEY=VALUE ...")] = ()
    """Settings of the study to change."""
    source: str | None = None
    """Grow the checkpoint in this folder of `mugrow import`; nothing is trained from scratch."""
    source_flops: Annotated[Amount | None, arg(metavar="FLOPS")] = None
    """What the source is charged: 6 N D of all its training."""
    source_sunk: bool = False
    """The source exists already: its compute does not count."""
    dry_run: bool = False
    """Print every run with its cost, and an estimate of the time, and train nothing."""
    price: Annotated[str | None, arg(metavar="DEVICE")] = None
    """With --dry-run: the time on a device that need not be here, a100, a100-40gb, h100, h200, or
    measured, on this machine's own cores."""
    machine: OmitArgPrefixes[MachineOptions] = HERE
    json: bool = False
    """Print the result (or the dry run) as JSON."""

    def __call__(self) -> None:
        from mugrow.sweeps.recipes import configured

        study = configured(self.study, [*chain(*self.set), *self._of_source()], self.corpus)
        asked = {name: getattr(self, name) for name in ("text_field", "glob", "token_dtype")}
        if any(asked.values()):
            from mugrow.bench.data.corpora import with_options

            study = replace(study, corpus=with_options(study.corpus, asked))
        from mugrow.sweeps import run

        if self.dry_run:
            from mugrow.sweeps.dry_run import print_bill

            found = run.bill(
                study,
                self.out,
                price=self.price,
                **self.machine.priced(),
            )
            return print_bill(found, as_json=self.json)
        check_priced(self.price)
        done = run.run(
            study,
            self.out,
            **self.machine.trained(),
        )
        print_summary(done.folder, done.page, self.json)

    def _of_source(self) -> Iterator[str]:
        """What is said of the source, as ``--set`` takes it."""
        if self.source is not None:
            yield f"source={self.source}"
        if self.source_flops is not None:
            yield f"source_flops={self.source_flops}"
        if self.source_sunk:
            yield "source_sunk=true"
