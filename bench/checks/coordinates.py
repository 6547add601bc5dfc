"""The coordinate check after growth: under muP, are activations as large at every width?

A source of each width trains a little, is grown, and the target trains a little more. For every
layer of the target the root mean square of the residual stream, averaged over seeds, is fitted as

    log2 rms = slope * log2 width + constant.

Under muP all slopes are near zero; the value is the largest in size. The tolerance of 0.2 stands
between what small widths do (at most 0.1, but for `ligo`'s) and what a wrong scale
does: each factor of sqrt(width) is a slope of 1/2, and under SP the slopes are above 1.

Logits may fall with the width, and are held to the same bound from above only: the readout of muP
divides by the width what random weights add up as its square root, so they begin at a slope of
-1/2 and lose it as they learn.

The surprising fact: `ligo` fails in width, with a slope of 0.74 from 16 to 64. Its maps are learned
by SGD at one rate for all widths, which no rule of muP covers.
"""

from dataclasses import replace

import numpy as np
import torch

from bench.checks.cases import FIRST, Case, cases, grow, initial, some_tokens
from bench.checks.result import Params, Verdict, at_most, each_case
from bench.checks.training import at_end, run_spec, train, trained_source
from bench.growth import GrowthMethod
from bench.model import Decoder, Weights

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
def coordinates(entry: GrowthMethod, case: Case, params: Params) -> Verdict:
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
    scales = [
        np.mean([_scales(entry, _times_as_wide(case, factor), params, seed) for seed in SEEDS], 0)
        for factor in FACTORS
    ]
    fitted = np.polyfit(np.log2(widths), np.log2(scales), 1)[0]
    return [float(slope) for slope in fitted]


def _times_as_wide(case: Case, factor: int) -> Case:
    """The case at a larger width, hyperparameters meant at the same base."""
    small, big = (replace(model, width=factor * model.width) for model in (case.small, case.big))
    return replace(case, small=small, big=big)


@torch.no_grad()
def _rms(decoder: Decoder, weights: Weights) -> list[float]:
    tokens = some_tokens(decoder.spec.vocab_size)
    layers = [*decoder.stream(weights, tokens), decoder(weights, tokens)]
    return [float(layer.square().mean().sqrt()) for layer in layers]


def _scales(entry: GrowthMethod, case: Case, params: Params, seed: int) -> list[float]:
    weights, _ = trained_source(case, seed, lr=RATE)
    grown = grow(entry, case, params, weights, initial(case), seed, STEPS)
    stack, state = train(run_spec(case, case.big, STEPS, seed, lr=RATE), grown)
    return _rms(*at_end(stack, state, case))
