"""What stands beside grown runs of a graph: at which compute, on whole schedules, of whom."""

from collections import Counter
from dataclasses import replace

from graph_runs import RUN, SOURCE, WIDE

from mugrow.bench.arm import ArmName
from mugrow.sweeps import beside
from mugrow.sweeps.baselines import charge, step_flops
from mugrow.sweeps.graph import Node, continued, grown, plan_graph

SCRATCH = Node(WIDE, ArmName("scratch"))
GROWN = grown(SOURCE, WIDE, ArmName("grown", kind="grown"), "szp")


def added(*nodes, front=()):
    """By baseline, what ends a line beside these runs."""
    found = [node for node in beside.with_baselines(nodes, front) if node not in nodes]
    return {kind: [node for node in found if node.factors["baseline"] == kind]
            for kind in ("scratch", "own source", "front")}  # fmt: skip


def charged(node):
    return charge([each.spec for each in node.line])


def test_a_grown_run_gets_scratch_and_its_source_at_its_charge():
    found = added(SCRATCH, GROWN)
    for kind, model in (("scratch", WIDE.model), ("own source", RUN.model)):
        (node,) = found[kind]
        assert node.spec.model == model
        assert abs(charged(node) - charged(GROWN)) <= 0.5 * step_flops(node.spec)
        assert node.spec.last_step == node.spec.steps, "a whole schedule"
        assert node.role == "branch"
    (source,) = found["own source"]
    assert SOURCE in source.line, "what the source was trained for is not trained again"
    assert charged(found["scratch"][0]) > charged(SCRATCH)


def test_arms_of_one_charge_share_their_baselines():
    other = grown(SOURCE, WIDE, ArmName("other", kind="other"), "hypercloning")
    both, one = added(SCRATCH, GROWN, other), added(SCRATCH, GROWN)
    assert both == one


def test_lines_share_their_trunk():
    longer = grown(SOURCE, replace(WIDE, steps=150), ArmName("longer"), "szp")
    found = added(SCRATCH, GROWN, longer)["scratch"]
    first, second = sorted(found, key=charged)
    assert first.line[0] == second.line[0]
    plan = plan_graph([SCRATCH, *found], 256)
    runs = [run.spec.run_id for run in plan.runs]
    assert len(runs) == len(set(runs))


def test_nothing_stands_beside_what_is_not_grown():
    assert added(SCRATCH, continued(SOURCE, ArmName("on"), stop_step=None)) == {
        "scratch": [], "own source": [], "front": [],
    }  # fmt: skip
    assert added(GROWN)["scratch"] == [], "there is no scratch of its shape"


def test_a_source_that_cooled_down_is_begun_anew():
    """Its line has the cool-down at the end alone, on its batches."""
    cooled = Node(RUN, SOURCE.arm)
    (end,) = added(SCRATCH, grown(cooled, WIDE, ArmName("grown"), "szp"))["own source"]
    assert cooled not in end.line
    assert {node.spec.data_seed for node in end.line} == {RUN.data_seed}
    first, last = end.line
    assert (first.spec.first_step, first.spec.start.method) == (0, "scratch")
    assert first.spec.last_step == last.spec.first_step == 0.8 * last.spec.steps
    assert sum(node.spec.train_steps for node in end.line) == last.spec.steps


def test_a_front_has_a_budget_at_every_charge():
    """On the line that is there for its shape, or on one of its own."""
    longer = grown(SOURCE, replace(WIDE, steps=150), ArmName("longer"), "szp")
    wider = Node(replace(WIDE, model=replace(WIDE.model, width=128)), ArmName("wider"))
    plain = added(SCRATCH, GROWN, longer)
    found = added(SCRATCH, GROWN, longer, front=[wider, SCRATCH, Node(RUN, ArmName("small"))])
    assert found | {"front": []} == plain, "those shapes had one at every charge"
    assert [node.spec.model for node in found["front"]] == 2 * [wider.spec.model]
    for node, arm in zip(found["front"], (GROWN, longer), strict=True):
        assert abs(charged(node) - charged(arm)) <= 0.5 * step_flops(wider.spec)
    assert added(SCRATCH, GROWN, front=[replace(wider, spec=replace(wider.spec, seed=5))]) == {
        **added(SCRATCH, GROWN), "front": [],
    }, "nothing of that seed is charged"  # fmt: skip


def test_a_front_is_at_the_charges_of_others_too():
    """A shape that is one arm's source or target is on the front of another arm."""
    deep = Node(replace(RUN, model=replace(RUN.model, depth=2 * RUN.model.depth)), ArmName("deep"))
    deeper = grown(SOURCE, deep.spec, ArmName("deeper"), "stack")
    runs = (SCRATCH, deep, GROWN, deeper)
    plain, found = added(*runs), added(*runs, front=[SCRATCH, deep])
    assert found["front"] == []
    assert {len(of) for of in (plain["scratch"], plain["own source"])} == {2}
    by_shape = Counter(node.spec.model for node in found["scratch"])
    assert by_shape == {SCRATCH.spec.model: 2, deep.spec.model: 2}


def test_the_figure_asks_three_questions_of_ours():
    figure = beside.figure(lambda setting: [SCRATCH, GROWN], arms=[GROWN.arm], note="Not tuned.")
    assert {claim.name: claim.whose for claim in figure.claims} == {
        "beats-scratch": "ours", "beats-own-source": "ours", "beats-front": "ours",
    }  # fmt: skip
    assert len(list(figure.runs(None))) > 2
    assert figure.caption.endswith("better one may lie. Not tuned.")
