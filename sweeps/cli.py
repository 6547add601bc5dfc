"""The command line: ``mugrow COMMAND``. Results go to stdout, progress and errors to stderr.

Commands are frozen dataclasses, from which flags and ``--help`` are made. Whatever is slow to
import is imported by the command that needs it. A user's mistake is one line and exit code 2.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional, UseAppendAction, arg, subcommand

from bench.spec import UserError

OUT = Path("results")


@dataclass(frozen=True)
class Run:
    """Run a study: plan, tune, transfer, train, collect, report. Resumes whatever is there."""

    study: Positional[str]
    """A study's name; see `mugrow list studies`."""
    out: Path | None = None
    """Its folder; results/STUDY by default."""
    corpus: str | None = None
    """Another corpus, by name or path."""
    set: Annotated[UseAppendAction[tuple[tuple[str, ...], ...]], arg(metavar="KEY=VALUE ...")] = ()
    """Settings of the study to change."""
    dry_run: bool = False
    """Print every run with its cost, and an estimate of the time, and train nothing."""
    workers: int | None = None
    """Processes that train at the same time; one a CPU core, or one on a GPU, by default."""
    threads: int = 1
    """CPU threads of each process."""
    device: str = "cpu"
    """Where to train: cpu, cuda, cuda:1, ..."""
    json: bool = False
    """Print the result (or the dry run) as JSON."""

    def __call__(self) -> None:
        from sweeps.override import override
        from sweeps.recipes import recipe

        study = override(recipe(self.study), chain(*self.set))
        if study.model.vocab_size != recipe(self.study).model.vocab_size:
            raise UserError("model.vocab_size follows from the corpus; set tokenizer=bpe:VOCAB")
        if self.corpus is not None:
            study = replace(study, corpus=self.corpus)
        from bench.data.batches import load, resolve

        _check_device(self.device)
        _check_positive("threads", self.threads)
        data = resolve(study.corpus, study.tokenizer, study.val_tokens)
        vocabulary = load(data, study.corpus).vocab_size
        path, study = (
            study.corpus,
            replace(study, corpus=data.corpus, model=replace(study.model, vocab_size=vocabulary)),
        )
        folder = self.out or OUT / study.name
        workers = self._workers()
        if self.dry_run:
            from sweeps.dry_run import dry_run

            return dry_run(study, data, folder, workers, as_json=self.json)
        from analysis.report.build import build
        from sweeps.execute import Where, execute

        where = Where(workers, self.threads, self.device, corpus_path=path)
        execute(study, data, folder, where)
        page = build(folder)
        _print_summary(folder, page, self.json)

    def _workers(self) -> int:
        if self.workers is None:
            return 1 if self.device.startswith("cuda") else (os.cpu_count() or 1)
        _check_positive("workers", self.workers)
        return self.workers


@dataclass(frozen=True)
class List:
    """What there is, with its paper and one line each."""

    what: Positional[
        Literal["studies", "methods", "parametrizations", "corpora", "samplers", "figures"]
    ]
    json: bool = False
    """Print as JSON."""

    def __call__(self) -> None:
        from sweeps.listing import listing

        rows = listing(self.what)
        if self.json:
            print(json.dumps(rows, indent=2))
        else:
            _print_table(rows)


@dataclass(frozen=True)
class Report:
    """Write the report of a study's folder: HTML, figures, LaTeX tables and macros."""

    directory: Positional[Path]
    json: bool = False
    """Print the claims as JSON."""

    def __call__(self) -> None:
        from analysis.report.build import build

        _print_summary(self.directory, build(self.directory), self.json)


@dataclass(frozen=True)
class Savings:
    """Compute savings on anybody's table of loss curves (CSV, Parquet or JSON lines)."""

    curves: Positional[Path]
    run: Annotated[str, arg(metavar="COLUMN")]
    """The column that names a run, or the method of one."""
    x: Annotated[str, arg(metavar="EXPR")]
    """Compute: a column, or arithmetic on columns such as "6 * params * tokens"."""
    loss: Annotated[str, arg(metavar="EXPR")]
    """The loss: a column, or arithmetic on columns."""
    baseline: Annotated[str, arg(metavar="RUN")]
    """The run all others are compared with."""
    method: Annotated[tuple[str, ...], arg(metavar="RUN ...")] = ()
    """The runs to compare; all others by default."""
    at: Annotated[tuple[float, ...], arg(metavar="LOSS ...")] = ()
    """Losses to compare at; the baseline's last by default."""
    source_cost: float = 0.0
    """What the source cost, in units of x; charged to the methods."""
    tuning_cost: float = 0.0
    """What tuning cost, in units of x; charged to both arms."""
    seeds: Annotated[str | None, arg(metavar="COLUMN")] = None
    """The column that tells runs of one method apart; without it there is no interval."""
    smooth: int = 1
    """Points of a running median, for noisy logs."""
    json: bool = False
    """Print as JSON."""

    def __call__(self) -> None:
        from analysis.foreign import table_savings

        rows = table_savings(
            self.curves,
            run=self.run,
            x=self.x,
            loss=self.loss,
            baseline=self.baseline,
            methods=self.method,
            at=self.at,
            source_cost=self.source_cost,
            tuning_cost=self.tuning_cost,
            seeds=self.seeds,
            smooth=self.smooth,
        )
        if self.json:
            print(json.dumps(rows, indent=2))
        else:
            _print_table(rows)


@dataclass(frozen=True)
class Bench:
    """Time this machine: stacks of models beside the usual way of training them."""

    what: Positional[Literal["throughput"]]
    widths: tuple[int, ...] = (32, 64, 128, 256)
    stacks: tuple[int, ...] = (1, 8)
    """Members of a stack."""
    depth: int = 4
    context: int = 128
    batch: int = 16
    """Sequences of a batch."""
    seconds: float = 2.0
    """How long each of the five rounds of a program lasts."""
    threads: int | None = None
    """CPU threads; all cores by default."""
    device: str = "cpu"
    json: bool = False
    """Print as JSON."""

    def __call__(self) -> None:
        import torch

        from bench.throughput import throughput

        _check_device(self.device)
        threads = self.threads if self.threads is not None else os.cpu_count() or 1
        _check_positive("widths", *self.widths)
        _check_positive("stacks", *self.stacks)
        _check_positive("threads", threads)
        if not self.seconds > 0:
            raise UserError(f"--seconds must be above 0, not {self.seconds}")
        torch.set_num_threads(threads)
        result = throughput(
            self.widths,
            self.stacks,
            depth=self.depth,
            context=self.context,
            sequences=self.batch,
            seconds=self.seconds,
            device=self.device,
        )
        if self.json:
            print(json.dumps(result, indent=2))
        else:
            print(f"matrix products: {result['matmul_gflops']:.1f} GFLOP/s")
            _print_table(result["rows"])


Command = (
    Annotated[Run, subcommand("run")]
    | Annotated[List, subcommand("list")]
    | Annotated[Report, subcommand("report")]
    | Annotated[Savings, subcommand("savings")]
    | Annotated[Bench, subcommand("bench")]
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


def _check_positive(option: str, *values: int) -> None:
    for value in values:
        if value < 1:
            raise UserError(f"--{option} must be at least 1, not {value}")


def _check_device(device: str) -> None:
    import torch

    if device == "cpu":
        return
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device {device!r} cannot be used here ({str(error).splitlines()[0]}); 'cpu' can"
        ) from None


def _print_summary(folder: Path, page: Path, as_json: bool) -> None:
    if as_json:
        print((folder / "summary.json").read_text(encoding="utf-8"), end="")
    else:
        print(f"report: {page}")


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*(rows[0] if rows else ()), box=None, header_style="bold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 160).print(table, markup=False)


def _cell(value: object) -> str:
    from rich.markup import escape

    if value is None:
        return "–"
    return escape(f"{value:.4g}" if isinstance(value, float) else str(value))


if __name__ == "__main__":
    main()
