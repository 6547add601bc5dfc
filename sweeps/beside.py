"""What a paper's grown runs are compared with at equal charged compute, and the figure of it.

A paper asks whether growing helps; who pays asks what else the compute would have bought. So beside
each grown run, at what it is charged with its sources, stand

    scratch       its shape from random weights, on a whole schedule
    own source    its last source trained on, to the end of a whole schedule

as runs of the same graph (``mugrow.sweeps.budgets`` makes them cheap where a schedule has a
cool-down). What is said of them is ours and none of the paper's, so the claims of the figure are.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from mugrow.analysis.figures import arms as pictures
from mugrow.analysis.measure.claims import Claim, rule
from mugrow.analysis.measure.equal_compute_claims import BASELINES, Baseline, gained
from mugrow.analysis.measure.quantity import at_scale
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName
from mugrow.bench.spec import ModelSpec
from mugrow.sweeps.baselines import charge, horizon_at, step_flops, trained_on
from mugrow.sweeps.budgets import Budget, budget_line
from mugrow.sweeps.graph import Node
from mugrow.sweeps.paper import PaperFigure, Setting

WORDS: dict[Baseline, str] = {
    "scratch": "scratch on a whole schedule at the compute that the arm paid with its sources",
    "own source": "its own source, trained on at the same compute instead of grown",
}


def with_baselines(nodes: Iterable[Node]) -> Iterator[Node]:
    """The runs, and what those that are grown, not continued, are compared with. Scratch is the
    first run of their shape, seed and schedule that is not grown."""
    nodes = list(nodes)
    yield from nodes
    scratch: dict[tuple[ModelSpec, int], Node] = {}
    for node in nodes:
        if node.source is None and node.method == "scratch":
            scratch.setdefault((node.spec.model, node.spec.seed), node)
    of_scratch: dict[Node, set[int]] = {}
    of_source: dict[Node, set[int]] = {}
    for node in nodes:
        source = node.source
        if source is None or node.spec.start.method == "continue":
            continue
        paid = charge([each.spec for each in node.line])
        if whole := scratch.get((node.spec.model, node.spec.seed)):
            steps = round(paid / step_flops(whole.spec))
            of_scratch.setdefault(whole, set()).add(steps)
        steps = horizon_at([each.spec for each in source.line], paid)
        of_source.setdefault(source, set()).add(steps)
    for whole, horizons in of_scratch.items():
        yield from _line(budget_line(whole.spec, horizons, 0), "scratch", None)
    for source, horizons in of_source.items():
        yield from _line(trained_on(source.spec, horizons, 0), "own source", source)


def _line(budgets: Iterable[Budget], baseline: Baseline, source: Node | None) -> Iterator[Node]:
    """The runs that end a line's budgets, each with the trunk before it."""
    begun_from = source.source if source else None
    for budget in budgets:
        before = source if budget.trunk else begun_from
        for segment in budget.trunk:
            if before is None or segment.run_id != before.spec.run_id:
                arm = ArmName(f"{baseline}, on the way", baseline=baseline, part="trunk")
                before = Node(segment, arm, before)
        model = budget.final.model
        arm = ArmName(
            f"{baseline} w{model.width}-d{model.depth} to step {budget.horizon}",
            baseline=baseline, width=model.width, depth=model.depth, to_step=budget.horizon,
        )  # fmt: skip
        yield Node(budget.final, arm, before, "branch")


def figure(
    runs: Callable[[Setting], Iterable[Node]],
    arms: Sequence[ArmName] | Callable[[str], Sequence[ArmName]],
) -> PaperFigure:
    """The figure of a paper's grown ``arms``, which may depend on the scale, at equal charged
    compute. ``runs`` are theirs and scratch's; two claims are about the first of the arms."""

    def at(scale: str) -> Sequence[ArmName]:
        return arms(scale) if callable(arms) else arms

    panels = (_panel(at, baseline) for baseline in BASELINES)
    return PaperFigure(
        runs=lambda setting: with_baselines(runs(setting)),
        draw=pictures.row(*panels, share_y=True),
        claims=tuple(_claim(at, baseline) for baseline in BASELINES),
        title="What else the compute would have bought",
        caption="Final loss of each grown arm minus that of a baseline at the same compute, "
        "sources counted; whiskers are intervals over seeds. Left of 0 growing was worth it. "
        + " ".join(f"{name.capitalize()}: {words}." for name, words in WORDS.items()),
    )


def _panel(arms: Callable[[str], Sequence[ArmName]], baseline: Baseline) -> pictures.DotPanel:
    return pictures.DotPanel(
        lambda store: {str(arm): gained(arm, baseline) for arm in arms(store.study["scale"])},
        f"final loss − {baseline}’s (nats)",
        zero=True,
    )


def _claim(arms: Callable[[str], Sequence[ArmName]], baseline: Baseline) -> Claim[Store]:
    name = f"beats-{baseline.replace(' ', '-')}"
    where = f"our question: is growing worth its compute? Here {arms('cpu')[0]}"
    difference = at_scale(lambda scale: gained(arms(scale)[0], baseline))
    return rule(name, where, difference < 0.0, whose="ours").decides(
        f"the grown model ends lower than {WORDS[baseline]}",
        f"final loss of the grown model minus {baseline}’s at equal charged compute, nats",
    )
