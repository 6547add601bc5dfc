"""The scaling laws of a set of runs, as a report shows them: what they are made of.

``mugrow.analysis.laws.scaling`` makes them from rows, ``mugrow.analysis.laws.growing`` the parts
that compare grown models with scratch; figures and pages read them. N are parameters, D training
tokens, C FLOPs, losses nats per token. As in ``result``, a number that does not exist is nan, and
``to_json`` gives the keys of a file where they are not the fields.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields

import numpy as np
import numpy.typing as npt

from mugrow.analysis.laws.growth_factor import GrowthLevel
from mugrow.analysis.laws.result import Allocation, FitResult, Status
from mugrow.analysis.laws.selection import FormComparison
from mugrow.analysis.stats import Array


@dataclass(frozen=True, eq=False)
class FittedRuns:
    """The runs of a law, all (runs,): ``n``, ``d``, their ``loss`` and the law's, ``predicted``.

    ``held_out`` are the largest, left out while the form was chosen; ``unseen`` is the loss that
    the form predicted of those then, nan of all others.
    """

    n: Array
    d: Array
    loss: Array
    predicted: Array
    held_out: npt.NDArray[np.bool_]
    unseen: Array


@dataclass(frozen=True, eq=False)
class LossBand:
    """A line of losses over ``x`` with the ends of its 95 % intervals, all (points,); the ends are
    nan where there is no interval."""

    x: Array
    loss: Array
    lo: Array
    hi: Array


@dataclass(frozen=True, eq=False)
class LawBand(LossBand):
    """The loss of a law ``against`` one variable, ``n`` or ``d``, the other held ``at`` a value."""

    against: str
    at: float


@dataclass(frozen=True)
class ReportedAllocation(Allocation):
    """An allocation, and which of C, N and D are ``outside`` the runs' range, where the law
    extrapolates."""

    outside: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class DrawnLaw:
    """A law that has numbers over its runs: lines against N and D, the best N and D of budgets,
    and the lowest loss against C (its ``frontier``; empty of a form without allocations)."""

    points: FittedRuns
    bands: Sequence[LawBand]
    optimal: Sequence[ReportedAllocation]
    frontier: LossBand


@dataclass(frozen=True, eq=False)
class Law:
    """The law of one method's runs: how it was chosen, its fit to all runs, and what to draw.

    ``sizes`` and ``horizons`` count the different N and D. ``selection`` is None where the runs are
    too few to fit any form; ``fit`` is None where no form was chosen, and ``status`` and ``reason``
    say why; ``drawn`` is None where the fit has no numbers.
    """

    label: str
    parametrization: str
    scratch: bool
    n_rows: int
    sizes: int
    horizons: int
    status: Status
    reason: str
    selection: FormComparison | None = None
    fit: FitResult | None = None
    formula: str = ""
    paper: str = ""
    drawn: DrawnLaw | None = None

    @property
    def params(self) -> Mapping[str, float]:
        """By name; empty where there is no number."""
        return self.fit.params if self.fit else {}

    def to_json(self) -> dict[str, object]:
        """One flat object: the facts, the fit's keys, and those of what is drawn."""
        parts = ("selection", "fit", "formula", "paper", "drawn")
        facts = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in parts}
        chosen = None if self.selection is None else asdict(self.selection)
        if chosen is not None:
            del chosen["rule"]
            for score in chosen["scores"]:
                del score["objective"]
        facts["selection"] = chosen
        if self.fit is None:
            return facts | {"form": None}
        shown = self.fit.to_json() | {"formula": self.formula, "paper": self.paper}
        for name in ("predictions", "optimal", "extras"):
            del shown[name]
        return facts | shown | (vars(self.drawn) if self.drawn else {})


@dataclass(frozen=True, eq=False)
class LawDifference:
    """A grown law minus the ``baseline``'s on a grid of ``n`` and ``d``.

    ``difference`` and ``gap``, what is between the two 95 % intervals (below 0 where they overlap,
    nan without intervals), are (n, d), in nats. ``runs`` are the grown runs, (runs,) by ``n`` and
    ``d``.
    """

    baseline: str
    n: Array
    d: Array
    difference: Array
    gap: Array
    runs: Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Contour:
    """What growing by one method changes, over N and D; or the ``reason`` why that is unknown."""

    label: str
    parametrization: str
    reason: str
    drawn: LawDifference | None = None

    def to_json(self) -> dict[str, object]:
        facts = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "drawn"}
        return facts | (vars(self.drawn) if self.drawn else {})


@dataclass(frozen=True, eq=False)
class Parabola:
    """``loss`` against the growth factor ``g``, both (points,)."""

    g: Array
    loss: Array


@dataclass(frozen=True, eq=False)
class DrawnLevel(GrowthLevel):
    """A level of compute with its points, ``g`` and ``loss_at_g`` (rows,), and the parabola through
    them where there is one."""

    g: Array = field(kw_only=True)
    loss_at_g: Array = field(kw_only=True)
    parabola: Parabola | None = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class GrowthPanel:
    """Loss against the growth factor at one target size ``n``, for one variant of a method.

    ``fit`` is None where the runs are at no levels of compute; ``status`` and ``reason`` are its
    own, or say that.
    """

    variant: str
    parametrization: str
    n: float
    status: Status
    reason: str
    levels: Sequence[DrawnLevel] = ()
    fit: FitResult | None = None

    def to_json(self) -> dict[str, object]:
        facts = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "fit"}
        if self.fit is None:
            return facts
        shown = self.fit.to_json()
        del shown["extras"]
        return shown | facts


@dataclass(frozen=True, eq=False)
class GrowthFactors:
    """The panels there are. ``most`` is the largest number of different factors at one target,
    scratch's 1 among them; a panel needs ``needed``."""

    panels: Sequence[GrowthPanel]
    most: int
    needed: int


@dataclass(frozen=True, eq=False)
class ScalingLaws:
    """A law a method, what growing changes by those laws, and loss against the growth factor."""

    laws: Sequence[Law]
    contours: Sequence[Contour]
    growth_factors: GrowthFactors
