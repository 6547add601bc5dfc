"""What stands beside grown runs of a graph: at which compute, on whole schedules, of whom."""

from dataclasses import replace

from graph_runs import RUN, SOURCE, WIDE

from mugrow.bench.arm import ArmName
from mugrow.sweeps import beside
from mugrow.sweeps.baselines import charge, step_flops
from mugrow.sweeps.graph import Node, continued, grown, plan_graph

SCRATCH = Node(WIDE, ArmName("scratch"))
GROWN = grown(SOURCE, WIDE, ArmName("grown", kind="grown"), "szp")


def added(*nodes):
    """By baseline, what ends a line beside these runs."""
    found = [node for node in beside.with_baselines(nodes) if node not in nodes]
    return {kind: [node for node in found if node.factors["baseline"] == kind]
            for kind in ("scratch", "own source")}  # fmt: skip


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
        "scratch": [], "own source": [],
    }  # fmt: skip
    assert added(GROWN)["scratch"] == [], "there is no scratch of its shape"


def test_the_figure_asks_two_questions_of_ours():
    figure = beside.figure(lambda setting: [SCRATCH, GROWN], [GROWN.arm])
    assert {claim.name: claim.whose for claim in figure.claims} == {
        "beats-scratch": "ours", "beats-own-source": "ours",
    }  # fmt: skip
    assert len(list(figure.runs(None))) > 2
