"""Stacks by what suits a CPU, or by what a GPU's memory holds: other groups of the same runs."""

import json
from dataclasses import replace

import pytest
from fake_runs import ALONE, DATA, STUDY
from graph_runs import RUN, SOURCE

from mugrow.bench import device
from mugrow.bench.spec import IMPORT, Start
from mugrow.bench.split import Split, peak_bytes
from mugrow.sweeps import execute, machine
from mugrow.sweeps.execute import of_study, where_of
from mugrow.sweeps.graph import Node, plan_graph
from mugrow.sweeps.machine import least_budget
from mugrow.sweeps.plan import plan
from mugrow.sweeps.search import searches
from mugrow.sweeps.stack_size import Gpus, StackSize
from mugrow.sweeps.study import Rung

SPEC = searches(ALONE, DATA)[0].specs(-8.0, 0.04)[0]


def room(members, spec=SPEC):
    """The bytes in which so many members fit whole."""
    return peak_bytes(spec, members, Split(members, spec.batch_sequences))


def ids(found):
    stacks = (*found.stacks, *found.provisional)
    return sorted(run.spec.run_id for stack in stacks for run in stack.runs)


def sizes(found, role="proxy"):
    return [len(stack.runs) for stack in found.stacks if stack.runs[0].role == role]


@pytest.mark.parametrize(
    ("stated", "gpus", "members"),
    [
        (None, None, 256 // 32),
        (96, None, 3),
        (1, None, 1),
        (96, Gpus(room(5)), 3),  # what is stated holds
        (None, Gpus(room(5)), 5),
        (None, Gpus(room(5) - 1), 4),
        (None, Gpus(room(5), workers=4), 3),  # of ten runs, so that all have something to do
        (None, Gpus(room(500)), 10),
        (None, Gpus(1.0), 1),  # parts of a batch
    ],
)
def test_the_size_of_a_stack(stated, gpus, members):
    assert StackSize(stated, gpus, on_cpu=256).of(SPEC, 10) == members


def test_recomputing_and_ranks_leave_room_for_more():
    one, redone, ranks = (
        StackSize(None, Gpus(room(5), recompute=redo, ranks=ranks), 256).of(SPEC, 99)
        for redo, ranks in ((False, 1), (True, 1), (False, 2))
    )
    assert one == 5 < min(redone, ranks)


def test_what_is_only_evaluated_is_one_stack():
    spec = replace(SPEC, start=Start(method=IMPORT), stop_step=0)
    assert StackSize(None, Gpus(1.0), 256).of(spec, 10) == 10


def test_a_sweep_that_no_outcome_changes_is_one_stack_on_a_gpu():
    on_cpu, on_gpu = plan(ALONE, DATA, {}), plan(ALONE, DATA, {}, gpus=Gpus(room(400)))
    assert sizes(on_cpu) == [10, 10, 10, 10, 2]  # 21 trials of two seeds, five at a time
    assert sizes(on_gpu) == [42]
    assert sizes(plan(ALONE, DATA, {}, gpus=Gpus(room(20)))) == [20, 20, 2]
    assert sizes(plan(ALONE, DATA, {}, gpus=Gpus(room(400), workers=2))) == [21, 21]
    assert ids(on_gpu) == ids(on_cpu)


@pytest.mark.parametrize(
    "study",
    [
        replace(ALONE, sampler="tpe"),  # asks for a generation when the last has ended
        replace(ALONE, rungs=(Rung(0.5, 0.5),)),  # keeps a share of a generation
        replace(ALONE, stack_width=256),
    ],
)
def test_a_generation_stays_one_where_it_means_something(study):
    assert sizes(plan(study, DATA, {}, gpus=Gpus(room(400)))) == sizes(plan(study, DATA, {}))


def test_a_papers_runs_fill_a_gpu_too():
    nodes = [Node(replace(RUN, seed=seed), "scratch") for seed in range(9)] + [SOURCE]
    fit = room(8, RUN)
    assert sizes(plan_graph(nodes, 4 * RUN.model.width, Gpus(fit)), SOURCE.role) == sizes(
        plan_graph(nodes, 4 * RUN.model.width), SOURCE.role
    )
    found = plan_graph(nodes, None, Gpus(fit))
    assert max(len(stack.runs) for stack in found.stacks) == 8


def test_the_folder_says_the_same_whatever_the_study_trains_on():
    plain, gpus = of_study(STUDY, DATA), of_study(STUDY, DATA, Gpus(1e9))
    stated = of_study(replace(STUDY, stack_width=256), DATA)
    written = [json.dumps(one.configuration, default=str) for one in (plain, gpus, stated)]
    assert len(set(written)) == 1
    assert plain.configuration["stack_width"] == plain.defaults["stack_width"] == 256


def test_a_gpu_here_gives_its_budget_and_a_cpu_none(monkeypatch):
    totals = {"cuda": 80e9, "cuda:0": 80e9, "cuda:1": 40e9, "cuda:2": 80e9, "cuda:3": 80e9}
    monkeypatch.setattr(device, "total_bytes", totals.__getitem__)
    for module in (execute, machine):
        monkeypatch.setattr(module, "check_device", lambda name: None)
    assert where_of(2, 1, "cpu", None, "local").gpus is None
    assert where_of(2, 1, "cpu", None, "local", memory_bytes=1e9).gpus is None
    assert where_of(None, 1, "cuda", None, "local").gpus == Gpus(0.9 * 80e9)
    assert where_of(None, 1, "cuda", None, "local", memory_bytes=1e9).gpus == Gpus(1e9)
    several = where_of(None, 1, "cuda", "cuda:0..3", "local", ranks=2, recompute=True)
    assert several.gpus == Gpus(0.9 * 40e9, workers=2, recompute=True, ranks=2)
    assert where_of(None, 1, "cuda", None, "slurm").gpus is None  # not of this machine
    assert least_budget(["cpu"]) is None
