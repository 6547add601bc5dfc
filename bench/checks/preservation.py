"""Preservation: are the logits of the grown model its source's?

The error is ||wide - small|| / ||small|| over the logits of random tokens, in float64. Where an
entry says that nothing breaks it is at most 1e-12, which leaves two digits for the sums of a wider
model; where it gives a reason, the error must be seen: a claim that is too modest is as wrong as
one that is too bold.
"""

from functools import lru_cache

import torch
from torch import Tensor

from mugrow.bench.checks.cases import Case, cases, grow, initial, random_weights, some_tokens
from mugrow.bench.checks.result import CaseVerdict, Params, at_most, each_case, guarded
from mugrow.bench.growth import GrowthMethod
from mugrow.bench.model import Decoder
from mugrow.bench.parametrization import rules_of
from mugrow.bench.spec import ModelSpec

EXACT, BROKEN = 1e-12, 1e-6


def _matrix(entry: GrowthMethod, params: Params, full: bool) -> tuple[Case, ...]:
    return cases(entry, params, full=full)


@each_case("preservation", _matrix)
def preservation(entry: GrowthMethod, case: Case, params: Params) -> CaseVerdict:
    """The error against what the entry says of it."""
    return _verdict(entry, case, params)


def preserved(entry: GrowthMethod, case: Case, params: Params) -> CaseVerdict:
    """The same of one case of one's own; a failure where the method raises."""
    return guarded(_verdict, entry, case, params)


def _verdict(entry: GrowthMethod, case: Case, params: Params) -> CaseVerdict:
    why = entry.breaks(case.small, case.big, {**entry.params, **params})
    error = logit_error(entry, case, params)
    if why is None:
        return at_most(error, EXACT, "the logits are not the source's, and nothing should break")
    if error > BROKEN:
        return CaseVerdict("pass", error, BROKEN, f"as declared: {why}")
    return CaseVerdict("fail", error, BROKEN, f"the logits are the source's, in spite of: {why}")


@torch.no_grad()
def logit_error(entry: GrowthMethod, case: Case, params: Params) -> float:
    """Relative error of the logits, as the grown model runs before its first step."""
    tokens = some_tokens(case.small.vocab_size)
    want = _source_logits(case.parametrization, case.small, case.base)
    grown = grow(entry, case, params, random_weights(case.small), initial(case))  # of a copy
    decoder, weights = grown.at_start(case.decoder(case.big))
    return float((decoder(weights, tokens) - want).norm() / want.norm())


@lru_cache(maxsize=256)  # every growth of every method begins from the same few sources
def _source_logits(parametrization: str, small: ModelSpec, base: ModelSpec) -> Tensor:
    """Logits ``(B, T, V)`` of a source on the check's tokens."""
    decoder = Decoder(small, rules_of(parametrization, small, base).multipliers)
    return decoder(random_weights(small), some_tokens(small.vocab_size))
