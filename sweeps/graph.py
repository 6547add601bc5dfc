"""A study written out run by run, for what proxies, a ladder and methods do not say.

Papers compare things of many kinds: cool-down branches off one trunk, a second corpus, blocks of a
larger model. Their recipes list the runs themselves, each a spec with the *arm* of the comparison
that it belongs to: an ``ArmName`` says by which factors. The runs of an arm differ in their seeds,
or in what a figure has on its axis.

A source is part of what grows from it, so a run and its ancestors are one value, and what several
runs grow from is trained once. Hyperparameters are given, not searched: a recipe that tunes lists
the runs of the sweep.

What growing is worth shows beside scratch alone, validated on the same tokens. So a graph that
grows and trains no such model from scratch, or only on another text, is refused before it trains.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from mugrow.bench.arm import factors_of
from mugrow.bench.growth import check_growth, check_start, method
from mugrow.bench.spec import DataSpec, ModelSpec, RunSpec, Scalar, Start, UserError
from mugrow.sweeps import budgets
from mugrow.sweeps.plan import Plan, PlannedRun, all_params, stacks_of
from mugrow.sweeps.stack_size import Gpus, StackSize

NOT_READ = "not read"  # in place of the sha256 of a corpus, where runs are only priced
FRESH = Start(optimizer="fresh")


@dataclass(frozen=True)
class Node:
    """A run of an ``arm``, begun from ``source`` if it has one. The weights of a ``proxy``, a run
    of a sweep, are not kept."""

    spec: RunSpec
    arm: str
    source: "Node | None" = None
    role: Literal["proxy", "target", "branch"] = "target"

    @property
    def factors(self) -> Mapping[str, Scalar]:
        """What its arm varies, by name."""
        return factors_of(self.arm)

    @property
    def line(self) -> tuple["Node", ...]:
        """The run with its ancestors, the eldest first."""
        return (*(self.source.line if self.source else ()), self)

    @property
    def method(self) -> str:
        """How its weights began: the growth method, or ``scratch``, that it is continued from."""
        run = self
        while run.spec.start.method == "continue" and run.source:
            run = run.source
        return run.spec.start.method


def grown(
    source: Node,
    target: RunSpec,
    arm: str,
    by: str,
    policy: Start = FRESH,
    **params: Scalar,
) -> Node:
    """``target`` with its weights grown from ``source`` by the method ``by``. ``policy`` says what
    becomes of optimizer and symmetry. Raises ``UserError`` for a growth that cannot be done."""
    entry = method(by)
    start = replace(
        policy,
        method=by,
        source_run_id=source.spec.run_id,
        source_step=source.spec.last_step,
        params=all_params(by, params),
    )
    check_growth(entry, source.spec.model, target.model, params)
    check_start(entry, start)
    return Node(replace(target, start=start), arm, source)


def continued(source: Node, arm: str, policy: Start = budgets.CARRY, **fields: Any) -> Node:
    """``source`` trained on: its weights, its optimizer state, its place in schedule and batches,
    unless ``fields`` of its spec say otherwise; ``steps`` is the new horizon."""
    return Node(budgets.continued(source.spec, policy, **fields), arm, source)


def segments(run: RunSpec, arms: Mapping[int, str]) -> dict[int, Node]:
    """A run in segments by the step where each ends, all ``arms``: one goes on from the last."""
    nodes: dict[int, Node] = {}
    for stop, arm in sorted(arms.items()):
        if nodes:
            nodes[stop] = continued(nodes[max(nodes)], arm, stop_step=stop)
        else:
            nodes[stop] = Node(replace(run, stop_step=stop), arm)
    return nodes


def check_comparable(nodes: Iterable[Node], *, whole: bool = True) -> None:
    """Raise ``UserError`` for a graph with a grown run that no run from scratch can be compared
    with, of the same model and validated on the same text. A part of a graph, not the ``whole``,
    may leave scratch out: then only what it has of other text is refused."""
    nodes = list(nodes)
    scratch: dict[ModelSpec, list[DataSpec]] = {}
    for run in (run for node in nodes for run in node.line):
        if run.method == "scratch":
            scratch.setdefault(_untokenized(run.spec.model), []).append(run.spec.data)
    for node in nodes:
        if node.method == "scratch":
            continue
        model, text = node.spec.model, _validated_on(node.spec.data)
        texts = [_validated_on(data) for data in scratch.get(_untokenized(model), ())]
        named = f"w{model.width}-d{model.depth} grown by {node.method!r} (arm {node.arm!r})"
        if not texts and whole:
            raise UserError(f"{named} has nothing to compare with: no such model is from scratch")
        if texts and text not in texts:
            nearest = min(texts, key=lambda other: len(_apart(text, other)))
            differ = ", ".join(f"{key} {text[key]!r}, not {its!r}"
                               for key, its in _apart(text, nearest).items())  # fmt: skip
            raise UserError(f"{named} cannot be compared with scratch: its {differ}")


def _untokenized(model: ModelSpec) -> ModelSpec:
    """The shape, whatever the vocabulary."""
    return replace(model, vocab_size=1)


def _validated_on(data: DataSpec) -> dict[str, Scalar]:
    """What makes losses on it comparable. Of what was not read, only the name is known."""
    return {
        "corpus_sha256": data.corpus if data.corpus_sha256 == NOT_READ else data.corpus_sha256,
        "tokenizer": data.tokenizer,
        "val_tokens": data.val_tokens,
        "final_val_tokens": data.final_val_tokens,
    }


def _apart(text: Mapping[str, Scalar], other: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Where the other differs, with what is there."""
    return {key: other[key] for key in text if other[key] != text[key]}


STACK_WIDTH = 768  # on a CPU, where none is stated


def plan_graph(
    nodes: Iterable[Node], stack_width: int | None = None, gpus: Gpus | None = None
) -> Plan:
    """The plan of all runs: sources first, and runs of one shape in stacks of
    ``stack_width // width``; where none is stated that is 768 on a CPU, and what fits on ``gpus``.
    A run that several arms name is in the first of them."""
    size = StackSize(stack_width, gpus, STACK_WIDTH)
    levels: list[dict[str, PlannedRun]] = []
    everything: dict[str, PlannedRun] = {}
    nodes = list(nodes)
    sources = {ancestor.spec.run_id for node in nodes for ancestor in node.line[:-1]}
    for level, node in _lines(nodes):
        run_id = node.spec.run_id
        levels += [{}] * (level == len(levels))
        if run_id not in everything:
            role = "source" if run_id in sources else node.role
            everything[run_id] = PlannedRun(node.spec, role, sweep="", arm=node.arm)
            levels[level] = levels[level] | {run_id: everything[run_id]}
    stacks = (stack for level in levels for stack in stacks_of(level.values(), everything, size))
    return Plan(stacks=tuple(stacks), provisional=(), trials=(), optima={}, skipped=())


def _lines(nodes: Iterable[Node]) -> Iterator[tuple[int, Node]]:
    for node in nodes:
        yield from enumerate(node.line)
