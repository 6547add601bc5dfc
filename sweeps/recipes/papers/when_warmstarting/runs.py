"""The runs of "When is Warmstarting Effective": sizes and horizons, sources and their targets."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mugrow.bench.model import count
from mugrow.bench.schedule import cooldown_start
from mugrow.bench.spec import RunSpec, Scalar
from mugrow.sweeps.graph import FRESH, Node, grown
from mugrow.sweeps.paper import Setting
from mugrow.sweeps.plan import SOURCE_DATA_SEEDS
from mugrow.sweeps.recipes.papers.warmstarting.maps import map_of
from mugrow.sweeps.recipes.papers.when_warmstarting.claims import BASE, GROWN, TARGET
from mugrow.sweeps.recipes.papers.when_warmstarting.horizons import (
    CLONE,
    HORIZONS,
    NET2NET,
    SCRATCH,
    SHRINK,
    SZP,
    USUAL,
    named,
)


@dataclass(frozen=True)
class Sizes:
    """Widths. ``factors`` are the sources of each target whose growth factor is varied; ``ladder``
    the source of each size, and its horizons; ``held_out`` a target and its source; ``shrunk`` a
    target and the sources at which the shrink factor is varied, half its width the first; ``grid``
    a source and its target."""

    factors: Mapping[int, tuple[int, ...]]
    ladder: Mapping[int, tuple[int, tuple[int, ...]]]
    held_out: tuple[int, int]
    shrunk: tuple[int, tuple[int, ...]]
    grid: tuple[int, int]


TO_20, TO_30 = HORIZONS[:3], HORIZONS
SIZES = {
    "cpu": Sizes(
        factors={16: (4, 8, 12), 24: (4, 8, 12, 16)},
        ladder={8: (4, TO_30), 12: (8, TO_30), 16: (8, TO_30), 24: (16, TO_20)},
        held_out=(32, 20),
        shrunk=(16, (8, 12)),
        grid=(8, 16),
    ),
    "gpu": Sizes(
        factors={64: (16, 32, 48), 96: (16, 32, 48, 64, 80)},
        ladder={32: (16, TO_30), 48: (32, TO_30), 64: (48, TO_30), 96: (64, TO_30)},
        held_out=(128, 96),
        shrunk=(64, (32, 48)),
        grid=(32, 64),
    ),
    "paper": Sizes(
        factors={512: (64, 128, 256), 768: (64, 128, 256, 512), 1280: (128, 256, 512, 768)},
        ladder={128: (64, TO_30), 256: (128, TO_30), 512: (256, TO_30), 768: (512, TO_30),
                1280: (768, TO_30)},
        held_out=(3072, 2048),
        shrunk=(512, (256, 128)),
        grid=(128, 512),
    ),
}  # fmt: skip
FACTORS_AT = {"cpu": (10, 20), "gpu": (10, 20, 30), "paper": (10, 20, 30)}
HELD_OUT_AT = GRID_AT = 10
SHRINKS = (0.2, SHRINK, 0.6, 0.8, 1.0)
LOG2_LR = (-2, -1, 0, 1, 2)  # around the run's
BATCHES = (0.5, 1, 2)  # over the run's
SEEDS, FEWER_SEEDS = range(4), range(3)  # fewer of Net2Net, shrink factors, rates and batches
LOGGED = 16  # rows of a curve; half as many in the grid


def sized(setting: Setting, width: int, horizon: int, seed: int, batch: float = 1) -> RunSpec:
    """A run of this width to a horizon in tokens per parameter."""
    run = setting.run
    model = replace(run.model, width=width)
    parameters = count(model)[0] / count(run.model)[0]
    steps = max(1, round(run.steps * parameters * horizon / USUAL / batch))
    return replace(
        run,
        model=model,
        batch_sequences=round(run.batch_sequences * batch),
        steps=steps,
        log_every=max(1, round(steps / LOGGED)),
        seed=seed,
        data_seed=seed,
    )


def scratch(setting: Setting, width: int, horizon: int, seed: int) -> Node:
    return Node(sized(setting, width, horizon, seed), named(SCRATCH, horizon))


def source(setting: Setting, width: int, seed: int) -> Node:
    """Before its cool-down."""
    spec = sized(setting, width, USUAL, seed)
    stop = cooldown_start(spec.schedule, spec.steps)
    return Node(replace(spec, data_seed=seed + SOURCE_DATA_SEEDS, stop_step=stop), "source")


def begun(
    setting: Setting, how: str, width: int, small: int, horizon: int, seed: int, **params: Scalar
) -> Node:
    """A model grown from one of width ``small``."""
    target = sized(setting, width, horizon, seed)
    if how == SZP:
        params.setdefault("shrink", SHRINK)
    return grown(source(setting, small, seed), target, named(how, horizon), how, FRESH, **params)


def ladder_runs(setting: Setting) -> Iterator[Node]:
    sizes = SIZES[setting.scale]
    cells = [(width, small, at) for width, (small, all_at) in sizes.ladder.items() for at in all_at]
    for width, small, horizon in (*cells, (*sizes.held_out, HELD_OUT_AT)):
        for seed in SEEDS:
            yield scratch(setting, width, horizon, seed)
            yield begun(setting, SZP, width, small, horizon, seed)


def factor_runs(setting: Setting) -> Iterator[Node]:
    for width, sources in SIZES[setting.scale].factors.items():
        for horizon in FACTORS_AT[setting.scale]:
            for seed in SEEDS:
                yield scratch(setting, width, horizon, seed)
                for small in sources:
                    yield begun(setting, SZP, width, small, horizon, seed)
                    if seed in FEWER_SEEDS:
                        yield begun(setting, NET2NET, width, small, horizon, seed)


def shrink_runs(setting: Setting) -> Iterator[Node]:
    width, sources = SIZES[setting.scale].shrunk
    for seed in FEWER_SEEDS:
        yield scratch(setting, width, USUAL, seed)
        yield begun(setting, CLONE, width, sources[0], USUAL, seed, mode="noisy")
        for small in sources:
            for shrink in SHRINKS:
                yield begun(setting, SZP, width, small, USUAL, seed, shrink=shrink)


def grid_runs(setting: Setting) -> Iterator[Node]:
    """Every learning rate and batch, on as many tokens."""
    small, width = SIZES[setting.scale].grid
    for seed in FEWER_SEEDS:
        for batch in BATCHES:
            for away in LOG2_LR:
                base, target = (
                    in_grid(sized(setting, own, GRID_AT, seed, batch), away)
                    for own in (small, width)
                )
                yield Node(base, map_of(BASE), role="proxy")
                yield Node(target, map_of(TARGET), role="proxy")
                begun_from = source(setting, small, seed)
                node = grown(begun_from, target, map_of(GROWN), SZP, shrink=SHRINK)
                yield replace(node, role="proxy")


def in_grid(run: RunSpec, away: float) -> RunSpec:
    """At another rate; logged at other steps, so that no cell is a run of another arm."""
    hyper = replace(run.hyper, lr=run.hyper.lr * 2.0**away)
    return replace(run, hyper=hyper, log_every=2 * run.log_every)
