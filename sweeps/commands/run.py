"""``mugrow run``: the main job."""

from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from mugrow.bench.spec import UserError
from mugrow.sweeps.commands.output import check_device, check_positive, print_summary, worker_count

OUT = Path("results")


@dataclass(frozen=True)
class RunCommand:
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
        from mugrow.sweeps.override import override
        from mugrow.sweeps.recipes import recipe

        study = override(recipe(self.study), chain(*self.set))
        if study.model.vocab_size != recipe(self.study).model.vocab_size:
            raise UserError("model.vocab_size follows from the corpus; set tokenizer=bpe:VOCAB")
        if self.corpus is not None:
            study = replace(study, corpus=self.corpus)
        from mugrow.bench.data.batches import load, resolve

        check_device(self.device)
        check_positive("threads", self.threads)
        data = resolve(study.corpus, study.tokenizer, study.val_tokens)
        vocabulary = load(data, study.corpus).vocab_size
        path, study = (
            study.corpus,
            replace(study, corpus=data.corpus, model=replace(study.model, vocab_size=vocabulary)),
        )
        folder = self.out or OUT / study.name
        workers = worker_count(self.workers, self.device)
        from mugrow.sweeps.execute import Where, execute, of_study

        if self.dry_run:
            from mugrow.sweeps.dry_run import dry_run

            return dry_run(of_study(study, data), folder, workers, as_json=self.json)
        from mugrow.analysis.report.build import build

        where = Where(workers, self.threads, self.device, {data.corpus_sha256: path})
        execute(of_study(study, data), folder, where)
        page = build(folder)
        print_summary(folder, page, self.json)
