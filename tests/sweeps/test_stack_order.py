"""Workers have something to do to the end, and what others wait for comes first."""

from dataclasses import replace

import pandas as pd
import pytest

from mugrow.bench.flops import per_token
from mugrow.bench.spec import run_spec_from_json
from mugrow.sweeps.order import ready, ways
from mugrow.sweeps.plan import depends, plan
from mugrow.sweeps.recipes import recipe

TABLE = "results/reference/quick/runs.parquet"


@pytest.fixture(scope="module")
def rows():
    """Those of a finished study, by run id."""
    return {row["run_id"]: row for row in pd.read_parquet(TABLE).to_dict("records")}


@pytest.fixture(scope="module")
def planned(rows):
    """The plan of that study, given what has ended."""
    data = run_spec_from_json(next(iter(rows.values()))["spec"]).data
    return lambda ended: plan(replace(recipe("quick"), final_val_tokens=131072), data, ended)


def work(stack):
    spec = stack.runs[0].spec
    return len(stack.runs) * spec.tokens * per_token(spec.model)


def test_the_sweep_that_all_depends_on_comes_first(planned):
    current = planned({})
    first, *others = ready(current, {}, ())
    assert first.runs[0].sweep == current.stacks[0].runs[0].sweep
    assert first not in ready(current, {}, {first.key})
    assert [work(one) for one in others] == sorted(map(work, others), reverse=True)


def test_a_source_counts_what_is_grown_from_it(planned, rows):
    proxies = {run_id: row for run_id, row in rows.items() if row["role"] == "proxy"}
    current = planned(proxies)
    lengths = ways(current.stacks)
    source = next(one for one in current.stacks if one.runs[0].role == "source")
    targets = [one for one in current.stacks if depends(one) & {r.spec.run_id for r in source.runs}]
    assert targets
    assert lengths[source.key] == work(source) + max(lengths[one.key] for one in targets)
    assert min(lengths[one.key] - work(one) for one in targets) == 0, "nothing follows from these"
    found = ready(current, proxies, ())
    assert not set(found) & set(targets), "their source has not ended"
    assert [lengths[one.key] for one in found] == sorted(
        (lengths[one.key] for one in found), reverse=True
    )


@pytest.mark.parametrize(("workers", "idle"), [(2, 0.03), (3, 0.1)])
def test_workers_are_busy_to_the_end(planned, rows, workers, idle):
    """A study whose stacks take what they took: the share of the workers' time that is lost."""
    now_s, busy, ended, trained_s = 0.0, [], {}, 0.0
    while True:
        for stack in ready(planned(ended), ended, {one.key for _, one in busy}):
            if len(busy) < workers:
                takes_s = sum(rows[run.spec.run_id]["wall_s"] for run in stack.runs)
                busy.append((now_s + takes_s, stack))
                trained_s += takes_s
        if not busy:
            break
        now_s, stack = busy.pop(min(range(len(busy)), key=lambda place: busy[place][0]))
        ended |= {run.spec.run_id: rows[run.spec.run_id] for run in stack.runs}
    assert ended.keys() == rows.keys()
    assert 1 - trained_s / (workers * now_s) < idle
