"""Symmetry: are copied units still copies after training?

Copies of a unit that get equal gradients stay copies: AdamW is deterministic, and without noise or
dropout the added width is never used. The asymmetry of ``mugrow.bench.asymmetry`` is taken over
random tokens after 50 steps of a target twice as wide. As the method leaves it, it is a fact about
the method, reported and not judged. With noise, a hundredth of the target's own initial weights, it
must be above 1e-4: something in the method's training would else undo it.

Noise hardly grows. Over these 50 steps an asymmetry of 0.005 becomes one of 0.005 to 0.009 in
targets of `hypercloning` and `mup_upscale`.
"""

from dataclasses import replace

from mugrow.bench.asymmetry import asymmetry
from mugrow.bench.checks.cases import Case, Grown, cases, grow, initial, some_tokens
from mugrow.bench.checks.result import CaseVerdict, Params, Status, each_case
from mugrow.bench.checks.training import at_end, run_spec, train, trained_source
from mugrow.bench.growth import GrowthMethod
from mugrow.bench.model import Decoder, Weights, parameters

STEPS, NOISE = 50, 0.01
BROKEN, LOCKED = 1e-4, 1e-6  # from where on units are no copies, up to where they are


def _twice_as_wide(entry: GrowthMethod, params: Params, full: bool) -> tuple[Case, ...]:
    found = cases(entry, params, rules=("mup",))
    return tuple(
        case
        for case in found
        if case.big.width == 2 * case.small.width
        and case.big.depth == case.small.depth
        and not case.big.tied
    )


@each_case("symmetry", _twice_as_wide)
def symmetry(entry: GrowthMethod, case: Case, params: Params) -> CaseVerdict:
    """The asymmetry after training, as the method leaves it: reported, not judged."""
    before, after = drift(case, _grown(entry, case, params))
    if before > LOCKED:
        return CaseVerdict("pass", after, reason=f"no copies to begin with: {before:.2g}")
    return CaseVerdict(
        "pass", after, reason=f"copies {'stay' if after <= LOCKED else 'drift apart'}"
    )


@each_case("noise", _twice_as_wide)
def noise(entry: GrowthMethod, case: Case, params: Params) -> CaseVerdict:
    """The asymmetry after training with noise."""
    grown = _grown(entry, case, params)
    noisy = replace(grown, weights=with_noise(case, grown.weights, initial(case)))
    before, after = drift(case, noisy)
    status: Status = "pass" if after > BROKEN else "fail"
    return CaseVerdict(status, after, BROKEN, f"{before:.2g} before training")


def _grown(entry: GrowthMethod, case: Case, params: Params) -> Grown:
    weights, _ = trained_source(case)
    return grow(entry, case, params, weights, initial(case), steps=STEPS)


def drift(case: Case, grown: Grown) -> tuple[float, float]:
    """The asymmetry before and after training."""

    def measured(decoder: Decoder, weights: Weights) -> float:
        tokens = some_tokens(case.small.vocab_size)
        return asymmetry(decoder, weights, tokens, case.small.width)

    stack, state = train(run_spec(case, case.big, STEPS), grown)
    before = measured(*grown.at_start(case.decoder(case.big)))
    return before, measured(*at_end(stack, state, case))


def with_noise(case: Case, weights: Weights, init: Weights) -> Weights:
    """The weights with ``NOISE`` times the target's draw added, but for gains and biases."""
    return {
        name: weights[name] if kind in ("gain", "bias") else weights[name] + NOISE * init[name]
        for name, (_, kind) in parameters(case.big).items()
    }
