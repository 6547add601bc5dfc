"""Every committed paper's grown runs compare with scratch, and each figure can be planned alone."""

from dataclasses import replace

import pytest
from planned_papers import DATA, setting

from mugrow.sweeps.paper import experiment
from mugrow.sweeps.recipes.papers import PAPERS, paper


@pytest.mark.integration
@pytest.mark.parametrize("name", PAPERS)
def test_no_committed_paper_is_refused(name: str) -> None:
    """With corpora that differ, so that no other text stands in for a run's own."""
    found = paper(name)
    texts = {corpus: replace(DATA, corpus=corpus, corpus_sha256=corpus) for corpus in found.corpora}
    given = setting(found)
    given = replace(given, run=replace(given.run, data=next(iter(texts.values()))), data=texts)
    experiment(found, given, found.figures)
    for figure in found.figures:
        experiment(found, given, found.only(figure))
