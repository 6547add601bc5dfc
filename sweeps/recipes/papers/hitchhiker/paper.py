"""A Hitchhiker's Guide to Scaling Law Estimation (arXiv 2410.11840).

    mugrow reproduce hitchhiker

A law fitted to a family's small models predicts the largest: how well depends on which checkpoints
are fitted, how many models, how large and how far trained. The score is the mean absolute relative
error (ARE) over the last 30 % of the largest model's tokens.

Cost: at ``cpu`` 12 minutes on two shared cores; at ``gpu`` about 10 minutes on one large GPU; at
``paper`` the Pythia family up to 6.9B, one of those it studies, about 1e23 FLOPs.
Expected: errors of a few percent, far less with checkpoints than without.

Choices. The paper trains nothing: it fits what others published. Here the family is our own, one
cosine run for each size and horizon, since most of its families decay. All horizons give final
losses; checkpoints are those of the longest runs. Fits are least squares on log loss, of mean
losses over seeds. Our target is about twice as large as the largest model fitted, and intervals are
over seeds, where theirs are over families; so what the paper found across families is one draw
here. ``mugrow ladder`` asks the same of published tables, with intervals over families.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mugrow.analysis.figures import arms, maps, style
from mugrow.analysis.laws import extrapolation as law
from mugrow.analysis.measure.claims import no_rule, rule
from mugrow.analysis.measure.quantity import Quantity, of_rows
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Array
from mugrow.bench.arm import ArmName
from mugrow.bench.spec import HyperSpec, ModelSpec, RunSpec, ScheduleSpec
from mugrow.sweeps.graph import Node
from mugrow.sweeps.paper import FigureOf, Paper, Setting, Text, each_seed
from mugrow.sweeps.recipes.papers import bases

ARM = "family"
WIDTHS = (1, 1.5, 2, 3, 4, 6)  # over the base's; the last is the target
PYTHIA = {  # width: depth, head size and rate by size
    "70M": (512, 6, 64, 1e-3), "160M": (768, 12, 64, 6e-4), "410M": (1024, 24, 64, 3e-4),
    "1B": (2048, 16, 256, 3e-4), "1.4B": (2048, 24, 128, 2e-4), "2.8B": (2560, 32, 80, 1.6e-4),
    "6.9B": (4096, 32, 128, 1.2e-4),
}  # fmt: skip
HORIZONS = (0.25, 0.5, 1.0)  # of the run's steps
SEEDS = {"cpu": range(3), "gpu": range(3), "paper": range(3)}
TRAINED = (0.15, 0.2, 0.3, 0.5, 0.7, 1.0)  # how much of each small model's training is fitted
PILE = Text("hf:EleutherAI/the_pile_deduplicated", "hf:EleutherAI/pythia-70m")
COSINE = ScheduleSpec(kind="cosine", warmup=0.05, final=0.1)

# Pythia's smallest: 143,000 steps of 1024 x 2048 tokens
paper_scale = bases.published(
    ModelSpec(width=512, depth=6, head_size=64, context=2048, positions="rope"),
    lr=1e-3, hyper=HyperSpec(lr=1e-3, init_std=0.02, weight_decay=0.01),
    schedule=replace(COSINE, warmup=0.01), batch_sequences=1024, steps=143_000, log_every=1000,
)  # fmt: skip


def family(setting: Setting, seed: int) -> list[RunSpec]:
    """A run for each size."""
    if setting.scale != "paper":
        return [setting.spec(seed, width) for width in WIDTHS]
    run = setting.spec(seed)
    return [
        replace(run, model=replace(run.model, width=width, depth=depth, head_size=head_size),
                hyper=replace(run.hyper, lr=lr))
        for width, depth, head_size, lr in PYTHIA.values()
    ]  # fmt: skip


def every_size(setting: Setting, seed: int) -> Iterator[Node]:
    for spec, horizon in product(family(setting, seed), HORIZONS):
        arm = ArmName(ARM, width=spec.model.width, depth=spec.model.depth, horizon=horizon)
        yield Node(replace(spec, steps=round(spec.steps * horizon)), arm)


runs = each_seed(SEEDS, every_size)


def error(rule: str) -> Quantity:
    """ARE in percent of a rule."""
    return law.ErrorOfRule(ARM, law.RULES[rule])


def spread(ends: pd.DataFrame) -> float:
    """Of one model's final losses over three seeds, in percent: the largest of any size and
    horizon, mean over all threes of seeds. A range grows with the number of seeds, so that of all
    would be another number at every look."""
    table = ends.pivot_table(index=["n", "horizon"], columns="seed", values="loss")
    threes = list(combinations(range(table.shape[1]), min(3, table.shape[1])))
    losses = np.ma.masked_invalid(table.to_numpy())[:, threes]  # (models, threes, 3)
    ranges = (losses.max(2) - losses.min(2)) / losses.mean(2)
    return 100 * float(ranges.max(0).mean())


seed_spread = of_rows(lambda store: law.finals(law.checkpoints(store, ARM)), spread)


def family_panel(axis: Axes, store: Store) -> None:
    mean = law.means(law.checkpoints(store, ARM))
    for (size, _), colour in style.shades((int(n), 0) for n in set(mean["n"])).items():
        rows = mean[mean["n"] == size]
        path, ends = law.between(rows, 0.0), law.finals(rows)
        axis.plot(path["d"], path["loss"], color=colour, label=f"{size / 1e6:.3g} M")
        axis.plot(ends["d"], ends["loss"], "o", color=colour)
    axis.axvspan(0, law.DROPPED * mean["d"].max(), color=style.FAINT, alpha=0.4, lw=0)
    axis.set(xscale="log", xlabel="tokens trained on", ylabel=arms.LOSS)
    axis.set_xlim(mean["d"].min(), 1.1 * mean["d"].max())
    style.flops_axis(axis.xaxis)
    axis.legend(title="parameters")


def errors_panel(axis: Axes, store: Store) -> None:
    line_styles = dict.fromkeys(law.RULES, style.LineStyle(style.OKABE_ITO[0], "o"))
    found = {rule: error(rule) for rule in law.RULES}
    arms.DotPanel(found, "ARE of the largest model’s loss (%)", line_styles)(axis, store)
    axis.axvline(4, color=style.GREY, ls="--", lw=0.9)


def errors(store: Store) -> tuple[list[int], Array]:
    """Numbers of models, and the errors (numbers, parts of training) with that many smallest."""
    mean = law.means(law.checkpoints(store, ARM))
    sizes, target = law.sizes(mean), law.target(mean)
    counts = list(range(law.FEWEST, len(sizes) + 1))
    small = [mean[mean["n"].isin(sizes[:count])] for count in counts]
    fitted = [[law.between(rows, last=part) for part in TRAINED] for rows in small]
    return counts, np.array([[law.error_percent(one, target) for one in row] for row in fitted])


def map_panel(axis: Axes, store: Store) -> None:
    counts, found = errors(store)
    table = pd.DataFrame(found, counts, [f"{100 * part:g}" for part in TRAINED])
    shown = maps.draw_table(axis, table, in_words, cmap="viridis_r", vmin=0, vmax=20)
    axis.set_xlabel("training of each model that is fitted (%)")
    axis.set_ylabel("models fitted, the smallest first")
    axis.figure.colorbar(shown, ax=axis, label="ARE (%), 20 or more", shrink=0.9)


def in_words(percent: float) -> str:
    return f"{percent:.1f}" if np.isfinite(percent) else "no fit"


ALL, FINALS, SMALLEST = "all checkpoints", "final losses alone", "of the 3 smallest models"
USUAL = error("checkpoints after 10 %")
OVER = "ARE of {} minus that of checkpoints after 10 %, percentage points"
WHERE = "the paper's findings; the section is not at hand"
ERRORS = "the paper's discussion of what error to expect"
CLAIMS = (
    rule("reachable", WHERE, USUAL < 4).decides(
        "an error of 4 % can be reached",
        "ARE from all small models' checkpoints after 10 %",
    ),
    rule("checkpoints-help", WHERE, error(FINALS) - USUAL > 0).decides(
        "intermediate checkpoints improve on final losses alone",
        OVER.format(FINALS),
    ),
    rule("drop-the-start", WHERE, error(ALL) - USUAL > 0).decides(
        "the first tenth of training should be dropped",
        OVER.format(ALL),
    ),
    rule("larger-is-better", WHERE, error(SMALLEST) - error("of the 3 largest models") > 0).decides(
        "models nearer the target's size predict it better",
        "ARE from the 3 smallest models minus that from the 3 largest, points",
    ),
    rule("more-models", WHERE, error(SMALLEST) - USUAL > 0).decides(
        "five models are better than three",
        OVER.format("the 3 smallest models"),
    ),
    rule("own-beginning", WHERE, error("target’s own 10 to 30 %") < 4).decides(
        "30 % of its training predict the rest of the target's",
        "ARE from the target's own first 30 %",
    ),
    rule("beats-baseline", WHERE, error("as good as the best fitted") - USUAL > 0).decides(
        "a law beats saying 'as good as the best small model'",
        "ARE of the baseline minus the law's, percentage points",
    ),
)
SPREAD = rule("seed-spread", ERRORS, seed_spread < 3.5).decides(
    "seeds move a model's loss by up to 3.5 %",
    "largest spread of a final loss over three seeds, %",
)
UNTESTABLE = (
    no_rule("parameters-transfer", WHERE).decides(
        "a family's exponents serve another, of which one run is then enough",
        "one family is trained here, and one would be no sample",
    ),
    no_rule("cross-validation", WHERE).decides(
        "cross-validation among small models does not tell bad laws from good ones",
        "a rate over many families",
    ),
    no_rule("averages", WHERE).decides(
        "the baseline errs by 18 % on average, laws by 4 to 10 %",
        "averages over many published families, whose losses are not at hand",
    ),
)

PAPER = Paper(
    name="hitchhiker",
    arxiv="2410.11840",
    title="A Hitchhiker's Guide to Scaling Law Estimation",
    summary="which checkpoints and how many models a law needs to predict the largest",
    bases=bases.scales(
        paper_scale,
        cpu={"steps": 800, "log_every": 40, "schedule": COSINE},
        gpu={"steps": 1600, "log_every": 40, "schedule": COSINE},
    ),
    corpora=bases.one_text(PILE),
    figures={
        "C1": FigureOf(runs, arms.row(family_panel), (SPREAD,)).shows(
            "The family: losses along training at each size",
            "Lines are the longest runs, whose checkpoints are fitted; circles are final losses "
            "at each horizon; shaded, the first tenth, which is dropped. Means over seeds.",
        ),
        "C2": FigureOf(runs, arms.row(errors_panel), CLAIMS).shows(
            "Error of the prediction, by what is fitted",
            "Over the last 30 % of the largest model's tokens; dashed: 4 %, the paper's best.",
        ),
        "C3": FigureOf(runs, arms.row(map_panel)).shows(
            "Error against the number of models and how far each was trained",
            "Each cell is one fit to the smallest models' checkpoints, from 10 % of their "
            "training to the part given.",
        ),
    },
    untestable=UNTESTABLE,
)
