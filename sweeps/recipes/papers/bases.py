"""The runs that papers vary at the two small scales, so that papers share their baselines.

The learning rate is the one that the study ``transfer-width`` finds at width 32 under muP
(log2 -7.4 at an initial scale of 0.1), rounded to a half; there and at every width that muP
transfers it to, a half step costs less than 0.1 % of the loss.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from mugrow.analysis.figures import BOWLS, lr_sweeps
from mugrow.analysis.measure.claims import Claim
from mugrow.analysis.measure.quantity import Quantity, function
from mugrow.analysis.read.store import Store
from mugrow.analysis.transfer.results import transfer_results, width_drift
from mugrow.analysis.transfer.sweep import by_setting
from mugrow.bench.arm import ArmName
from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec
from mugrow.sweeps.graph import Node
from mugrow.sweeps.paper import Base, FigureOf, PaperFigure, Runs, Scale, Setting, Text

LOG2_LR = -7.5
COSINE = ScheduleSpec(kind="cosine", warmup=0.01, cooldown=0.0, final=0.1)


def published(
    model: ModelSpec,
    *,
    lr: float,
    batch_sequences: int,
    steps: int,
    log_every: int,
    init_std: float = 0.02,
    parametrization: str = "sp",
    schedule: ScheduleSpec = COSINE,
    base_width: int | None = None,
    **fields: Any,
) -> Base:
    """A run of seed 0 as papers describe theirs, on whatever text it is given. The vocabulary of
    ``model`` gives way to that text's; ``fields`` are others of ``RunSpec``. The base of its
    parametrization is itself, or of ``base_width``."""

    def run(data: DataSpec, vocabulary: int) -> RunSpec:
        selected = replace(model, vocab_size=vocabulary)
        base = replace(selected, width=base_width or model.width)
        usual: dict[str, Any] = {"base": base, "hyper": HyperSpec(lr=lr, init_std=init_std)}
        return RunSpec(
            model=selected, parametrization=parametrization, schedule=schedule, data=data, seed=0,
            data_seed=0, batch_sequences=batch_sequences, steps=steps, log_every=log_every,
            **(usual | fields),
        )  # fmt: skip

    return run


# under muP, at the rate above
transferred = partial(published, lr=2.0**LOG2_LR, init_std=0.1, parametrization="mup",
                      schedule=ScheduleSpec())  # fmt: skip
SMALL = ModelSpec(width=32, depth=2, head_size=16, context=64, positions="rope")
LARGER = ModelSpec(width=128, depth=4, head_size=32, context=256, positions="rope")
cpu = transferred(SMALL, batch_sequences=8, steps=400, log_every=20)  # 512 tokens a step
gpu = transferred(LARGER, batch_sequences=32, steps=400, log_every=20)  # 8192


def scales(paper: Base, **small: Mapping[str, Any]) -> Mapping[Scale, Base]:
    """The two small scales beside a paper's own; ``small`` are fields of theirs that differ."""

    def differing(scale: str, base: Base) -> Base:
        return lambda data, vocabulary: replace(base(data, vocabulary), **small.get(scale, {}))

    return {"cpu": differing("cpu", cpu), "gpu": differing("gpu", gpu), "paper": paper}


def one_text(paper: Text) -> Mapping[str, Mapping[Scale, Text]]:
    """The one corpus ``text``: Python's sources at the small scales, beside a paper's own."""
    return {"text": {"cpu": Text("stdlib"), "gpu": Text("stdlib"), "paper": paper}}


BASIN_SEEDS = range(3)
BASIN_LOG2_LR = tuple(0.5 * half for half in range(-6, 5))  # around the run's
BASIN_WIDTHS: Mapping[Scale, tuple[float, ...]] = {"cpu": (1, 2, 4), "gpu": (1, 2, 4, 8)}


def halved(setting: Setting) -> Setting:
    """Runs of half the steps, as long as basins are."""
    return replace(setting, run=replace(setting.run, steps=round(0.5 * setting.run.steps)))


def at_rate(run: RunSpec, times: float) -> RunSpec:
    """A run at a multiple of its learning rate."""
    return replace(run, hyper=replace(run.hyper, lr=times * run.hyper.lr))


def basin(setting: Setting, width: float, parametrization: str, seed: int) -> Iterator[Node]:
    """A model from scratch, at a multiple of the width, at every learning rate."""
    spec = halved(setting).spec(seed, width, parametrization=parametrization)
    for away in BASIN_LOG2_LR:
        arm = ArmName(f"{parametrization} basins", parametrization=parametrization, width=width,
                      log2_lr=away)  # fmt: skip
        yield Node(at_rate(spec, 2.0**away), arm, role="proxy")


def basins(
    setting: Setting, widths: Iterable[float], seeds: Iterable[int] | None = None
) -> Iterator[Node]:
    """The same at several widths, under muP and SP; of the usual seeds where none are said."""
    for parametrization in ("mup", "sp"):
        for width in widths:
            for seed in setting.of(BASIN_SEEDS if seeds is None else seeds):
                yield from basin(setting, width, parametrization, seed)


def drift(parametrization: str) -> Quantity:
    """Of the best rate of basins, log2 per doubling of width."""
    return function(lambda store: width_drift(store.runs, parametrization))


def basin_figure(runs: Runs, *claims: Claim[Store]) -> PaperFigure:
    def draw(store: Store) -> Figure:
        return lr_sweeps.along("width")(transfer_results(by_setting(store.runs)))

    title = "Loss against learning rate at each width, under muP and SP"
    return FigureOf(runs, draw, claims).shows(title, BOWLS)
