"""What is compiled is decided by the plan's length, shape by shape."""

from dataclasses import replace

import pytest

from mugrow.bench.compiled import break_even_tokens
from mugrow.bench.spec import DataSpec, UserError
from mugrow.sweeps.compiling import check_compile, compiling, shape
from mugrow.sweeps.plan import plan
from mugrow.sweeps.recipes import recipe

PLAN = plan(recipe("quick"), DataSpec(corpus="stdlib", corpus_sha256="0" * 64), {})
STACKS = (*PLAN.stacks, *PLAN.provisional)


def test_off_is_nothing_and_on_is_all():
    assert compiling("off", PLAN) == compiling("off", PLAN).__class__()
    on = compiling("on", PLAN)
    assert all(on.of(stack) for stack in STACKS)
    assert len(on.lines) == len({shape(stack.runs[0].spec) for stack in STACKS})
    assert all(line.endswith(": compiled") for line in on.lines)


def test_auto_compiles_the_shapes_that_have_more_tokens_than_it_takes(monkeypatch):
    tokens: dict[object, int] = {}
    for stack in STACKS:
        for run in stack.runs:
            key = shape(run.spec)
            tokens[key] = tokens.get(key, 0) + run.spec.train_steps * run.spec.batch_tokens
    most = max(tokens.values())
    monkeypatch.setattr("mugrow.sweeps.compiling.break_even_tokens", lambda spec: most - 1)
    found = compiling("auto", PLAN)
    compiled = {shape(stack.runs[0].spec) for stack in STACKS if found.of(stack)}
    assert compiled == {key for key, count in tokens.items() if count == most}
    assert 0 < len(compiled) < len(tokens)


def test_a_line_says_when_it_is_won_back():
    spec = STACKS[0].runs[0].spec
    steps = break_even_tokens(spec) / spec.batch_tokens
    (line,) = (one for one in compiling("auto", PLAN).lines if one.startswith("mup width 16 "))
    assert f"won back after {steps:,.0f} steps of a member; the plan has " in line


def test_a_choice_that_is_none_is_refused():
    with pytest.raises(UserError, match="compile 'atuo'"):
        check_compile("atuo", "cpu")


def test_a_compiler_is_looked_for_on_this_machine_alone(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    check_compile("off", "cpu")
    check_compile("on", None)
    with pytest.raises(UserError, match="which is not installed here"):
        check_compile("auto", "cpu")


def test_the_stand_ins_of_a_plan_count(monkeypatch):
    known = replace(PLAN, provisional=())
    assert len(compiling("on", PLAN).shapes) > len(compiling("on", known).shapes)


def test_several_ranks_are_not_compiled():
    check_compile("off", "cpu", 2)
    with pytest.raises(
        UserError, match="--compile auto is of one process; leave it off with --ranks 2"
    ):
        check_compile("auto", None, 2)
