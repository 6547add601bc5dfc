"""What a study is: proxies to tune, a ladder of sources and targets, methods, seeds, budgets.

A study is a graph of runs written down as data:

    sweeps      parametrizations x proxies, each searched over (log2_lr, init_std)
      |         the sweep of the first parametrization at the smallest width is the one that
      v         hyperparameters are transferred from
    sources     one for each (source shape, seed), stopped where their cool-down would begin
      v
    targets     one for each (target shape, method, seed), beside a from-scratch baseline;
                for methods with ``sweep``, at rates around the transferred one too

All initial scales, and multipliers of modules, are searched in the sweep that is transferred from.
The other sweeps show how the best learning rate moves, so they vary it alone, at ``base_init_std``:
along width, and where a study asks for it along depth, tokens and batch, and with one setting
changed (``variants``). Rates and scales are meant for the first parametrization; one that is
searched elsewhere has its own (``mugrow.sweeps.ranges``).

A study is checked when it is made: a mistake is a ``UserError``, one line, before anything trains.
Whether a method can grow a step of the ladder is checked by ``mugrow.sweeps.plan``, which knows the
methods.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from mugrow.bench.spec import (
    FixedHyper,
    ModelSpec,
    Scalar,
    ScheduleSpec,
    Start,
    UserError,
    check_precision,
    unknown,
)
from mugrow.sweeps.module_range import ModuleRange
from mugrow.sweeps.typed import check_types

SAMPLERS = {
    "grid": "every pair of log2_lr and init_std, in a fixed order",
    "qmc": "a Sobol sequence, which fills the space evenly whatever it finds",
    "tpe": "tree-structured Parzen estimator, multivariate",
    "gp": "a Gaussian process with expected improvement, after ten random trials",
    "trust": "random, around the best so far, nearer the less often that improves; for many axes",
    "cmaes": "covariance matrix adaptation, where the package cmaes is installed; for many axes",
}
BASELINE = "scratch"
AGAINST = ("scratch", "own source")
LARGEST_LOG2_LR = 1000  # of which the power is a number
LARGEST_BUDGET = 1000  # scratch at more than so many times its own compute is no comparison
LARGEST_SEED = 2**62
MOST_TRIALS = 100_000  # of a sweep, all of which are planned
PINNED_SOURCE = re.compile(r".*@([0-9a-f]{64})")  # an imported source that has been read
STACK_WIDTH = 256  # on a CPU, where none is stated
LEAST_STEPS = 3  # of a whole schedule: some before its cool-down, and the cool-down


@dataclass(frozen=True)
class Step:
    """One step of the ladder: a source of this shape is grown into a target of that one. A source
    of width and depth 0 is the imported one, as it is."""

    source_width: int
    source_depth: int
    target_width: int
    target_depth: int

    @property
    def from_imported(self) -> bool:
        """Whether the source has the shape of the imported model, whatever that is."""
        return self.source_width == self.source_depth == 0

    def __str__(self) -> str:
        source = f"w{self.source_width}-d{self.source_depth}"
        source = "imported" if self.from_imported else source
        return f"{source} to w{self.target_width}-d{self.target_depth}"


@dataclass(frozen=True)
class Shape:
    """A model by what makes it large."""

    width: int
    depth: int

    def __str__(self) -> str:
        return f"w{self.width}-d{self.depth}"


@dataclass(frozen=True)
class Proxy:
    """A model that is swept: its shape, its tokens as a multiple of the study's, and its batch,
    likewise; a larger batch has as many tokens in fewer steps."""

    width: int
    depth: int
    tokens: float = 1.0
    batch: int = 1


@dataclass(frozen=True)
class Variant:
    """The proxies of all widths once more, with settings changed: ``changes`` are ``key=value``
    as in ``--set``."""

    name: str
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Method:
    """A growth method by name, those of its parameters that differ from their defaults, and what
    happens to optimizer and schedule when it has grown its source.

    ``optimizer``, ``noise``, ``reset`` and ``new_rate``, of what the source had not, are as in
    ``mugrow.bench.spec.Start``. With t the
    source's step, the target begins its schedule at

        restart      0
        continue     t
        reposition   t / rho (Staged Training: where a target from scratch has the source's loss)
        rewarm       t, its rate rising over ``rewarm`` times the target's steps

    and a re-positioned one may rise too. With ``sweep`` its targets are also trained at the
    learning rates of the study's ``target_log2_lr``.

    >>> import mugrow
    >>> str(mugrow.Method("szp", params=(("shrink", 0.4),), optimizer="carry"))
    'szp(shrink=0.4, optimizer=carry)'
    """

    name: str
    params: tuple[tuple[str, Scalar], ...] = ()
    optimizer: str = "fresh"
    schedule: str = "restart"
    noise: float = 0.0
    reset: bool = False
    new_rate: float = 1.0
    rho: float = 1.0
    rewarm: float = 0.0
    sweep: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        if self.schedule not in POLICIES:
            raise unknown("schedule of a method", self.schedule, POLICIES)
        if not self.rho >= 1:
            raise UserError(f"rho of method {self.name!r} must be at least 1, not {self.rho}")
        if not 0 <= self.rewarm <= 1:
            raise UserError(
                f"rewarm of method {self.name!r} is a fraction of the target's steps between 0 "
                f"and 1, not {self.rewarm}"
            )
        if self.schedule == "rewarm" and not self.rewarm:
            raise UserError(f"method {self.name!r} with schedule=rewarm needs rewarm above 0")
        self.start()

    def start(self) -> Start:
        """What the method says about a target's start, apart from its source."""
        return Start(
            method=self.name,
            optimizer=self.optimizer,  # type: ignore[arg-type]  # checked there
            noise=self.noise,
            reset=self.reset,
            new_rate=self.new_rate,
        )

    def first_step(self, source_step: int) -> int:
        """Where in its schedule a target begins."""
        if self.schedule == "restart":
            return 0
        return round(source_step / self.rho) if self.schedule == "reposition" else source_step

    def __str__(self) -> str:
        given = [f"{key}={value}" for key, value in self.params]
        given += [f"{key}={getattr(self, key)}" for key in CHOICES[:-1] if self._chosen(key)]
        return f"{self.name}({', '.join(given)})" if given else self.name

    def _chosen(self, key: str) -> bool:
        return bool(getattr(self, key) != getattr(Method, key))


POLICIES = ("restart", "continue", "reposition", "rewarm")
CHOICES = ("optimizer", "schedule", "noise", "reset", "new_rate", "rho", "rewarm", "sweep")


@dataclass(frozen=True)
class Rung:
    """Successive halving: at this fraction of the steps, this fraction of a generation stays."""

    at: float
    keep: float


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study's whole configuration; what it leaves open is the text of its corpus.

    ``model`` is the base: the smallest proxy, and the shape at which hyperparameters are meant.
    ``log2_lr`` is the grid of base learning rates; the samplers other than ``grid`` search its
    range, ``trials`` times in each sweep, or as often as ``search_flops`` pay for. The sweep that
    is transferred from also searches multipliers of ``modules``. ``generation`` trials are asked
    for at once and train as one stack. Sources and targets of one shape train in stacks of
    ``stack_width // width``; without one that is 256 on a CPU, and on a GPU what fits
    (``mugrow.sweeps.stack_size``).
    Steps are optimizer steps, ``val_tokens`` the tokens of one validation. ``optimizer`` is named
    as in ``mugrow.bench.optim``, its own parameters behind it, ``precision`` as in
    ``mugrow.bench.precision``.

    ``proxy_depths``, ``token_factors`` and ``batch_factors`` add proxies that differ from the
    smallest in that alone. With ``growing_heads`` the head size grows with the width and their
    number stays. ``target_log2_lr`` are log2 distances from the transferred learning rate.

    ``budgets`` are multiples of ``target_steps`` at which scratch may have a whole schedule, for
    comparisons at equal charged compute: from 1 on as many as cover what the grown arms have paid,
    three at least, and others until their losses bracket those of all arms. The last is the cap;
    without any nothing is compared so. ``front`` are shapes that are trained from scratch at the
    same compute, beside targets and sources. What is compared is evaluated at its end on
    ``final_val_tokens`` tokens of text, or as many as there are; 0 for no such evaluation.

    With ``looks``, numbers of seeds of which the first is that of ``seeds``, each grown arm gets
    more of them until its difference from what it is compared ``against`` at equal charged compute,
    ``scratch`` or its ``own source``, is decided, or the last look is reached; ``error_rate`` is
    that of all looks at an arm together (``mugrow.analysis.measure.sequential``).

    With ``source``, a folder of `mugrow import`, nothing is trained from scratch: sources are that
    checkpoint, or cuts of it in depth by the method ``cut``, and every arm is tuned by itself
    (``mugrow.sweeps.imported``). ``source_flops`` is what it is charged, unless it is sunk.

    >>> import mugrow
    >>> from mugrow.bench.spec import ModelSpec
    >>> from mugrow.sweeps.study import Step
    >>> study = mugrow.Study(
    ...     name="own", title="Widening", question="Does it pay?", proxy_steps=300,
    ...     model=ModelSpec(width=32, depth=2, head_size=16), proxy_widths=(32, 64),
    ...     log2_lr=(-9.0, -8.0, -7.0, -6.0), init_std=(0.1,), ladder=(Step(64, 2, 128, 2),),
    ...     methods=(mugrow.Method("scratch"), mugrow.Method("szp")),
    ... )
    >>> len(study.proxies)
    2
    """

    name: str
    title: str
    question: str
    corpus: str = "stdlib"
    tokenizer: str = "bytes"
    val_tokens: int = 32768

    model: ModelSpec
    parametrizations: tuple[str, ...] = ("mup",)
    proxy_widths: tuple[int, ...]
    proxy_depths: tuple[int, ...] = ()
    token_factors: tuple[float, ...] = ()
    batch_factors: tuple[int, ...] = ()
    growing_heads: bool = False
    variants: tuple[Variant, ...] = ()
    log2_lr: tuple[float, ...]
    init_std: tuple[float, ...]
    hyper: FixedHyper = field(default_factory=FixedHyper)
    optimizer: str = "adamw"
    precision: str = "float32"
    schedule: ScheduleSpec = field(default_factory=ScheduleSpec)
    batch_sequences: int = 16
    log_every: int = 10
    seeds: tuple[int, ...] = (0,)

    sampler: str = "grid"
    trials: int = 24
    search_flops: float | None = None
    modules: tuple[ModuleRange, ...] = ()
    generation: int = 8
    rungs: tuple[Rung, ...] = ()
    proxy_steps: int

    ladder: tuple[Step, ...] = ()
    methods: tuple[Method, ...] = (Method("scratch"),)
    source_steps: int = 500
    target_steps: int = 500
    target_log2_lr: tuple[float, ...] = ()
    budgets: tuple[float, ...] = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
    front: tuple[Shape, ...] = ()
    final_val_tokens: int = 131072
    looks: tuple[int, ...] = ()
    against: str = "scratch"
    error_rate: float = 0.05
    stack_width: int | None = None

    source: str = ""
    source_flops: float | None = None
    source_sunk: bool = False
    cut: str = "prune"

    def __post_init__(self) -> None:
        check_types(self)
        self._check_texts()
        self._check_source()
        self._check_numbers()
        self._check_search()
        self._check_ladder()
        self._check_budgets()

    @property
    def source_sha256(self) -> str | None:
        """Of the imported source's weights; ``None`` without one, and until it has been read: what
        ``model`` is, and which shapes can be, is known then."""
        found = PINNED_SOURCE.fullmatch(self.source)
        return found[1] if found else None

    @property
    def shapes_known(self) -> bool:
        """Whether ``model`` is what the study says; with a ``source``, once that has been read."""
        return not self.source or self.source_sha256 is not None

    @property
    def base_init_std(self) -> float:
        """The middle one: the scale of every sweep that does not search it."""
        return self.init_std[len(self.init_std) // 2]

    @property
    def proxies(self) -> tuple[Proxy, ...]:
        """What is swept under every parametrization, the base first."""
        width, depth = self.model.width, self.model.depth
        return (
            *(Proxy(other, depth) for other in sorted(self.proxy_widths)),
            *(Proxy(width, other) for other in self.proxy_depths if other != depth),
            *(Proxy(width, depth, tokens=factor) for factor in self.token_factors if factor != 1),
            *(Proxy(width, depth, batch=factor) for factor in self.batch_factors if factor != 1),
        )

    @property
    def seeds_by_look(self) -> tuple[tuple[int, ...], ...]:
        """The seeds that each look adds; without looks all of them."""
        if not self.looks:
            return (self.seeds,)
        further = range(max(self.seeds) + 1, max(self.seeds) + 1 + self.looks[-1])
        every = (*self.seeds, *further)
        return tuple(every[before:upto] for before, upto in pairwise((0, *self.looks)))

    def shape(self, width: int, depth: int) -> ModelSpec:
        """The model of that width and depth. Raises ``UserError`` for one that cannot be."""
        head_size = width // self.model.heads if self.growing_heads else self.model.head_size
        return replace(self.model, width=width, depth=depth, head_size=head_size)

    def _check_texts(self) -> None:
        check_folder_name(self.name)
        for variant in self.variants:
            check_text("a variant's name", variant.name)
            if not variant.name.isprintable():
                raise UserError(f"a variant's name has control characters: {variant.name!a}")
        for name in ("title", "question", "corpus", "source"):
            check_text(name, getattr(self, name))

    def _check_source(self) -> None:
        if not self.source:
            if self.source_flops is not None or self.source_sunk:
                raise UserError(
                    "source_flops and source_sunk are an imported source's; name its folder, source"
                )
            for step in self.ladder:
                if step.from_imported:
                    raise UserError(f"the ladder has {step}, and no source is given to import")
            return
        if self.source_sunk and self.source_flops is not None:
            raise UserError(
                f"the source is sunk or charged {self.source_flops:g} FLOPs, not both: give "
                "source_sunk or source_flops"
            )
        if self.source_flops is None and not self.source_sunk:
            raise UserError(
                f"what did the source {self.source!r} cost? Give --source-flops, 6 N D of all its "
                "training, or --source-sunk if that does not count"
            )
        if self.source_flops is not None and not self.source_flops > 0:
            raise UserError(f"source_flops must be above 0, not {self.source_flops:g}")
        if self.looks:
            raise UserError("looks are not planned with an imported source; give seeds instead")
        if self.sampler != "grid":
            raise UserError(
                f"with an imported source every arm is tuned on the grid of log2_lr, not by "
                f"sampler {self.sampler!r}"
            )

    def _check_numbers(self) -> None:
        for name in (
            *("val_tokens", "batch_sequences", "log_every", "trials", "generation"),
            *("proxy_steps", "source_steps", "target_steps", "stack_width"),
        ):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UserError(f"{name} must be at least 1, not {value}")
        if self.trials > MOST_TRIALS:
            raise UserError(f"trials must be at most {MOST_TRIALS}, not {self.trials}")
        check_precision(self.precision)
        if self.model.context > self.val_tokens:
            raise UserError(
                f"val_tokens must be at least one context of {self.model.context}, "
                f"not {self.val_tokens}"
            )
        for name in ("parametrizations", "proxy_widths", "log2_lr", "init_std", "seeds"):
            _check_any(name, getattr(self, name))
        for name in (
            *("parametrizations", "proxy_widths", "proxy_depths", "token_factors"),
            *("batch_factors", "log2_lr", "init_std", "seeds", "target_log2_lr", "front"),
        ):
            _check_distinct(name, getattr(self, name))
        _check_distinct("variants", [variant.name for variant in self.variants])
        for seed in self.seeds:
            if seed < 0:
                raise UserError(f"seeds must be at least 0, not {seed}")
            if seed > LARGEST_SEED:
                raise UserError(f"seeds must be at most {LARGEST_SEED}, not {seed}")

    def _check_search(self) -> None:
        if self.sampler not in SAMPLERS:
            raise unknown("sampler", self.sampler, SAMPLERS)
        for proxy in self.proxies if self.shapes_known else ():
            self.shape(proxy.width, proxy.depth)
            self._check_budget(proxy)
        if self.model.width != min(self.proxy_widths) and self.shapes_known:
            raise UserError(
                f"model.width is that of the smallest proxy, {min(self.proxy_widths)} of "
                f"proxy_widths, not {self.model.width}"
            )
        if list(self.log2_lr) != sorted(self.log2_lr) or not all(map(math.isfinite, self.log2_lr)):
            raise UserError(f"log2_lr must ascend, unlike {_listed(self.log2_lr)}")
        for away in (0.0, *self.target_log2_lr):
            for log2_lr in (self.log2_lr[0], self.log2_lr[-1]):
                if not abs(log2_lr + away) <= LARGEST_LOG2_LR:
                    raise UserError(
                        f"log2_lr must be between {-LARGEST_LOG2_LR} and {LARGEST_LOG2_LR}, "
                        f"target_log2_lr added, not {log2_lr + away:g}"
                    )
        for init_std in self.init_std:
            if not 0 < init_std < math.inf:
                raise UserError(f"init_std must be a finite number above 0, not {init_std}")
        self._check_axes()
        for rung in self.rungs:
            if not (0 < rung.at < 1 and 0 < rung.keep <= 1):
                raise UserError(
                    f"a rung is two fractions, of the steps and of the trials kept, "
                    f"not {rung.at}:{rung.keep}"
                )

    def _check_axes(self) -> None:
        _check_distinct("modules", [one.name for one in self.modules])
        for one in self.modules:
            if one.name in dict(self.hyper.modules):
                raise UserError(f"{one.name} is searched, and set in hyper.modules; leave one out")
        if self.search_flops is not None and not self.search_flops > 0:
            raise UserError(f"search_flops must be above 0, not {self.search_flops:g}")
        if self.sampler == "grid":
            if self.modules or self.search_flops is not None:
                raise UserError(
                    "modules and search_flops are for samplers that do not try every pair; set "
                    "sampler=trust"
                )
        elif self.log2_lr[0] == self.log2_lr[-1] and len(self.init_std) == 1 and not self.modules:
            raise UserError(
                f"log2_lr={self.log2_lr[0]:g} and one init_std are a search space of one point for "
                f"sampler {self.sampler!r}; give log2_lr a range, or set sampler=grid"
            )

    def _check_budget(self, proxy: Proxy) -> None:
        if not 0 < proxy.tokens < math.inf or proxy.batch < 1:
            raise UserError(
                f"token_factors and batch_factors are multiples above 0, "
                f"not {proxy.tokens:g} and {proxy.batch}"
            )
        if proxy.tokens * self.proxy_steps % proxy.batch or proxy.tokens * self.proxy_steps % 1:
            raise UserError(
                f"proxy_steps {self.proxy_steps} times token factor {proxy.tokens:g} over batch "
                f"factor {proxy.batch} is not a whole number of steps"
            )

    def _check_budgets(self) -> None:
        budgets = self.budgets
        if budgets and (list(budgets) != sorted(set(budgets)) or not 0 < budgets[0] < math.inf):
            raise UserError(f"budgets must ascend from above 0, unlike {_listed(budgets)}")
        if budgets and 1 not in budgets:
            raise UserError(
                f"budgets are multiples of target_steps and must hold 1, unlike {_listed(budgets)}"
            )
        if budgets and budgets[-1] > LARGEST_BUDGET:
            raise UserError(
                f"budget {budgets[-1]:g} is a multiple of target_steps and must be at most "
                f"{LARGEST_BUDGET}"
            )
        horizons = [round(budget * self.target_steps) for budget in budgets]
        for budget, horizon in zip(budgets[1:], horizons[1:], strict=True):
            if horizons.count(horizon) > 1:
                raise UserError(
                    f"budget {budget:g} of {self.target_steps} target_steps is another's {horizon} "
                    "steps; leave one out"
                )
        if budgets and self.ladder and budgets[0] * self.target_steps < LEAST_STEPS:
            raise UserError(
                f"budget {budgets[0]:g} of {self.target_steps} target_steps is no schedule: "
                f"it must be at least {LEAST_STEPS} steps"
            )
        if self.final_val_tokens < 0:
            raise UserError(f"final_val_tokens must be at least 0, not {self.final_val_tokens}")
        for shape in self.front if self.shapes_known else ():
            self.shape(shape.width, shape.depth)
        looks = self.looks
        if looks and (
            list(looks) != sorted(set(looks)) or looks[0] != len(self.seeds) or looks[0] < 2
        ):
            raise UserError(
                f"looks are numbers of seeds that ascend from those of seeds, "
                f"{len(self.seeds)} and at least 2, unlike {_listed(looks)}"
            )
        if looks and not budgets:
            raise UserError("looks are at comparisons at equal compute, which need budgets")
        if looks and not self.ladder:
            raise UserError(
                f"looks {_listed(looks)} are at grown arms, and the study has no ladder to grow "
                "along; leave looks out"
            )
        if looks and all(method.name == BASELINE for method in self.methods):
            raise UserError(
                f"looks {_listed(looks)} are at grown arms, and methods has {BASELINE} alone; "
                "name another beside it, or leave looks out"
            )
        if self.against not in AGAINST:
            raise unknown("comparison", self.against, AGAINST)
        if not 0 < self.error_rate < 1:
            raise UserError(f"error_rate must be between 0 and 1, not {self.error_rate}")

    def _check_ladder(self) -> None:
        for step in self.ladder if self.shapes_known else ():
            self.shape(step.source_width, step.source_depth)
            self.shape(step.target_width, step.target_depth)
        _check_any("methods", self.methods)
        _check_distinct("methods", [str(method) for method in self.methods])
        if any(method.sweep for method in self.methods) and not self.target_log2_lr:
            raise UserError("a method with sweep=true needs target_log2_lr, which is empty")
        if self.methods[0].name != BASELINE and not self.source:
            raise UserError(
                f"methods must begin with {BASELINE!r}, the baseline, not {self.methods[0].name!r}"
            )


def check_folder_name(name: str) -> None:
    """Raise the ``UserError`` of a name that is not also that of a folder, below which the results
    are: it would lead elsewhere, or nowhere."""
    plain = name.isprintable() and name.strip() == name and not {"/", "\\"} & set(name)
    if not plain or not name or name.startswith("."):
        near = "".join(c if c.isalnum() or c in "-_." else "-" for c in name.strip()).strip("-.")
        raise UserError(
            f"name must be one of a folder in results, not {name!a}; the nearest that is: "
            f"{near or 'mine'}"
        )


def check_text(name: str, text: str) -> None:
    """Raise the ``UserError`` of what cannot be written as UTF-8: half a character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{name} {text!a} is no text: {error.reason}") from None


def _check_any(name: str, values: Sequence[object]) -> None:
    if not values:
        raise UserError(f"{name} must name at least one, not none")


def _check_distinct(name: str, values: Sequence[object]) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise UserError(f"{name} holds {value} twice")


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
