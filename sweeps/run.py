"""A study from its corpus to its report: pin the text, plan, train, collect, write the page.

    study + corpus -> pinned study -> plan, stacks, runs -> tables -> summary.json, report/

A study names its corpus; what its runs are made of is the corpus's content, by its sha256, and a
model with as many tokens as the text has. Everything lies in the study's folder, and the same call
goes on from what is there.

What reports are made with is imported when one is due, or a core is free: no run waits for it.
"""

import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from mugrow.analysis.report.helper import Helper, started
from mugrow.bench.data import batches
from mugrow.bench.final_evaluation import BLOCKS
from mugrow.bench.method_file import is_file, read_method
from mugrow.bench.spec import DataSpec, UserError
from mugrow.sweeps import price as pricing
from mugrow.sweeps.compiling import Compile
from mugrow.sweeps.execute import execute, of_study, where_of
from mugrow.sweeps.imported import pinned_source
from mugrow.sweeps.plan import Plan
from mugrow.sweeps.price import Bill
from mugrow.sweeps.recipes import recipe
from mugrow.sweeps.study import Method, Study

if TYPE_CHECKING:
    from mugrow.analysis.read.store import Store

OUT = Path("results")


@dataclass(frozen=True)
class FinishedStudy:
    """A study whose runs have ended: its folder, the page of its report, and its last plan, with
    the optimum of each sweep and the reason of each growth that was skipped."""

    folder: Path
    page: Path
    plan: Plan

    @property
    def summary(self) -> Path:
        """The file with all numbers of the report, as JSON."""
        return self.folder / "summary.json"

    def store(self) -> "Store":
        """The tables of its runs, curves and trials."""
        from mugrow.analysis.read.store import load

        return load(self.folder)


def pinned(study: Study) -> tuple[Study, DataSpec]:
    """The study on the content of its corpus: with the corpus's own name, where the study gives a
    path, and its vocabulary; methods that come from a file with the file's hash, and an imported
    source with that of its weights. Raises ``UserError`` for what cannot be used."""
    corpus, source = study.corpus, study.source or None
    if source is None:
        data = batches.resolve(corpus, study.tokenizer, study.val_tokens)
    else:
        study, data = pinned_source(study)
    tokens = batches.load(data, corpus, source)
    if tokens.left_out:
        print(f"corpus {data.corpus}: left out: {tokens.left_out}", file=sys.stderr)
    model = study.model if source else replace(study.model, vocab_size=tokens.vocab_size)
    final_val_tokens = min(study.final_val_tokens, len(tokens.val) - 1)
    least = BLOCKS * model.context
    if study.ladder and study.final_val_tokens and final_val_tokens < least:
        raise UserError(
            f"final_val_tokens {final_val_tokens} are too few: {BLOCKS} blocks of one context take "
            f"{least}, of the {len(tokens.val)} held out; 0 for no final evaluation"
        )
    fixed = replace(
        study,
        corpus=data.corpus,
        model=model,
        final_val_tokens=final_val_tokens,
        methods=tuple(map(_pinned_method, study.methods)),
    )
    return fixed, data


def _pinned_method(method: Method) -> Method:
    if not is_file(method.name):
        return method
    return replace(method, name=read_method(Path(method.name)).name)


def run(
    study: Study | str | Path,
    out: str | Path | None = None,
    *,
    workers: int | None = None,
    threads: int = 1,
    device: str = "cpu",
    devices: str | None = None,
    on: str = "local",
    log: str | None = None,
    memory_bytes: float | None = None,
    recompute: bool = False,
    ranks: int | None = None,
    compile: Compile = "off",
) -> FinishedStudy:
    """Run a study to its end, or go on where it was stopped, and write its report.

    ``study`` is a ``Study``, a name of `mugrow list studies` or the path of a file. ``out``
    is its folder, ``results/NAME`` by default; ``workers`` processes of ``threads`` CPU
    threads each train at the same time on ``device``, by default one a CPU core, or one on a GPU;
    with several ``devices``, as ``"cuda:0..7"``, one on each. ``on`` is another engine than this
    machine's processes, with its options: ``"slurm:partition=a"``; ``log`` an experiment tracker
    that shows the curves live: ``"tensorboard"``. What a stack takes at once is planned to fit
    ``memory_bytes``, by default nine tenths of a GPU and no limit on a CPU; with ``recompute``
    activations are computed again in the backward pass and not kept. With several ``ranks`` so many
    processes train each stack together, data-parallel, with those threads, a device and memory
    each. ``compile`` says which shapes torch compiles: ``"on"``, all, ``"auto"``, those whose runs
    are long enough to win it back. The processes are spawned, so a script calls this under ``if
    __name__ == "__main__":``. Raises ``UserError`` for a study, corpus, folder, machine or engine
    that cannot be, before anything trains.

    >>> import mugrow
    >>> finished = mugrow.run("quick")  # doctest: +SKIP
    >>> len(finished.store().runs)  # doctest: +SKIP
    120
    """
    where = where_of(
        workers, threads, device, devices, on, log, memory_bytes, recompute, ranks, compile
    )
    study = study if isinstance(study, Study) else recipe(study)
    fixed, data = pinned(study)
    folder = Path(out) if out is not None else OUT / study.name
    paths = {data.corpus_sha256: study.corpus}
    where = replace(where, corpus_paths=paths, source_path=study.source or None)
    with ExitStack() as stack:
        other: Helper | None = None

        def prepare_report() -> None:
            nonlocal other
            other = stack.enter_context(started(folder, ahead=True))
            import_module("mugrow.analysis.report.build")

        plan = execute(of_study(fixed, data, where.gpus), folder, where, at_last=prepare_report)
        other = other or stack.enter_context(started(folder))
        from mugrow.analysis.report.build import build_with

        return FinishedStudy(folder, build_with(folder, other), plan)


def bill(
    study: Study | str | Path,
    out: str | Path | None = None,
    *,
    workers: int | None = None,
    device: str = "cpu",
    devices: str | None = None,
    on: str = "local",
    price: str | None = None,
    ranks: int | None = None,
    memory_bytes: float | None = None,
    recompute: bool = False,
) -> Bill:
    """What ``run`` would train and cost, given what is in its folder; trains and writes nothing.
    Engine and devices need not be here: ``price`` is a device by whose rates the time is told, as
    ``"h100"``, or ``"measured"``, this machine's own. ``largest`` of the answer says how many
    members and sequences a step takes at a time. Raises ``UserError`` as ``run`` does.

    >>> import mugrow, tempfile
    >>> from pathlib import Path
    >>> settings = ["parametrizations=mup", "seeds=0", "methods=scratch", "proxy_widths=16"]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     text = Path(folder) / "words.txt"
    ...     _ = text.write_text("\\n\\n".join(f"{n} squared is {n * n}" for n in range(3000)))
    ...     study = mugrow.recipe("quick", [*settings, "val_tokens=64"], corpus=str(text))
    ...     bill = mugrow.bill(study, folder, workers=1)
    >>> len(bill.runs), bill.runs[-1].role, f"{bill.flops:.1e} FLOPs"
    (8, 'target', '3.4e+11 FLOPs')
    """
    machine = pricing.machine(workers, device, devices, on, price, ranks, memory_bytes, recompute)
    study = study if isinstance(study, Study) else recipe(study)
    fixed, data = pinned(study)
    folder = Path(out) if out is not None else OUT / study.name
    return pricing.bill(of_study(fixed, data, machine.gpus), folder, machine)
