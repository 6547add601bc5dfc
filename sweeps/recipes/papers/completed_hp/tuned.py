"""What the study ``modules`` found on the proxy of width 32, and what finding it took.

Each is the best trial of its own search: ``two``, over learning rate and initial scale, as is
usual; ``shared``, over these and two betas that all modules have in common; ``modules``, over rate,
scale and twenty multipliers. They are here because a recipe's hyperparameters are given, not
searched.
"""

from collections.abc import Container
from dataclasses import dataclass
from typing import Literal

from mugrow.bench.spec import HyperSpec, Multiplier

Tuning = Literal["two", "shared", "modules"]
TUNINGS: tuple[Tuning, ...] = ("two", "shared", "modules")
UNSEEN = 2  # the first seed that no search has seen


@dataclass(frozen=True)
class Found:
    """The best trial of a search; ``flops`` are those of all its trials."""

    log2_lr: float
    init_std: float
    flops: float
    log2_modules: tuple[tuple[str, float], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of its multipliers."""
        return tuple(name for name, _ in self.log2_modules)

    def hyper(self, kept: Container[str] | None = None) -> HyperSpec:
        """The hyperparameters of a run, with all multipliers or those ``kept``."""
        multipliers = tuple(
            Multiplier(name, 2.0**log2)
            for name, log2 in self.log2_modules
            if kept is None or name in kept
        )
        return HyperSpec(lr=2.0**self.log2_lr, init_std=self.init_std, modules=multipliers)


FOUND: dict[Tuning, Found] = {
    "two": Found(-7.0, 0.14, 2450364825600.0),
    "shared": Found(-6.75, 0.14, 4900729651200.0, (("beta1.all", 2.0), ("beta2.all", 1.5))),
    "modules": Found(
        -7.375,
        0.2,
        13613137920000.0,
        (
            ("beta1.embedding", 1.75),
            ("beta1.head", 2.0),
            ("beta2.embedding", -1.0),
            ("beta2.head", 0.25),
            ("init_std.down", -1.25),
            ("init_std.embedding", 1.25),
            ("init_std.head", -0.5),
            ("init_std.o", -1.25),
            ("init_std.qk", -1.0),
            ("init_std.up", 0.25),
            ("init_std.v", 1.0),
            ("lr.depth_slope", -1.5),
            ("lr.down", -0.75),
            ("lr.embedding", 1.5),
            ("lr.gains", 1.75),
            ("lr.head", 0.5),
            ("lr.o", -0.5),
            ("lr.up", 0.5),
            ("lr.v", -1.0),
        ),
    ),
}
