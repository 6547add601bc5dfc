"""What a paper's grown runs are compared with at equal charged compute, and the figure of it.

A paper asks whether growing helps; who pays asks what else the compute would have bought. So beside
each grown run, at what it is charged with its sources, stand

    scratch       its shape from random weights, on a whole schedule
    own source    its last source trained on, to the end of a whole schedule
    front         other shapes from random weights; the best of all that are there is the front

as runs of the same graph (``mugrow.sweeps.budgets`` makes them cheap where a schedule has a
cool-down). A source that began at random and was trained on is a whole schedule of its own shape,
so with the two baselines there are two sizes at every charge, and a front needs no run of its own;
a recipe may name more, up to an isoFLOP. Where a source has cooled down before it is grown, its
line is the source with the cool-down at the end instead, on its batches.

All have the rate and the other hyperparameters of the run that they stand for, whatever the length.
What is said of them is ours and none of the paper's, so the claims of the figure are.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from mugrow.analysis.figures import arms as pictures
from mugrow.analysis.measure.claims import Claim, rule
from mugrow.analysis.measure.comparison import BASELINES, Baseline
from mugrow.analysis.measure.equal_compute_claims import front_size, gained
from mugrow.analysis.measure.quantity import at_scale
from mugrow.analysis.read.store import Store
from mugrow.bench.arm import ArmName
from mugrow.bench.spec import ModelSpec
from mugrow.sweeps.baselines import charge, horizon_at, trained_on
from mugrow.sweeps.budgets import Budget, budget_line
from mugrow.sweeps.graph import Node
from mugrow.sweeps.paper import PaperFigure, Runs, Setting

Arms = Sequence[ArmName] | Callable[[str], Sequence[ArmName]]  # which may depend on the scale

WORDS: dict[Baseline, str] = {
    "scratch": "scratch on a whole schedule at the compute that the arm paid with its sources",
    "own source": "its own source, trained on at the same compute instead of grown",
    "front": "the best of the sizes trained from scratch at the same compute",
}


def with_baselines(nodes: Iterable[Node], front: Iterable[Node] = ()) -> Iterator[Node]:
    """The runs, and what those that are grown, not continued, are compared with. Scratch is the
    first run of their shape, seed and schedule that is not grown. Shapes of the ``front``, runs
    that are not trained themselves, have a budget at every charge of their seed; where one is that
    of scratch or of a source from random weights, on the line that is there."""
    nodes = list(nodes)
    yield from nodes
    scratch: dict[tuple[ModelSpec, int], Node] = {}
    for node in nodes:
        if node.source is None and node.method == "scratch":
            scratch.setdefault(_shape(node), node)
    of_scratch: dict[Node, set[int]] = {}
    of_source: dict[Node, set[int]] = {}
    of_front: dict[Node, set[int]] = {}
    charges: dict[int, set[float]] = {}
    for node in nodes:
        source = node.source
        if source is None or node.spec.start.method == "continue":
            continue
        paid = charge([each.spec for each in node.line])
        charges.setdefault(node.spec.seed, set()).add(paid)
        if whole := scratch.get(_shape(node)):
            of_scratch.setdefault(whole, set()).add(_horizon(whole, paid))
        of_source.setdefault(source, set()).add(_horizon(source, paid))
    begun = {_shape(source): source for source in of_source if source.method == "scratch"}
    whole_of = {_shape(whole): whole for whole in of_scratch}
    for node in front:
        there = whole_of.get(_shape(node)) or begun.get(_shape(node)) or node
        lines = of_scratch if there in of_scratch else of_source if there in of_source else of_front
        paid_by_seed = charges.get(node.spec.seed, set())
        lines.setdefault(there, set()).update(_horizon(there, paid) for paid in paid_by_seed)
    for whole, horizons in of_scratch.items():
        yield from _line(budget_line(whole.spec, horizons, 0), "scratch", None)
    for source, horizons in of_source.items():
        yield from _line(trained_on(source.spec, horizons, 0), "own source", source)
    for node, horizons in of_front.items():
        yield from _line(budget_line(node.spec, horizons, 0), "front", None)


def _shape(node: Node) -> tuple[ModelSpec, int]:
    return node.spec.model, node.spec.seed


def _horizon(node: Node, paid: float) -> int:
    """The step of its schedule at which the run of a node, trained on, has been charged so much."""
    return horizon_at([each.spec for each in node.line], paid)


def _line(budgets: Iterable[Budget], baseline: Baseline, source: Node | None) -> Iterator[Node]:
    """The runs that end a line's budgets, each with the trunk before it."""
    begun_from = source.source if source else None
    for budget in budgets:
        before = source if source and budget.trunk[:1] == (source.spec,) else begun_from
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


def figure(runs: Runs, *, arms: Arms, front: Runs | None = None, note: str = "") -> PaperFigure:
    """The figure of a paper's grown ``arms`` at equal charged compute.

    ``runs`` are theirs and scratch's, ``front`` are of further shapes on the front, ``note`` is
    what the caption has to say of this paper. Three claims are about the first of the arms."""

    def at(scale: str) -> Sequence[ArmName]:
        return arms(scale) if callable(arms) else arms

    def planned(setting: Setting) -> Iterator[Node]:
        yield from with_baselines(runs(setting), front(setting) if front else ())

    panels = (_Panel(at, baseline) for baseline in BASELINES)
    words = (f"{name.capitalize()}: {words}." for name, words in WORDS.items())
    return PaperFigure(
        runs=planned,
        draw=pictures.row(*panels, share_y=True),
        claims=tuple(_claim(at, baseline) for baseline in BASELINES),
        title="What else the compute would have bought",
        caption="Final loss of each grown arm minus that of a baseline at the same compute, "
        "sources counted; whiskers are intervals over seeds. Left of 0 growing was worth it. "
        f"{' '.join(words)} Its size is written there; beyond the smallest or largest tried a "
        f"better one may lie. {note}".rstrip(),
    )


@dataclass(frozen=True)
class _Panel:
    """Dots of the arms' differences from one baseline; from a front, with the size that it is."""

    arms: Callable[[str], Sequence[ArmName]]
    baseline: Baseline

    def __call__(self, axis: Axes, store: Store) -> None:
        arms = self.arms(store.study["scale"])
        dots = {str(arm): gained(arm, self.baseline) for arm in arms}
        pictures.DotPanel(dots, f"minus {self.baseline} (nats)", zero=True)(axis, store)
        axis.locator_params(axis="x", nbins=4)  # small differences have long numbers
        if self.baseline == "front":
            across = axis.get_yaxis_transform()
            for row, arm in enumerate(arms):
                size = front_size(store, arm)
                axis.text(0.98, row + 0.3, size, transform=across, ha="right", fontsize=7)


def _claim(arms: Callable[[str], Sequence[ArmName]], baseline: Baseline) -> Claim[Store]:
    name = f"beats-{baseline.replace(' ', '-')}"
    where = f"our question: is growing worth its compute? Here {arms('cpu')[0]}"
    difference = at_scale(lambda scale: gained(arms(scale)[0], baseline))
    return rule(name, where, difference < 0.0, whose="ours").decides(
        f"the grown model ends lower than {WORDS[baseline]}",
        f"final loss of the grown model minus {baseline}’s at equal charged compute, nats",
    )
