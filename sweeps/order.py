"""In which order stacks are trained: the longest way to the end first.

A study is a graph of stacks, of which a worker trains one at a time. Before all others come those
of the sweep that is transferred from, on whose losses the rest of the plan depends. Of what is
known then, the stack goes first from whose beginning it is furthest to the end of all that follows
from it, by FLOPs: the level of Hu (Oper. Res. 1961, doi 10.1287/opre.9.6.841), which Graham (SIAM
J. Appl. Math. 1969, doi 10.1137/0117039) has for stacks that nothing follows from. So a chain of
sources and targets begins early, and what is left for the end is short.
"""

from collections.abc import Collection, Mapping, Sequence

from mugrow.bench.flops import per_token
from mugrow.sweeps.plan import Plan, PlannedStack, depends


def ready(
    current: Plan, rows: Mapping[str, object], in_flight: Collection[str]
) -> list[PlannedStack]:
    """The stacks that can start, the most urgent first, where runs of these ids have ``rows`` and
    stacks of these keys are ``in_flight``."""
    left = [
        stack for stack in current.stacks if any(run.spec.run_id not in rows for run in stack.runs)
    ]
    can_start = [
        stack for stack in left if stack.key not in in_flight and depends(stack) <= rows.keys()
    ]
    main_sweep, lengths = current.stacks[0].runs[0].sweep, ways(left)

    def urgency(stack: PlannedStack) -> tuple[bool, float]:
        first = stack.runs[0]
        return first.role != "proxy" or first.sweep != main_sweep, -lengths[stack.key]

    return sorted(can_start, key=urgency)


def ways(stacks: Sequence[PlannedStack]) -> dict[str, float]:
    """The FLOPs of each stack, by key, with those of the stacks that follow from it one after the
    other: of the chain in which there are most."""
    follow: dict[str, list[PlannedStack]] = {}
    for stack in stacks:
        for source in depends(stack):
            follow.setdefault(source, []).append(stack)
    found: dict[str, float] = {}

    def way(stack: PlannedStack) -> float:
        if stack.key not in found:
            first = stack.runs[0].spec
            after = (way(one) for run in stack.runs for one in follow.get(run.spec.run_id, ()))
            work = len(stack.runs) * first.tokens * per_token(first.model)
            found[stack.key] = work + max(after, default=0.0)
        return found[stack.key]

    return {stack.key: way(stack) for stack in stacks}
