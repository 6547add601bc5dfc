"""Papers at a size that tests can train."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.claims import ledger
from analysis.figures import style
from analysis.store import Store, load
from bench.data.batches import resolve
from sweeps.evaluate import evaluate_all
from sweeps.execute import Where, execute
from sweeps.paper import Paper, Setting, experiment, judged


@pytest.fixture
def reproduced(corpus, in_threads, tmp_path: Path) -> Callable[..., Store]:
    """Run a whole paper on tiny models, draw every figure and judge every claim; its tables.

    Fields of the base run can be given; every corpus is the same words.
    """

    def run(paper: Paper, **fields: object) -> Store:
        data = resolve(str(corpus), val_tokens=128)
        base = paper.bases["cpu"](data, 256)
        model = replace(base.model, width=16, head_size=16, context=16)
        tiny = {"model": model, "base": model, "steps": 20, "log_every": 10, "batch_sequences": 2}
        given = Setting("cpu", replace(base, **(tiny | fields)), dict.fromkeys(paper.corpora, data))
        paths = {data.corpus_sha256: str(corpus)}
        execute(experiment(paper, given, paper.figures), tmp_path, Where(2, 1, "cpu", paths))
        evaluate_all(judged(given, paper.figures), tmp_path, tmp_path, paths)
        store = load(tmp_path)
        assert set(store.runs["status"]) == {"finished"}
        for figure in paper.figures.values():
            drawn = style.drawn(lambda figure=figure: figure.draw(store))
            assert style.svg_bytes(drawn, "x")
        for row in ledger(paper.claims(paper.figures), store):
            assert row["verdict"]
        return store

    return run
