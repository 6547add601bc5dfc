"""The contract kit: what a growth method says about itself, measured.

``check_method(entry)`` takes a ``GrowthMethod``, of this suite or of a plug-in, through the checks
of this package and yields a ``CheckResult`` for every case of each. A check compares a measured
value with a tolerance; what an entry does not support or does not claim is a skip, with the reason;
an exception is a fail. Nothing that a method does raises out of here.

    shapes        names, shapes and dtype are the target's, and every number is finite
    seed          the same generator state gives the same weights, to the bit
    source        neither the source nor the target's draw is changed, nor storage shared with them
    dtype         the same in float32 and bfloat16
    moments       the grown moments: shapes, a second moment that is not negative, the same seed
    preservation  logits equal the source's where ``breaks`` says so, and differ where it does not
    liveness      the tensors without any gradient in two steps are exactly the declared ones
    symmetry      how far copied units have drifted apart after 50 steps
    noise         the same with a little noise, which must have broken them
    equivalence   where claimed, the target's curve is the source's own, continued
    coordinates   under muP, activations and their updates stay flat in width after growth
    smoke         source, growth and target train on real text

Published operators fail these. A claim "function-preserving" is true of one norm, one head and one
kind of head growth, and the paper's code is used with another.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from mugrow.bench.checks import (
    cases,
    contract,
    coordinates,
    equivalence,
    liveness,
    preservation,
    smoke,
    symmetry,
)
from mugrow.bench.checks.result import Check, CheckResult, Status
from mugrow.bench.growth import GrowthMethod, MethodError
from mugrow.bench.spec import Scalar

__all__ = ["CHECKS", "Check", "CheckResult", "Status", "check_method", "failures"]

CHECKS: dict[str, Check] = {
    "shapes": contract.names_and_shapes,
    "seed": contract.seed,
    "source": contract.source,
    "dtype": contract.dtype,
    "moments": contract.moments,
    "preservation": preservation.preservation,
    "liveness": liveness.liveness,
    "symmetry": symmetry.symmetry,
    "noise": symmetry.noise,
    "equivalence": equivalence.equivalence,
    "coordinates": coordinates.coordinates,
    "smoke": smoke.smoke,
}
"""Every check by name; a plug-in's author may run one of them alone."""


def check_method(
    entry: GrowthMethod,
    params: Mapping[str, Scalar] | None = None,
    *,
    full: bool = False,
    label: str | None = None,
) -> Iterator[CheckResult]:
    """Results of every check on every case, as they are measured.

    ``params`` are the method's own parameters where they differ from their defaults. ``full``
    takes preservation through all flavours of the decoder, else through six of them.
    ``label`` is what results call the method, by default its name.
    """
    params = dict(params or {})
    label = label or entry.name
    try:
        reasons = [cases.refusal(entry, case, params) for case in cases.cases(entry, params)]
    except MethodError as error:
        yield CheckResult(
            method=label, check="supports", case="any", status="fail", reason=str(error)
        )
        return
    supported = reasons.count(None)
    yield CheckResult(
        method=label,
        check="supports",
        case="any",
        status="pass" if supported else "fail",
        value=float(supported),
        tolerance=1.0,
        reason=None if supported else f"no growth of the kit is supported: {reasons[0]}",
    )
    for check in CHECKS.values() if supported else ():
        for result in check(entry, params, full):
            yield replace(result, method=label)


def failures(results: Iterable[CheckResult]) -> list[CheckResult]:
    """The results that are a fail."""
    return [result for result in results if result.status == "fail"]
