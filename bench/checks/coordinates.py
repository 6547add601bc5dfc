"""The coordinate check after growth: under muP, are activations as large at every width?

A source of each width trains a little, is grown, and the target trains a little more. Of every
layer of the target the size of the residual stream is compared across widths, as in
``mugrow.bench.coordcheck``. Under muP all slopes are near zero; the value is the largest in size.
The tolerance of 0.2 stands between what small widths do (0.12 for `szp` in depth, at most 0.07 for
all others) and what a wrong scale does: each factor of sqrt(width) is a slope of 1/2, and under SP
the slopes are above 1.

Logits may fall with the width, and are held to the same bound from above only: the readout of muP
divides by the width what random weights add up as its square root, so they begin at a slope of
-1/2 and lose it as they learn.

Noise alone can fail. LiGO's published noise, uniform between 0 and 0.03 in every entry of its maps,
has a slope of 0.43, for a wider row of it adds up to more.
"""

from dataclasses import replace

import numpy as np

from mugrow.bench.checks.cases import FIRST, Case, cases, grow, initial
from mugrow.bench.checks.result import CaseVerdict, Params, at_most, each_case
from mugrow.bench.checks.training import run_spec, trained_source, walk
from mugrow.bench.coordcheck.activations import Sizes, measured
from mugrow.bench.coordcheck.slopes import fit
from mugrow.bench.growth import GrowthMethod
from mugrow.bench.stack import Stack, begin

FACTORS = (1, 2, 4)
SEEDS = (0, 1)
STEPS, RATE = 5, 0.003
TOLERANCE = 0.2
FLAVOURS = ("gpt2", "llama")


def _first_growths(entry: GrowthMethod, params: Params, full: bool) -> tuple[Case, ...]:
    """One growth along each axis, in two flavours: every case trains a source and a target at
    three widths, twice."""
    wanted = {f"{flavour}, {growth}, mup" for flavour in FLAVOURS for growth in FIRST}
    return tuple(case for case in cases(entry, params) if case.name in wanted)


@each_case("coordinates", _first_growths)
def coordinates(entry: GrowthMethod, case: Case, params: Params) -> CaseVerdict:
    """The steepest slope, and the layer that has it."""
    *stream, logits = slopes(entry, case, params)
    sizes = [abs(slope) for slope in stream] + [logits]
    steepest = int(np.argmax(sizes))
    layers = [f"the residual stream after {i} blocks" for i in range(len(stream))] + ["logits"]
    reason = f"{layers[steepest]} scale with the width"
    return at_most(sizes[steepest], TOLERANCE, reason)


def slopes(entry: GrowthMethod, case: Case, params: Params) -> list[float]:
    """Of the residual stream embedded and after every block, and of the logits."""
    widths = [case.big.width * factor for factor in FACTORS]
    sizes = [_sizes(entry, _times_as_wide(case, factor), params) for factor in FACTORS]
    modules = ["embed", *(f"blocks.{block}" for block in range(case.big.depth)), "head"]
    return [
        float(fit(widths, np.array([each["x", module, STEPS] for each in sizes])).mean())
        for module in modules
    ]


def _times_as_wide(case: Case, factor: int) -> Case:
    """The case at a larger width, hyperparameters meant at the same base."""
    small, big = (replace(model, width=factor * model.width) for model in (case.small, case.big))
    return replace(case, small=small, big=big)


def _sizes(entry: GrowthMethod, case: Case, params: Params) -> Sizes:
    sources = [trained_source(case, seed, lr=RATE)[0] for seed in SEEDS]
    grown = [
        grow(entry, case, params, source, initial(case), seed, STEPS)
        for source, seed in zip(sources, SEEDS, strict=True)
    ]
    specs = [run_spec(case, case.big, STEPS, seed, lr=RATE) for seed in SEEDS]
    stack = Stack(specs, during=grown[0].during)
    return measured(stack, begin(stack, [one.weights for one in grown]), walk())
