"""nanoLM / muScaling: the loss of a large model, predicted from small ones (arXiv 2304.06875).

    mugrow reproduce nanolm

Under muP the learning rate tuned at the smallest width serves at all of them, and the final losses
at one token budget follow L(N) = a N^b + c. Widths up to six times the smallest fit the three
coefficients; the losses of two wider models are predicted and then measured. Under SP, at the same
learning rate, the losses need not even fall with N.

Cost: at ``cpu`` about 40 minutes on two cores, most of it for the two held-out widths; at ``gpu``
about 10 minutes on one large GPU, by its FLOPs; at the paper's scale, 20,000 steps at widths up to
3072, 1.3e20 FLOPs.
Expected: basins aligned under muP and drifting under SP; the prediction within a percent.

Choices. Five seeds for the law, three for the basins. The law is fitted by plain least squares on
mean losses, as there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from mugrow.analysis.figures import BOWLS, arms, style, sweeps
from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.fit import fit
from mugrow.analysis.measure.claims import Claim
from mugrow.analysis.measure.measured import arm, common_seeds, drift, finals, over_seeds
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Array, Interval
from mugrow.analysis.transfer.results import transfer_results
from mugrow.analysis.transfer.sweep import by_setting
from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec
from mugrow.sweeps.graph import Node
from mugrow.sweeps.paper import Paper, PaperFigure, Setting, Text
from mugrow.sweeps.recipes.papers import bases

NAMES = {"mup": "μP", "sp": "SP"}
PARAMETRIZATIONS = tuple(NAMES)
BASINS = {"cpu": (1, 2, 4), "gpu": (1, 2, 4, 8), "paper": (1, 2, 4, 8)}  # widths over the base's
FITTED = {"cpu": (1, 1.5, 2, 3, 4, 6), "gpu": (1, 1.5, 2, 3, 4, 6), "paper": (1, 2, 3, 4, 5, 6, 7)}
HELD_OUT = {"cpu": (8, 12), "gpu": (8, 12), "paper": (8, 16, 24)}
BASIN_STEPS = 0.5  # of the run's
LOG2_LR = np.arange(-3.0, 2.5, 0.5)  # around the run's
BASIN_SEEDS, LAW_SEEDS = range(3), range(5)
C4 = Text("hf:allenai/c4:en@8000", "hf:t5-base", val_tokens=2**20, vocab_size=32128)


def paper_scale(data: DataSpec, vocabulary: int) -> RunSpec:
    """Six layers, widths from 128, 20,000 steps of 48 x 1024 tokens; rate and initial scale as
    muScaling found them on its base width of 256."""
    model = ModelSpec(
        width=128, depth=6, head_size=64, context=1024, tied=True, vocab_size=vocabulary
    )
    return RunSpec(
        model=model,
        base=replace(model, width=256),
        parametrization="mup",
        hyper=HyperSpec(lr=7.5e-4, init_std=0.04),
        schedule=ScheduleSpec(kind="linear", warmup=0.01),
        data=data,
        batch_sequences=48,
        steps=20_000,
        seed=0,
        data_seed=0,
        log_every=1000,
    )


def at_width(run: RunSpec, times: float, parametrization: str, seed: int) -> RunSpec:
    width = round(run.model.width * times)
    return replace(
        run,
        model=replace(run.model, width=width),
        parametrization=parametrization,
        seed=seed,
        data_seed=seed,
    )


def basin_runs(setting: Setting) -> Iterator[Node]:
    run = replace(setting.run, steps=round(setting.run.steps * BASIN_STEPS))
    for parametrization in PARAMETRIZATIONS:
        for times in BASINS[setting.scale]:
            for seed in BASIN_SEEDS:
                yield from basin(run, times, parametrization, seed)


def basin(run: RunSpec, times: float, parametrization: str, seed: int) -> Iterator[Node]:
    """One width at every learning rate."""
    spec = at_width(run, times, parametrization, seed)
    for away in LOG2_LR:
        rate = replace(spec.hyper, lr=spec.hyper.lr * 2.0**away)
        yield Node(replace(spec, hyper=rate), f"{parametrization} basins", role="proxy")


def law_runs(setting: Setting) -> Iterator[Node]:
    for parametrization in PARAMETRIZATIONS:
        for times in (*FITTED[setting.scale], *HELD_OUT[setting.scale]):
            for seed in LAW_SEEDS:
                yield Node(at_width(setting.run, times, parametrization, seed), parametrization)


def draw_basins(store: Store) -> Figure:
    return sweeps.along("width")(transfer_results(by_setting(store.runs)))


def law_table(store: Store, parametrization: str) -> tuple[list[int], dict[int, dict[int, float]]]:
    """Parameter counts, ascending, and the final losses of each by seed."""
    own = arm(store.runs, parametrization)
    sizes = sorted(own["params"].unique())
    return sizes, {size: finals(own[own["params"] == size], parametrization) for size in sizes}


def predicted(sizes: Sequence[int], losses: Sequence[float], at: npt.ArrayLike) -> Array:
    """L(at) of the power law through these models, by least squares; nan where they follow none."""
    points = {"x": np.asarray(sizes) / 1e6, "loss": np.asarray(losses)}
    found = fit(get_form("power"), points).params
    x = np.asarray(at, dtype=np.float64) / 1e6
    return found["a"] * x ** found["b"] + found["c"] if found else np.full_like(x, np.nan)


def error_percent(store: Store, parametrization: str, largest: int) -> Interval:
    """Of the prediction for the ``largest``-th model from the top, which with those above it was
    held out; positive where the law says too much."""
    sizes, table = law_table(store, parametrization)
    held_out = len(HELD_OUT[store.study["scale"]])
    fitted = sizes[:-held_out]

    def error(seeds: Sequence[int]) -> float:
        means = {size: float(np.mean([table[size][seed] for seed in seeds])) for size in sizes}
        target = sizes[-largest]
        said = float(predicted(fitted, [means[size] for size in fitted], target))
        return 100 * (said / means[target] - 1)

    return over_seeds(common_seeds(list(table.values())), error)


def widest_minus_base(store: Store, parametrization: str) -> Interval:
    """The loss of the widest model minus the lowest of the narrower ones, in nats."""
    sizes, table = law_table(store, parametrization)

    def rise(seeds: Sequence[int]) -> float:
        means = [float(np.mean([table[size][seed] for seed in seeds])) for size in sizes]
        return means[-1] - min(means[:-1])

    return over_seeds(common_seeds(list(table.values())), rise)


def draw_law(store: Store) -> Figure:
    figure, ((left, right),) = style.panels(1, 2, sharey=True)
    held_out = len(HELD_OUT[store.study["scale"]])
    for axis, parametrization in zip((left, right), PARAMETRIZATIONS, strict=True):
        sizes, table = law_table(store, parametrization)
        means = [float(np.mean(list(table[size].values()))) for size in sizes]
        grid = np.geomspace(sizes[0], sizes[-1], 100)
        line = predicted(sizes[:-held_out], means[:-held_out], grid)
        axis.plot(grid, line, color=style.GREY, ls="--", label="fitted to the circles")
        for size in sizes:
            values = list(table[size].values())
            axis.plot([size] * len(values), values, ".", color=style.FAINT, ms=3)
        axis.plot(sizes[:-held_out], means[:-held_out], "o", color=style.OKABE_ITO[0],
                  label="fitted")  # fmt: skip
        axis.plot(sizes[-held_out:], means[-held_out:], "*", ms=11, color=style.OKABE_ITO[1],
                  label="held out")  # fmt: skip
        axis.set(xscale="log", xlabel="parameters", title=NAMES[parametrization])
        style.flops_axis(axis.xaxis)
    left.set_ylabel("final validation loss (nats per token)")
    left.legend()
    return figure


def draw_errors(store: Store) -> Figure:
    figure, ((axis,),) = style.panels(1, 1)
    sizes, _ = law_table(store, "mup")
    found, looks = {}, {}
    for parametrization, look in zip(
        PARAMETRIZATIONS, style.dealt(PARAMETRIZATIONS).values(), strict=True
    ):
        for largest in range(len(HELD_OUT[store.study["scale"]]), 0, -1):
            label = f"{NAMES[parametrization]}, {sizes[-largest] / 1e6:.3g} M parameters"
            found[label] = error_percent(store, parametrization, largest)
            looks[label] = look
    labels = {f"{label}: {one.value:+.2f} %": one for label, one in found.items()}
    arms.dots(axis, list(labels), list(labels.values()),
              dict(zip(labels, looks.values(), strict=True)))  # fmt: skip
    axis.axvline(0, color=style.GREY, lw=0.9)
    axis.set_xlabel("predicted loss over the real one, minus 1 (%)")
    return figure


PAPER = Paper(
    name="nanolm",
    arxiv="2304.06875",
    title="nanoLM: an Affordable LLM Pre-training Benchmark via Accurate Loss Prediction",
    summary="the loss of a large model predicted from small ones, under muP and SP",
    bases={"cpu": bases.cpu, "gpu": bases.gpu, "paper": paper_scale},
    corpora={"text": {"cpu": Text("stdlib"), "gpu": Text("stdlib"), "paper": C4}},
    figures={
        "M1": PaperFigure(
            "Loss against learning rate at each width, under muP and SP",
            BOWLS,
            basin_runs,
            draw_basins,
            (
                Claim(
                    "basins-mup",
                    "under muP all widths have their lowest loss in one basin of learning rates",
                    "section 3, figure 2",
                    "drift of the best rate under muP, log2 per doubling of width",
                    lambda store: drift(store, "mup"),
                    low=-0.2,
                    high=0.2,
                ),
                Claim(
                    "basins-sp",
                    "under SP the basin moves to lower rates as width grows",
                    "section 3, figure 2",
                    "drift of the best rate under SP, log2 per doubling of width",
                    lambda store: drift(store, "sp"),
                    high=-0.2,
                ),
            ),
        ),
        "M2": PaperFigure(
            "Loss against model size, and a power law through the small models",
            "Dots are seeds, circles their means, to which the dashed law a N^b + c is fitted; the "
            "stars were held out. Left under muP, right under SP, at one base learning rate.",
            law_runs,
            draw_law,
            (
                Claim(
                    "predicts-next",
                    "the loss of a model 1.3 times wider than all fitted is predicted to 0.3 %",
                    "muScaling's table, width 1024: 3.1890 for 3.1797",
                    "error of the prediction for the first held-out width under muP, %",
                    lambda store: error_percent(store, "mup", 2),
                    low=-0.5,
                    high=0.5,
                ),
                Claim(
                    "predicts-largest",
                    "that of a model over three times wider is predicted to 0.2 %",
                    "muScaling's table, width 3072: 3.0369 for 3.0425",
                    "error of the prediction for the widest model under muP, %",
                    lambda store: error_percent(store, "mup", 1),
                    low=-0.5,
                    high=0.5,
                ),
                Claim(
                    "sp-not-monotone",
                    "without muP the losses at one rate do not fall with size",
                    "nanoLM's series without muP: 4.29, then 4.31 at the widest",
                    "loss of the widest model minus the lowest of the narrower under SP, nats",
                    lambda store: widest_minus_base(store, "sp"),
                    low=0.0,
                ),
            ),
        ),
        "M3": PaperFigure(
            "Errors of the predictions, with and without μP",
            "Of the laws of the figure before, at the models held out, with 95 % intervals over "
            "seeds.",
            law_runs,
            draw_errors,
        ),
    },
    untestable=(
        Claim(
            "52B",
            "the loss of a 52B model is predicted within 0.8 % at 14 % of one training run",
            "abstract and table 3",
            untestable="52B parameters; no model of that size is trained here",
        ),
    ),
)
