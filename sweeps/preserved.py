"""What methods of others say that they preserve, measured once each before anything trains.

It is the contract kit's own check, on the smallest growth that an experiment plans with the method:
random weights in float64, a small vocabulary. It draws from no run's generators and is part of no
run. Above ``LARGEST`` parameters the kit's own small models stand in.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from mugrow.bench import growth
from mugrow.bench.growth import GrowthMethod, Params
from mugrow.bench.guarded import is_ours
from mugrow.bench.model import count
from mugrow.bench.spec import IMPORT, ModelSpec, RunSpec
from mugrow.sweeps.plan import Plan

if TYPE_CHECKING:
    from mugrow.bench.checks.cases import Case
    from mugrow.bench.checks.result import CaseVerdict

LARGEST = 20_000_000


def claims_measured(plan: Plan) -> list[str]:
    """A line for each method and its parameters that is not of this suite: its claim, and the
    relative error of the logits."""
    return [_line(entry, case, params) for entry, case, params in _smallest(plan)]


def _smallest(plan: Plan) -> "Iterator[tuple[GrowthMethod, Case, Params]]":
    runs = {
        run.spec.run_id: run.spec
        for stack in (*plan.stacks, *plan.provisional)
        for run in stack.runs
    }
    names = {one.start.method for one in runs.values()} - {IMPORT}
    ours = {IMPORT: True} | {name: is_ours(growth.method(name)) for name in names}
    theirs = [
        one
        for one in runs.values()
        if not ours[one.start.method] and one.start.source_run_id in runs
    ]
    found: dict[tuple[str, object], RunSpec] = {}
    for spec in sorted(theirs, key=lambda spec: count(spec.model)[0]):
        found.setdefault((spec.start.method, spec.start.params), spec)
    for spec in found.values():
        entry, params = growth.method(spec.start.method), dict(spec.start.params)
        yield entry, _case(entry, runs, spec, params), params


def _case(
    entry: GrowthMethod, runs: Mapping[str, RunSpec], spec: RunSpec, params: Params
) -> "Case":
    from mugrow.bench.checks.cases import Case, cases  # for plug-ins alone

    if count(spec.model)[0] > LARGEST:
        return cases(entry, params)[0]
    source = runs[spec.start.source_run_id or ""]
    small, big, base = (_of_few_tokens(one) for one in (source.model, spec.model, spec.base))
    return Case("planned", spec.parametrization, base, small, big)


def _of_few_tokens(model: ModelSpec) -> ModelSpec:
    from mugrow.bench.checks.cases import CONTEXT, VOCABULARY

    return replace(
        model, vocab_size=VOCABULARY, padded_vocab=None, context=max(CONTEXT, model.context)
    )


def _line(entry: GrowthMethod, case: "Case", params: Params) -> str:
    from mugrow.bench.checks.preservation import preserved

    found = preserved(entry, case, params)
    shapes = " to ".join(f"{one.width} × {one.depth}" for one in (case.small, case.big))
    return (
        f"method {entry.name!r} says that it preserves {entry.preserves}; {_said(found)}, {shapes}"
    )


def _said(found: "CaseVerdict") -> str:
    if found.value is None:
        return f"measured: {found.reason or found.status}"
    measured = f"measured: relative difference of the logits {found.value:.2g}"
    return f"{measured} ({found.reason})" if found.reason else measured
