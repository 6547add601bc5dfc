"""Papers planned at any scale, without a corpus."""

from mugrow.bench.spec import DataSpec
from mugrow.sweeps.paper import Paper, PaperFigure, Scale, Setting, experiment
from mugrow.sweeps.plan import Plan, depends

DATA = DataSpec(corpus="words", corpus_sha256="0")


def setting(paper: Paper, scale: Scale = "cpu", vocabulary: int = 256) -> Setting:
    run = paper.bases[scale](DATA, vocabulary)
    return Setting(scale, run, dict.fromkeys(paper.corpora, DATA))


def planned(paper: Paper, scale: Scale = "cpu", vocabulary: int = 256) -> Plan:
    """The plan of all figures, in which what is grown from comes first."""
    plan = experiment(paper, setting(paper, scale, vocabulary), paper.figures).plan({})
    done: set[str] = set()
    for stack in plan.stacks:
        assert depends(stack) <= done
        done |= {run.spec.run_id for run in stack.runs}
    return plan


def own_figures(paper: Paper) -> dict[str, PaperFigure]:
    """All but that of baselines at equal compute, whose claims are no paper's."""
    return {
        name: figure
        for name, figure in paper.figures.items()
        if "beats-front" not in {claim.name for claim in figure.claims}
    }
