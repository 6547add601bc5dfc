"""Update equivalence: does the grown model train exactly as its source would have gone on?

Under muP this can hold: when every unit is repeated, a wide model with its rates, decays and eps by
rule, and with Adam's moments grown as the gradients are, takes the same steps in every copy. A
source trains for 20 steps; then it goes on for 60 more, and so does the target that was grown from
it with its optimizer's state, on the same batches. The value is the largest difference of their
training losses, in nats, in float64.
"""

from dataclasses import replace
from functools import lru_cache

from mugrow.bench.checks.cases import Case, Grown, cases, grow, initial
from mugrow.bench.checks.contract import grow_carried
from mugrow.bench.checks.result import CaseVerdict, Params, at_most, each_case
from mugrow.bench.checks.training import run_spec, train, train_losses, trained_source
from mugrow.bench.growth import GrowthMethod

STEPS, TOLERANCE = 60, 1e-9


def _under_mup(entry: GrowthMethod, params: Params, full: bool) -> tuple[Case, ...]:
    found = cases(entry, params, rules=("mup",))
    return found if entry.equivalent else found[:1]


@each_case("equivalence", _under_mup)
def equivalence(entry: GrowthMethod, case: Case, params: Params) -> CaseVerdict:
    """The largest difference between the two curves."""
    if not entry.equivalent:
        return CaseVerdict("skip", reason="not claimed")
    difference = curve_difference(entry, case, params)
    return at_most(difference, TOLERANCE, "the target does not train as its source would have")


def curve_difference(entry: GrowthMethod, case: Case, params: Params) -> float:
    """The largest difference of the two curves' training losses, in nats."""
    weights, carried = trained_source(case)
    grown = grow(entry, case, params, weights, initial(case), steps=STEPS)
    run = run_spec(case, case.big, STEPS, log_every=1)
    _, wide = train(run, grown, grow_carried(entry, case, params, carried))
    pairs = zip(train_losses(wide), _continued(_source_of(case)), strict=True)
    return max(abs(ours - theirs) for ours, theirs in pairs)


def _source_of(case: Case) -> Case:
    return replace(case, name="", big=case.small)


@lru_cache(maxsize=16)
def _continued(case: Case) -> list[float]:
    """The source's own curve; the same for all that is grown from it."""
    weights, carried = trained_source(case)
    run = run_spec(case, case.small, STEPS, log_every=1)
    _, narrow = train(run, Grown(weights, None), carried)
    return train_losses(narrow)
