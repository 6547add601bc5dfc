"""Papers at a size that tests can train."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mugrow.analysis.figures import style
from mugrow.analysis.measure.claims import ledger
from mugrow.analysis.read.store import Store, load
from mugrow.bench.data.batches import resolve
from mugrow.sweeps.evaluate import evaluate_all
from mugrow.sweeps.execute import Where, execute
from mugrow.sweeps.paper import Paper, Setting, experiment, judged


@pytest.fixture(scope="session")
def capitals(corpus: Path) -> Path:
    """Another corpus: the same words in capitals."""
    path = corpus.with_name("capitals.txt")
    path.write_text(corpus.read_text().upper())
    return path


@pytest.fixture
def reproduced(corpus, capitals, in_threads, tmp_path: Path) -> Callable[..., Store]:
    """Run a whole paper on tiny models, draw every figure and judge every claim; its tables.

    Fields of the base run can be given; a paper's second corpus is the words in capitals.
    """

    def run(paper: Paper, **fields: object) -> Store:
        texts = [str(path) for path in (corpus, capitals)[: len(paper.corpora)]]
        data = {
            name: resolve(text, val_tokens=32)
            for name, text in zip(paper.corpora, texts, strict=True)
        }
        base = paper.bases["cpu"](next(iter(data.values())), 256)
        model = replace(base.model, width=16, head_size=16, context=16)
        tiny = {"model": model, "base": model, "steps": 10, "log_every": 5, "batch_sequences": 2}
        given = Setting("cpu", replace(base, **(tiny | fields)), data)
        paths = {spec.corpus_sha256: text for spec, text in zip(data.values(), texts, strict=True)}
        execute(experiment(paper, given, paper.figures), tmp_path, Where(1, 1, "cpu", paths))
        evaluate_all(judged(given, paper.figures), tmp_path, tmp_path, paths)
        store = load(tmp_path)
        assert set(store.runs["status"]) == {"finished"}
        for figure in paper.figures.values():
            drawn = style.drawn(lambda figure=figure: figure.draw(store))
            assert style.svg_bytes(drawn, "x")
        for row in ledger(paper.claims(paper.figures), store):
            assert row.verdict
        return store

    return run
