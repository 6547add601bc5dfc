"""Gradient liveness: which tensors of the target get no gradient at all?

Two zeros in a product are dead for good: neither factor gets a gradient. (LLaMA blocks that are
switched off by a zero norm gain are: the gate and the up-projection both are zero.) One zero wakes
up: its own gradient is not zero, and after its first step neither is its partner's. So a tensor
counts as dead whose gradient is zero in both of the first two steps, to the last bit; Adam's second
moment after two steps, a sum of squares, says so. The value is the number of tensors about which
the entry is wrong, and none may be.
"""

from mugrow.bench.checks.cases import Case, grow, initial, random_weights
from mugrow.bench.checks.result import CaseVerdict, Params, at_most, each_case
from mugrow.bench.checks.training import run_spec, train
from mugrow.bench.growth import GrowthMethod
from mugrow.bench.stack import trained_shapes, unpack

STEPS = 2


@each_case("liveness")
def liveness(entry: GrowthMethod, case: Case, params: Params) -> CaseVerdict:
    """The dead tensors are exactly the declared ones."""
    source = random_weights(case.small)
    grown = grow(entry, case, params, source, initial(case), steps=STEPS)
    stack, state = train(run_spec(case, case.big, STEPS), grown)
    second_moments = unpack(trained_shapes(stack), state.optimizer.buffers["v"][0])
    dead = {name for name, tensor in second_moments.items() if not tensor.any()}
    declared = entry.dead(case.small, case.big, {**entry.params, **params})
    wrong = [f"{name} gets no gradient, which is not declared" for name in dead - declared]
    wrong += [f"{name} is declared dead and gets a gradient" for name in declared - dead]
    return at_most(float(len(wrong)), 0.0, "; ".join(sorted(wrong)[:2]))
