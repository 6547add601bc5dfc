"""What a run is: frozen dataclasses, their canonical JSON, and the identity it gives.

A run is a *start* plus *training*. The start is random weights, or another run's checkpoint passed
through a growth operator; the training is data under a schedule. Everything that decides the
numbers is in ``RunSpec``, and

    run_id = first 16 hex digits of sha256(canonical JSON of what is not at its default).

A field that is added later, with the old behaviour as its default, so renames no run; a default,
once released, is never changed. Where a run executes (device, threads, which stack it shares) is
not part of a spec, so it never changes an identity. A start holds its source's ``run_id`` and step:
lineage is identity, and a change to a source renames all that was grown from it.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from types import UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from mugrow.bench.errors import UserError as UserError  # they were here
from mugrow.bench.errors import shortened as shortened
from mugrow.bench.errors import unknown as unknown
from mugrow.bench.model_spec import CHOICES as CHOICES
from mugrow.bench.model_spec import LARGEST_SIZE as LARGEST_SIZE
from mugrow.bench.model_spec import ROPE_SCALINGS as ROPE_SCALINGS
from mugrow.bench.model_spec import SIZES as SIZES
from mugrow.bench.model_spec import ModelSpec as ModelSpec
from mugrow.bench.model_spec import llama as llama
from mugrow.bench.model_spec import rope_scaling as rope_scaling

Scalar = int | float | str | bool
Decay = Literal["scaled", "independent"]
"""What a weight shrinks by in a step; see ``FixedHyper``."""
Precision = Literal["float32", "tf32", "bf16"]
"""What products are of; see ``mugrow.bench.precision``."""


class Multiplier(NamedTuple):
    """What a hyperparameter is multiplied by in a module: ``lr.embedding`` 2."""

    name: str
    times: float


@dataclass(frozen=True, kw_only=True)
class FixedHyper:
    """The hyperparameters that a study sets, and does not search, at the *base* shape. ``beta1``,
    ``beta2`` and ``eps`` are AdamW's; another optimizer has its own behind its name.

    ``decay`` says what a weight shrinks by in a step, with f the schedule's factor: ``scaled``,
    torch's, by ``f * lr * weight_decay`` with learning rate and decay as parametrized;
    ``independent`` by ``f * weight_decay``, whatever rate and width (arXiv 2309.14322).
    ``clip`` is the largest gradient norm of a run, 0 for no clipping. ``modules`` multiply them in
    some modules (``mugrow.bench.modules``); those of 1 are left out. Raises ``UserError`` for a
    number that is negative or not finite, a beta of 1 or more, and a multiplier of 0.
    """

    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    clip: float = 1.0
    decay: Decay = "scaled"
    modules: tuple[Multiplier, ...] = ()

    def __post_init__(self) -> None:
        if self.decay not in DECAYS:
            raise unknown("decay", self.decay, DECAYS)
        object.__setattr__(self, "modules", _multipliers(self.modules))
        words = ("decay", "modules")
        for name in (field.name for field in dataclasses.fields(self) if field.name not in words):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise UserError(f"{name} must be a finite number, at least 0, not {value}")
            object.__setattr__(self, name, float(value) + 0.0)  # 0, 0.0, -0.0: one identity
            if name.startswith("beta") and value >= 1:
                raise UserError(f"{name} must be below 1, not {value}")

    def at(self, *, lr: float, init_std: float) -> "HyperSpec":
        """All hyperparameters of a run: these, with the two that are searched."""
        fixed = {field.name: getattr(self, field.name) for field in dataclasses.fields(FixedHyper)}
        return HyperSpec(lr=lr, init_std=init_std, **fixed)


@dataclass(frozen=True, kw_only=True)
class HyperSpec(FixedHyper):
    """AdamW hyperparameters at the *base* shape; a parametrization scales them to the model.

    ``lr`` is the largest learning rate of the schedule, ``init_std`` the scale of initial weights.
    """

    lr: float
    init_std: float


DECAYS = ("scaled", "independent")


def _multipliers(given: Iterable[tuple[str, float]]) -> tuple[Multiplier, ...]:
    """In one order, and without those that change nothing: one identity."""
    found: dict[str, float] = {}
    for name, times in given:
        if name in found:
            raise UserError(f"modules holds {name!r} twice")
        if not _is_real(times) or times <= 0:
            raise UserError(f"{name} must be a finite number above 0, not {shortened(times)}")
        found[name] = float(times)
    return tuple(Multiplier(*one) for one in sorted(found.items()) if one[1] != 1)


def faster(name: str, beta: float, times: float) -> float:
    """The beta called ``name`` of an average that forgets so many ``times`` as fast: 1 - beta is
    multiplied. Raises ``UserError`` where nothing of the average would be left.

    >>> faster("beta1", 0.75, 2)
    0.5
    """
    if times == 1:
        return beta
    forgotten = (1 - beta) * times
    if forgotten > 1 - 1e-9:  # up to rounding
        raise UserError(
            f"1 - {name} must be below 1, not {1 - beta:g} times {times:g}; the nearest factor is "
            f"below {1 / (1 - beta):g}"
        )
    return 1 - forgotten


@dataclass(frozen=True, kw_only=True)
class ScheduleSpec:
    """A learning-rate schedule as fractions of the horizon; see ``mugrow.bench.schedule``."""

    kind: Literal["constant", "linear", "cosine", "wsd"] = "wsd"
    warmup: float = 0.05
    cooldown: float = 0.2
    final: float = 0.0
    cooldown_shape: Literal["linear", "sqrt"] = "linear"

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULES:
            raise unknown("schedule", self.kind, SCHEDULES)
        if self.cooldown_shape not in COOLDOWN_SHAPES:
            raise unknown("cool-down shape", self.cooldown_shape, COOLDOWN_SHAPES)
        for name in ("warmup", "cooldown", "final"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise UserError(f"schedule {name} is a fraction between 0 and 1, not {value}")
            object.__setattr__(self, name, float(value))
        if self.warmup + self.cooldown > 1:
            raise UserError(
                f"warmup {self.warmup} and cooldown {self.cooldown} overlap: together above 1"
            )


SCHEDULES = ("constant", "linear", "cosine", "wsd")
COOLDOWN_SHAPES = ("linear", "sqrt")


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Which tokens. ``corpus_sha256`` pins the content, so a name never silently means other text.

    ``tokenizer`` is ``bytes`` or ``bpe:VOCAB``. Validation is on ``val_tokens`` tokens, in windows
    spread evenly over the documents held out, which are a fixed share of the corpus and never
    trained on. With ``final_val_tokens`` a run's last loss is measured once more, on so many, for
    what it is compared by: see ``mugrow.bench.final_evaluation``.
    """

    corpus: str
    corpus_sha256: str
    tokenizer: str = "bytes"
    val_tokens: int = 32768
    final_val_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Start:
    """How weights begin: ``scratch``, or a source's checkpoint passed through a growth method.
    ``import`` is neither: a published checkpoint as it is, the hash of its weights in ``params``.

    ``optimizer`` says whether Adam's moments begin at zero or are grown from the source's.
    ``noise`` and ``reset`` break the symmetry of copied units: ``noise`` times a fresh draw of the
    target's initial weights is added, and ``reset`` clears the carried moments of all coordinates
    that the source did not have. ``new_rate`` multiplies the learning rate of what the source did
    not have (``mugrow.bench.origins``).
    """

    method: str = "scratch"
    source_run_id: str | None = None
    source_step: int | None = None
    params: tuple[tuple[str, Scalar], ...] = ()
    optimizer: Literal["fresh", "carry"] = "fresh"
    noise: float = 0.0
    reset: bool = False
    new_rate: float = 1.0

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZER_STATES:
            raise unknown("optimizer state", self.optimizer, OPTIMIZER_STATES)
        if not 0 <= self.noise < float("inf"):
            raise UserError(f"noise must be a finite number, at least 0, not {self.noise}")
        if not 0 <= self.new_rate < float("inf"):
            raise UserError(f"new_rate must be a finite number, at least 0, not {self.new_rate}")
        if self.reset and self.optimizer == "fresh":
            raise UserError("reset clears carried moments; with optimizer=fresh there are none")
        object.__setattr__(self, "noise", float(self.noise))
        object.__setattr__(self, "new_rate", float(self.new_rate))


OPTIMIZER_STATES = ("fresh", "carry")
IMPORT = "import"


@dataclass(frozen=True, kw_only=True)
class AverageSpec:
    """An average of the weights along a run, which is evaluated and never trained on; see
    ``mugrow.bench.averaging``. ``window`` is swa's, in steps; ``decay`` is ema's, per step."""

    kind: Literal["none", "swa", "ema"] = "none"
    window: int = 500
    decay: float = 0.95

    def __post_init__(self) -> None:
        if self.kind not in AVERAGES:
            raise unknown("average", self.kind, AVERAGES)
        if self.window < 1:
            raise UserError(f"average window must be at least 1 step, not {self.window}")
        if not 0 <= self.decay < 1:
            raise UserError(f"average decay must be at least 0 and below 1, not {self.decay}")
        object.__setattr__(self, "decay", float(self.decay) + 0.0)


AVERAGES = ("none", "swa", "ema")


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything that decides a run's numbers.

    ``base`` is the model at which ``hyper`` was tuned: a parametrization reads the width ratio
    from it. ``steps`` is the schedule's horizon and ``stop_step`` where training ends (``None``:
    at the horizon), so a WSD source can stop where its cool-down would begin. A curve has a row
    every ``log_every`` steps, and a validation loss in every row. ``seed`` draws the initial
    weights and a growth method's noise, ``data_seed`` the batches. ``optimizer`` is named as in
    ``mugrow.bench.optim``, its own parameters behind it. ``dtype`` is of weights and moments;
    where that is float32, ``precision`` is of products (``mugrow.bench.precision``).

    A run begins at ``first_step`` of its schedule (0 unless it takes up its source's, where that
    stood or re-positioned), with its rate rising over ``rewarm_steps`` from there. Its first batch
    is number ``first_batch`` of its data seed. Of ``average`` its training knows nothing. An
    imported model may stop at step 0: it is evaluated, and nothing else.

    ``step_ratio`` is how many steps of the runs in which ``hyper`` was tuned one step stands for:
    the ratio of batches over that of tokens, and so of their number of steps to this run's. It is
    1 unless the parametrization has a rule for it.
    """

    model: ModelSpec
    base: ModelSpec
    parametrization: str
    hyper: HyperSpec
    schedule: ScheduleSpec
    data: DataSpec
    batch_sequences: int
    steps: int
    seed: int
    data_seed: int
    stop_step: int | None = None
    first_step: int = 0
    rewarm_steps: int = 0
    first_batch: int = 0
    start: Start = Start()
    log_every: int = 10
    dtype: Literal["float32", "float64"] = "float32"
    average: AverageSpec = AverageSpec()
    optimizer: str = "adamw"
    precision: Precision = "float32"
    step_ratio: float = 1.0

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise unknown("dtype", self.dtype, DTYPES)
        check_precision(self.precision)
        if self.dtype != "float32" and self.precision != "float32":
            raise UserError(
                f"precision {self.precision!r} is of runs in float32; with dtype {self.dtype!r} it "
                f"must be left at 'float32'"
            )
        for name in ("batch_sequences", "steps", "log_every"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("first_step", "rewarm_steps", "first_batch"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must be at least 0, not {getattr(self, name)}")
        untrained = self.start.method == IMPORT and self.stop_step == 0
        if self.stop_step is not None and not 0 < self.stop_step <= self.steps and not untrained:
            raise UserError(f"stop_step {self.stop_step} is outside the {self.steps} steps")
        if self.first_step >= self.last_step and not untrained:
            raise UserError(
                f"first_step {self.first_step} must be below the last, {self.last_step}"
            )
        if not 0 < self.step_ratio < math.inf:
            raise UserError(f"step_ratio must be a finite number above 0, not {self.step_ratio}")
        object.__setattr__(self, "step_ratio", float(self.step_ratio))
        if self.average.kind == "swa" and self.average.window % self.log_every:
            raise UserError(
                f"average window {self.average.window} is not a multiple of log_every "
                f"{self.log_every}: no row would show it"
            )

    @property
    def last_step(self) -> int:
        """The step of the schedule after which training ends."""
        return self.steps if self.stop_step is None else self.stop_step

    @property
    def batch_tokens(self) -> int:
        """Tokens trained on in a step."""
        return self.batch_sequences * self.model.context

    @property
    def train_steps(self) -> int:
        """How many steps the run trains."""
        return self.last_step - self.first_step

    @property
    def tokens(self) -> int:
        """Tokens trained on when the run ends."""
        return self.train_steps * self.batch_tokens

    @cached_property  # a plan asks for it often, and a spec never changes
    def run_id(self) -> str:
        """The run's identity: 16 hex digits of what is not at its default."""
        return hashlib.sha256(sorted_json(_chosen(self)).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """A readable name: what differs between the runs of a study. Not unique; ``run_id`` is."""
        model = self.model
        lr = f"lr2^{_log2(self.hyper.lr)}"
        init = f"init{self.hyper.init_std:.3g}"
        return (
            f"{self.parametrization}-w{model.width}-d{model.depth}-{self.start.method}"
            f"-{lr}-{init}-s{self.seed}"
        )


DTYPES = ("float32", "float64")
PRECISIONS = ("float32", "tf32", "bf16")


def check_precision(precision: str) -> None:
    """Raise the ``UserError`` of a precision that there is not."""
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)


def _log2(value: float) -> str:
    return f"{math.log2(value):.4g}" if value > 0 else "-inf"


def canonical_json(spec: Any) -> str:
    """The one JSON text of a spec: sorted keys, no spaces, every field written."""
    return sorted_json(dataclasses.asdict(spec))


def sorted_json(fields: Any) -> str:
    """JSON with sorted keys and no spaces: equal fields, equal text."""
    return _SORTED.encode(fields)


_SORTED = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def _chosen(spec: Any) -> dict[str, Any]:
    """The fields that are not at their defaults."""
    return {
        name: _chosen(value) if hasattr(value, "__dataclass_fields__") else value
        for name, field in spec.__dataclass_fields__.items()  # fields() takes as long again
        if (value := getattr(spec, name)) != field.default
    }


@lru_cache(maxsize=64)  # a run's files all hold it
def run_spec_from_json(text: str) -> RunSpec:
    """The inverse of ``canonical_json`` for a ``RunSpec``. A field that an older spec does not have
    is at its default. Raises ``UserError``, which names the field, for one that is unknown, missing
    without a default, or of another type."""
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise UserError(f"the spec is not JSON: {error}") from error
    _check_fields(RunSpec, fields, "spec")
    start = {"params": [], **fields.get("start", {})}
    nested = {
        "model": ModelSpec(**fields["model"]),
        "base": ModelSpec(**fields["base"]),
        "hyper": HyperSpec(**fields["hyper"]),
        "schedule": ScheduleSpec(**fields["schedule"]),
        "data": DataSpec(**fields["data"]),
        "start": Start(**(start | {"params": tuple((k, v) for k, v in start["params"])})),
        "average": AverageSpec(**fields.get("average", {})),
    }
    return RunSpec(**(fields | nested))


def is_of_run(text: str, run_id: str) -> bool:
    """Whether a spec's canonical JSON is that of a run; an id was once the hash of all of it.
    Raises ``UserError`` where it is no spec."""
    whole = hashlib.sha256(text.encode()).hexdigest()[:16]
    return run_id == whole or run_id == run_spec_from_json(text).run_id


def _check_fields(kind: type, given: object, name: str) -> None:
    """Raise the ``UserError`` of JSON that cannot be made this dataclass; ``name`` is what it is
    called."""
    if not isinstance(given, dict):
        raise UserError(f"{name} is {shortened(given)}, not an object with fields")
    known = _field_types(kind)
    for field in dataclasses.fields(kind):
        required = field.default is dataclasses.MISSING
        if required and field.name not in given:
            raise UserError(f"{name} lacks the field {field.name!r}")
    for key, value in given.items():
        if key not in known:
            raise UserError(
                f"{name} has a field {key!r} that this version does not know: it is of a newer "
                f"version or another program"
            )
        if dataclasses.is_dataclass(known[key]):
            assert isinstance(known[key], type)
            _check_fields(known[key], value, f"{name}.{key}")
        elif expected := _unlike(known[key], value):
            raise UserError(f"{name}.{key} is {shortened(value)}, not {expected}")


@cache
def _field_types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _unlike(kind: Any, value: object) -> str | None:
    """What a value of this type is in words, if ``value`` is none."""
    if get_origin(kind) is UnionType:
        return None if value is None else _unlike(get_args(kind)[0], value)
    if get_origin(kind) is Literal:
        words = get_args(kind)
        return None if value in words else f"one of {', '.join(map(str, words))}"
    if get_origin(kind) is tuple:
        pairs = isinstance(value, list) and all(
            isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in value
        )
        return None if pairs else "a list of names with values"
    if kind is float:
        return None if _is_real(value) else "a finite number"
    if kind is bool:
        return None if isinstance(value, bool) else "true or false"
    if kind is int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return None if whole else "a whole number"
    return None if isinstance(value, str) else "text"


def _is_real(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
