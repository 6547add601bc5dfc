"""A study written out run by run: lineage, roles, and stacks in an order that can run."""

from dataclasses import replace

import pytest
from graph_runs import RUN, SOURCE, WIDE

from mugrow.bench.spec import (
    DataSpec,
    Start,
    UserError,
)
from mugrow.sweeps.graph import (
    NOT_READ,
    Node,
    check_comparable,
    continued,
    grown,
    plan_graph,
    segments,
)
from mugrow.sweeps.plan import depends


def test_what_grows_names_its_source_and_all_parameters():
    node = grown(SOURCE, WIDE, "szp, half", "szp", shrink=0.5)
    start = node.spec.start
    assert (start.method, start.source_run_id, start.source_step) == (
        "szp", SOURCE.spec.run_id, 80,
    )  # fmt: skip
    assert dict(start.params)["shrink"] == 0.5
    assert len(start.params) > 1  # its defaults are written down too
    assert node.line == (SOURCE, node)
    with pytest.raises(UserError, match="unknown parameter of method 'szp'"):
        grown(SOURCE, WIDE, "x", "szp", shrnk=0.5)
    with pytest.raises(UserError, match="stack"):
        grown(SOURCE, WIDE, "x", "stack")  # which grows depth alone
    with pytest.raises(UserError, match="does not carry"):
        grown(SOURCE, WIDE, "x", "szp", Start(optimizer="carry"))


def test_a_continuation_takes_up_schedule_batches_and_moments():
    node = continued(SOURCE, "cooled")
    assert (node.spec.first_step, node.spec.first_batch, node.spec.last_step) == (80, 80, 100)
    assert (node.spec.start.method, node.spec.start.optimizer) == ("continue", "carry")
    longer = continued(node, "longer", steps=160)
    assert (longer.spec.first_step, longer.spec.first_batch, longer.spec.steps) == (100, 100, 160)
    assert longer.line == (SOURCE, node, longer)
    other = continued(SOURCE, "elsewhere", first_step=0, first_batch=0, data_seed=5)
    assert (other.spec.first_step, other.spec.first_batch, other.spec.data_seed) == (0, 0, 5)


def test_segments_are_one_run_in_the_order_of_their_steps():
    found = segments(RUN, {60: "late", 20: "early"})
    assert [(stop, node.arm) for stop, node in found.items()] == [(20, "early"), (60, "late")]
    assert found[60].line == (found[20], found[60])
    assert [(one.spec.first_step, one.spec.last_step) for one in found.values()] == [
        (0, 20), (20, 60),
    ]  # fmt: skip


def test_sources_come_first_and_are_planned_once():
    seeds = [
        Node(replace(SOURCE.spec, seed=seed, data_seed=1_000_000 + seed), "small")
        for seed in range(3)
    ]
    nodes = [
        grown(source, replace(WIDE, seed=source.spec.seed), name, name)
        for source in seeds
        for name in ("szp", "hypercloning")
    ]
    plan = plan_graph(nodes, stack_width=128)
    ids = [run.spec.run_id for run in plan.runs]
    assert len(ids) == len(set(ids)) == 9
    known: set[str] = set()
    for stack in plan.stacks:
        assert depends(stack) <= known
        known |= {run.spec.run_id for run in stack.runs}
    assert {run.role for run in plan.runs if run.spec.model.width == 32} == {"source"}
    assert {run.role for run in plan.runs if run.spec.model.width == 64} == {"target"}
    assert max(len(stack.runs) for stack in plan.stacks if stack.runs[0].role == "target") == 2
    assert {run.arm for run in plan.runs} == {"small", "szp", "hypercloning"}


def test_a_source_that_is_an_arm_too_keeps_its_arm_and_its_weights():
    plan = plan_graph(
        [Node(SOURCE.spec, "baseline", role="proxy"), continued(SOURCE, "cooled")], 64
    )
    (source, cooled) = plan.runs
    assert (source.arm, source.role) == ("baseline", "source")
    assert (cooled.arm, cooled.role) == ("cooled", "target")


def test_runs_of_several_corpora_are_in_stacks_of_their_own():
    other = replace(RUN, data=DataSpec(corpus="code", corpus_sha256="1"))
    plan = plan_graph([Node(RUN, "words"), Node(other, "code", role="branch")], 640)
    assert len(plan.stacks) == 2
    assert [run.role for run in plan.runs] == ["target", "branch"]


def test_an_empty_graph_has_no_stacks():
    assert plan_graph([], 64).stacks == ()


# --- arms that cannot be compared --------------------------------------------------------------

SCRATCH, GROWN = Node(WIDE, "scratch"), grown(SOURCE, WIDE, "half", "szp", shrink=0.5)


def on(node: Node, **fields: object) -> Node:
    """The same run on other text."""
    return replace(node, spec=replace(node.spec, data=replace(node.spec.data, **fields)))


def test_what_grows_beside_scratch_can_be_compared():
    check_comparable([GROWN, SCRATCH])
    check_comparable([GROWN, continued(SCRATCH, "longer", steps=200)])  # scratch is on its line
    check_comparable([SOURCE, SCRATCH])  # nothing grows
    check_comparable([GROWN, on(SCRATCH, corpus_sha256="1"), SCRATCH])  # and another text beside


def test_a_larger_model_that_is_only_grown_cannot_be_compared():
    deep = replace(WIDE, model=replace(WIDE.model, depth=4))
    with pytest.raises(UserError, match=r"^w64-d2 grown by 'szp' \(arm 'half'\) has nothing to "):
        check_comparable([GROWN, SOURCE, Node(deep, "deeper")])
    check_comparable([GROWN], whole=False)  # a figure alone may leave scratch out
    on_the_way = grown(GROWN, deep, "deep", "stack")
    check_comparable([on_the_way, Node(deep, "deeper")])  # what it grew through is no arm


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"corpus": "code", "corpus_sha256": "1"}, "its corpus_sha256 '0', not '1'"),
        ({"tokenizer": "bpe:512"}, "its tokenizer 'bytes', not 'bpe:512'"),
        ({"val_tokens": 4096}, "its val_tokens 32768, not 4096"),
        ({"final_val_tokens": 4096}, "its final_val_tokens 0, not 4096"),
    ],
)
def test_losses_on_other_text_cannot_be_compared(fields, line, whole):
    with pytest.raises(UserError, match=r"cannot be compared with scratch") as caught:
        check_comparable([GROWN, on(SCRATCH, **fields)], whole=whole)
    assert str(caught.value).endswith(line)
    assert "\n" not in str(caught.value)


def test_another_vocabulary_is_another_text_not_another_shape():
    tokenized = replace(WIDE, model=replace(WIDE.model, vocab_size=512))
    with pytest.raises(UserError, match="tokenizer 'bytes', not 'bpe:512'"):
        check_comparable([GROWN, on(Node(tokenized, "scratch"), tokenizer="bpe:512")])


def test_a_grown_run_that_goes_on_is_compared_where_it_ends():
    code = replace(RUN.data, corpus="code", corpus_sha256="1")
    moved = continued(GROWN, "moved", steps=200, data=code)
    with pytest.raises(UserError, match="corpus_sha256 '1', not '0'"):
        check_comparable([moved, SCRATCH])
    check_comparable([moved, continued(SCRATCH, "too", steps=200, data=code)])


def test_a_corpus_that_was_not_read_is_its_name():
    priced, other = ({"corpus": name, "corpus_sha256": NOT_READ} for name in ("words", "code"))
    check_comparable([on(GROWN, **priced), on(SCRATCH, **priced)])
    with pytest.raises(UserError, match="corpus_sha256 'words', not 'code'"):
        check_comparable([on(GROWN, **priced), on(SCRATCH, **other)])
