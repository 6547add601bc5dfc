"""The runs of ``completed-hp``: three tunings of one proxy, at larger sizes and after growth.

A target is the proxy at multiples of its width, depth, tokens and batch. The rules of
``completedp`` take hyperparameters there, those of batch and duration by ``step_ratio``; a run with
a ratio of 1 at another batch or length is one without those rules. Seeds are such as no search has
seen: what was chosen as the best of 200 trials is too good on the seeds it was chosen by.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from mugrow.bench.arm import ArmName
from mugrow.bench.spec import HyperSpec, RunSpec, Scalar, Start
from mugrow.sweeps.graph import Node, grown
from mugrow.sweeps.paper import Setting, source_of
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.completed_hp.tuned import FOUND, TUNINGS, UNSEEN, Tuning

PARAMETRIZATION = "completedp"
HALF = "completedp:alpha=0.5"


@dataclass(frozen=True)
class Target:
    """The proxy at multiples of its width, depth, tokens and batch."""

    name: str
    width: int = 1
    depth: int = 1
    tokens: float = 1
    batch: int = 1

    @property
    def factors(self) -> dict[str, Scalar]:
        return {
            "width": self.width,
            "depth": self.depth,
            "tokens": self.tokens,
            "batch": self.batch,
        }

    @property
    def step_ratio(self) -> float:
        """How many of the proxy's steps one of its own stands for."""
        return self.batch / self.tokens

    def spec(self, setting: Setting, seed: int, hyper: HyperSpec, **fields: object) -> RunSpec:
        """A run of it, in which ``fields`` differ."""
        given: dict[str, object] = {
            "hyper": hyper,
            "steps": round(setting.run.steps / self.step_ratio),
            "batch_sequences": setting.run.batch_sequences * self.batch,
            "step_ratio": self.step_ratio,
        }
        return setting.spec(seed + UNSEEN, self.width, self.depth, **(given | fields))


PROXY = Target("the proxy")
TARGETS = (
    PROXY,
    Target("2× width", width=2),
    Target("4× width", width=4),
    Target("8× width", width=8),
    Target("2× depth", depth=2),
    Target("4× tokens", tokens=4),
    Target("2× batch", batch=2),
    Target("4× tokens and batch", tokens=4, batch=4),
)
WIDE, WIDER, WIDEST, DEEP, LONG, BATCH, BOTH = TARGETS[1:]
LINES = {1: (0.5, 2, 4), 2: (0.5, 2)}  # tokens of other runs as wide, that a speed-up is read off
FEW = 3  # seeds of the widest


def tuned(tuning: Tuning, target: Target) -> ArmName:
    return ArmName(f"{tuning}: {target.name}", tuning=tuning, **target.factors)


def scratch(setting: Setting, seed: int, tuning: Tuning, target: Target) -> Node:
    return Node(target.spec(setting, seed, FOUND[tuning].hyper()), tuned(tuning, target))


def longer(target: Target) -> list[Target]:
    """The target at other lengths; its own is not among them."""
    return [
        LONG if (target, tokens) == (PROXY, LONG.tokens)
        else replace(target, name=f"{target.name}, {tokens:g}× tokens", tokens=tokens)
        for tokens in LINES[target.width]
    ]  # fmt: skip


def transferred(setting: Setting, seed: int) -> Iterator[Node]:
    """All tunings at all targets, and the shared one at other lengths of two of them."""
    for target in TARGETS:
        if target is not WIDEST or seed < FEW:
            yield from (scratch(setting, seed, tuning, target) for tuning in TUNINGS)
    for target in (PROXY, WIDE):
        for other in longer(target):
            yield scratch(setting, seed, "shared", other)


@dataclass(frozen=True)
class Growth:
    """A source of the proxy's shape, grown into a target by a method."""

    method: str
    target: Target
    noise: float = 0.0

    def arm(self, tuning: Tuning) -> ArmName:
        return ArmName(
            f"{tuning}: {self.method} to {self.target.name}",
            tuning=tuning,
            method=self.method,
            **self.target.factors,
        )

    def node(self, setting: Setting, seed: int, tuning: Tuning) -> Node:
        whole = self.target.spec(setting, seed, FOUND[tuning].hyper())
        name = ArmName(f"{tuning}: source", tuning=tuning, part="source")
        source = source_of(whole, name, uncooled=True, model=setting.run.model)
        return grown(source, whole, self.arm(tuning), self.method, Start(noise=self.noise))


COMPARED: tuple[Tuning, ...] = ("shared", "modules")
GROWTHS = (Growth("szp", WIDE), Growth("hypercloning", WIDE, 0.1), Growth("stack", DEEP))


def grown_runs(setting: Setting, seed: int) -> Iterator[Node]:
    """Two tunings grown by every method, beside scratch."""
    for tuning in COMPARED:
        for target in (WIDE, DEEP):
            yield scratch(setting, seed, tuning, target)
        for growth in GROWTHS:
            yield growth.node(setting, seed, tuning)


def growths_by_module(setting: Setting, seed: int) -> Iterator[Node]:
    """Tuned by module, grown by every method, beside scratch."""
    yield from shapes(setting, seed)
    for growth in GROWTHS:
        yield growth.node(setting, seed, "modules")


def shapes(setting: Setting, seed: int) -> Iterator[Node]:
    """The targets that are grown, from scratch."""
    for target in (WIDE, DEEP):
        yield scratch(setting, seed, "modules", target)


MULTIPLIERS = FOUND["modules"].names
FIVE = ("lr.embedding", "init_std.o", "beta1.embedding", "init_std.down", "beta1.head")
KINDS: dict[str, tuple[str, ...]] = {  # which multipliers are kept
    "no multipliers": (),
    "rates": tuple(name for name in MULTIPLIERS if name.startswith("lr.")),
    "initial scales": tuple(name for name in MULTIPLIERS if name.startswith("init_std.")),
    "betas": tuple(name for name in MULTIPLIERS if name.startswith("beta")),
    "the five": FIVE,  # of most worth, as the search itself says
}


def of_kind(kind: str, target: Target) -> ArmName:
    return ArmName(f"{kind} alone: {target.name}", kind=kind, **target.factors)


def without(name: str, target: Target) -> ArmName:
    return ArmName(f"without {name}: {target.name}", without=name, **target.factors)


def left_out(setting: Setting, seed: int) -> Iterator[Node]:
    """At the proxy every multiplier set to 1, all others as they were found."""
    yield scratch(setting, seed, "modules", PROXY)
    for name in MULTIPLIERS:
        kept = set(MULTIPLIERS) - {name}
        spec = PROXY.spec(setting, seed, FOUND["modules"].hyper(kept))
        yield Node(spec, without(name, PROXY))


def parts(setting: Setting, seed: int) -> Iterator[Node]:
    """The multipliers of one hyperparameter at a time, at the proxy and at twice its width."""
    for target in (PROXY, WIDE):
        yield from (scratch(setting, seed, tuning, target) for tuning in TUNINGS)
        for kind, kept in KINDS.items():
            spec = target.spec(setting, seed, FOUND["modules"].hyper(kept))
            yield Node(spec, of_kind(kind, target))


SCALED, UNSCALED, HALF_DEEP = "the rule", "no rule", "alpha = 1/2"
AWAY = (-1.5, -0.75, 0.0, 0.75, 1.5)  # log2, of rates around the one tuned


def at(target: Target, away: float, rule: str) -> ArmName:
    """The arm of one rate; at the one tuned it is that of the tuning."""
    if (away, rule) == (0, SCALED):
        return tuned("two", target)
    return ArmName(
        f"{rule}: {target.name}, rate × 2^{away:g}", rule=rule, log2_lr=away, **target.factors
    )


def bowl(
    setting: Setting, seed: int, target: Target, rule: str, **fields: object
) -> Iterator[Node]:
    """The usual tuning at rates around its own."""
    spec = target.spec(setting, seed, FOUND["two"].hyper(), **fields)
    for away in AWAY:
        role: Literal["proxy", "target"] = "target" if (away, rule) == (0, SCALED) else "proxy"
        yield Node(bases.at_rate(spec, 2.0**away), at(target, away, rule), role=role)


DEEPEST, LARGEST_BATCH = Target("4× depth", depth=4), Target("4× batch", batch=4)


def by_batch(setting: Setting, seed: int) -> Iterator[Node]:
    """Bowls at four times the batch and the tokens, with the rule and without."""
    yield from bowl(setting, seed, PROXY, SCALED)
    for target in (LONG, LARGEST_BATCH):
        yield from bowl(setting, seed, target, SCALED)
        yield from bowl(setting, seed, target, UNSCALED, step_ratio=1.0)


def by_shape(setting: Setting, seed: int) -> Iterator[Node]:
    """Bowls at twice the width, and at four times the depth under two exponents."""
    for target in (PROXY, WIDE, DEEPEST):
        yield from bowl(setting, seed, target, SCALED)
    yield from bowl(setting, seed, DEEPEST, HALF_DEEP, parametrization=HALF)
