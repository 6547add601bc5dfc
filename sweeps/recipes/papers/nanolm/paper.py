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

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from mugrow.analysis.figures import arms, style
from mugrow.analysis.laws import get_form
from mugrow.analysis.laws.fit import fit
from mugrow.analysis.measure.claims import no_rule, rule
from mugrow.analysis.measure.measured import finals
from mugrow.analysis.measure.quantity import Quantity, at_scale, combined, final, lowest, recorded
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Array
from mugrow.bench.arm import ArmName
from mugrow.bench.spec import ModelSpec, ScheduleSpec
from mugrow.sweeps.graph import Node
from mugrow.sweeps.paper import FigureOf, Paper, Setting, Text
from mugrow.sweeps.recipes.papers import bases

NAMES = {"mup": "μP", "sp": "SP"}
BASINS = {**bases.BASIN_WIDTHS, "paper": (1, 2, 4, 8)}  # widths over the base's
FITTED = {"cpu": (1, 1.5, 2, 3, 4, 6), "gpu": (1, 1.5, 2, 3, 4, 6), "paper": (1, 2, 3, 4, 5, 6, 7)}
HELD_OUT = {"cpu": (8, 12), "gpu": (8, 12), "paper": (8, 16, 24)}
LAW_SEEDS = range(5)
C4 = Text("hf:allenai/c4:en@8000", "hf:t5-base", val_tokens=2**20, vocab_size=32128)

# the smallest of its widths; rate and initial scale as muScaling found them at its base of 256
paper_scale = bases.published(
    ModelSpec(width=128, depth=6, head_size=64, context=1024, tied=True), base_width=256,
    lr=7.5e-4, init_std=0.04, parametrization="mup", batch_sequences=48, steps=20_000,
    schedule=ScheduleSpec(kind="linear", warmup=0.01), log_every=1000,
)  # fmt: skip


def of_width(parametrization: str, width: float) -> ArmName:
    return ArmName(parametrization, parametrization=parametrization, width=width)


def models(parametrization: str, scale: str) -> list[ArmName]:
    """Of the law, narrow to wide: those that it is fitted to, and those held out."""
    return [of_width(parametrization, width) for width in (*FITTED[scale], *HELD_OUT[scale])]


def basin_runs(setting: Setting) -> Iterator[Node]:
    return bases.basins(setting, BASINS[setting.scale])


def law_runs(setting: Setting) -> Iterator[Node]:
    for name in NAMES:
        for model in models(name, setting.scale):
            for seed in setting.of(LAW_SEEDS):
                width = float(model.factors["width"])
                yield Node(setting.spec(seed, width, parametrization=name), model)


def predicted(sizes: Sequence[float], losses: Sequence[float], at: npt.ArrayLike) -> Array:
    """L(at) of the power law through these models, by least squares; nan where they follow none."""
    points = {"x": np.asarray(sizes) / 1e6, "loss": np.asarray(losses)}
    found = fit(get_form("power"), points).params
    x = np.asarray(at, dtype=np.float64) / 1e6
    return found["a"] * x ** found["b"] + found["c"] if found else np.full_like(x, np.nan)


def error_percent(parametrization: str, largest: int) -> Quantity:
    """Of the prediction for the ``largest``-th model from the top, which with all that are held
    out is in no fit; positive where the law says too much."""

    def error(values: Sequence[float]) -> float:
        (*sizes, size), (*losses, loss) = np.split(np.array(values), 2)
        return 100 * float(predicted(sizes, losses, size) / loss - 1)

    def of_scale(scale: str) -> Quantity:
        widths = (*FITTED[scale], HELD_OUT[scale][-largest])
        used = [of_width(parametrization, width) for width in widths]
        return combined(error, *(recorded(one, "params") for one in used), *map(final, used))

    return at_scale(of_scale)


def widest_minus_narrower(parametrization: str) -> Quantity:
    """The loss of the widest model minus the lowest of the narrower ones, in nats."""

    def of_scale(scale: str) -> Quantity:
        *narrower, widest = models(parametrization, scale)
        return final(widest) - lowest(*narrower)

    return at_scale(of_scale)


def draw_law(axis: Axes, store: Store, parametrization: str) -> None:
    scale = store.study["scale"]
    shown, fitted = models(parametrization, scale), len(FITTED[scale])
    sizes = [recorded(model, "params")(store).value for model in shown]
    means = [final(model)(store).value for model in shown]
    grid = np.geomspace(sizes[0], sizes[-1], 100)
    line = predicted(sizes[:fitted], means[:fitted], grid)
    axis.plot(grid, line, color=style.GREY, ls="--", label="fitted to the circles")
    for model, size in zip(shown, sizes, strict=True):
        losses = list(finals(store.runs, model).values())
        axis.plot([size] * len(losses), losses, ".", color=style.FAINT, ms=3)
    axis.plot(sizes[:fitted], means[:fitted], "o", color=style.OKABE_ITO[0], label="fitted")
    held_out = sizes[fitted:], means[fitted:]
    axis.plot(*held_out, "*", ms=11, color=style.OKABE_ITO[1], label="held out")
    axis.set(xscale="log", xlabel="parameters", ylabel=arms.FINAL, title=NAMES[parametrization])
    style.flops_axis(axis.xaxis)
    if parametrization == "mup":
        axis.legend()


def draw_errors(axis: Axes, store: Store) -> None:
    line_styles, found = {}, []
    held_out = HELD_OUT[store.study["scale"]]
    for (name, shown), colour in zip(NAMES.items(), style.OKABE_ITO, strict=False):
        for largest in range(len(held_out), 0, -1):
            size = recorded(of_width(name, held_out[-largest]), "params")(store).value
            found.append(error_percent(name, largest)(store))
            label = f"{shown}, {size / 1e6:.3g} M parameters: {found[-1].value:+.2f} %"
            line_styles[label] = style.LineStyle(colour, "o" if name == "mup" else "s")
    arms.dots(axis, list(line_styles), found, line_styles)
    axis.axvline(0, color=style.GREY, lw=0.9)
    axis.set_xlabel("predicted loss over the real one, minus 1 (%)")


BASINS_AT = "section 3, figure 2"
AT_1024 = "muScaling's table, width 1024: 3.1890 for 3.1797"
AT_3072 = "muScaling's table, width 3072: 3.0369 for 3.0425"
WITHOUT_MUP = "nanoLM's series without muP: 4.29, then 4.31 at the widest"
M1 = (
    rule("basins-mup", BASINS_AT, bases.drift("mup").within(-0.2, 0.2)).decides(
        "under muP all widths have their lowest loss in one basin of learning rates",
        "drift of the best rate under muP, log2 per doubling of width",
    ),
    rule("basins-sp", BASINS_AT, bases.drift("sp") < -0.2).decides(
        "under SP the basin moves to lower rates as width grows",
        "drift of the best rate under SP, log2 per doubling of width",
    ),
)
M2 = (
    rule("predicts-next", AT_1024, error_percent("mup", 2).within(-0.5, 0.5)).decides(
        "the loss of a model 1.3 times wider than all fitted is predicted to 0.3 %",
        "error of the prediction for the first held-out width under muP, %",
    ),
    rule("predicts-largest", AT_3072, error_percent("mup", 1).within(-0.5, 0.5)).decides(
        "that of a model over three times wider is predicted to 0.2 %",
        "error of the prediction for the widest model under muP, %",
    ),
    rule("sp-not-monotone", WITHOUT_MUP, widest_minus_narrower("sp") > 0).decides(
        "without muP the losses at one rate do not fall with size",
        "loss of the widest model minus the lowest of the narrower under SP, nats",
    ),
)
PAPER = Paper(
    name="nanolm",
    arxiv="2304.06875",
    title="nanoLM: an Affordable LLM Pre-training Benchmark via Accurate Loss Prediction",
    summary="the loss of a large model predicted from small ones, under muP and SP",
    bases=bases.scales(paper_scale),
    corpora=bases.one_text(C4),
    figures={
        "M1": bases.basin_figure(basin_runs, *M1),
        "M2": FigureOf(law_runs, arms.for_each(draw_law, NAMES, share_y=True), M2).shows(
            "Loss against model size, and a power law through the small models",
            "Dots are seeds, circles their means, to which the dashed law a N^b + c is fitted; the "
            "stars were held out. Left under muP, right under SP, at one base learning rate.",
        ),
        "M3": FigureOf(law_runs, arms.row(draw_errors)).shows(
            "Errors of the predictions, with and without μP",
            "Of the laws of the figure before, at the models held out, with 95 % intervals over "
            "seeds.",
        ),
    },
    untestable=(
        no_rule("52B", "abstract and table 3").decides(
            "the loss of a 52B model is predicted within 0.8 % at 14 % of one training run",
            "52B parameters; no model of that size is trained here",
        ),
    ),
)
