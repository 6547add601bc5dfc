"""muTransfer: the best learning rate stays as width grows, and wider is better (arXiv 2203.03466).

    mugrow reproduce mutransfer

The paper's first figure: Transformers of several widths, trained with Adam at many learning rates.
Under SP the bowls move to lower rates as width grows, so that a wide model trained at the small
one's best rate can be worse than a narrower one; under muP they stay, and at every rate the wider
model is the better.

Cost: nothing beyond ``nanolm``, whose basins these are, run by run: at ``cpu`` about 15 minutes on
two cores; at the paper's scale, widths 128 to 8192, 2e20 FLOPs.
Expected: both halves of the figure.

Choices. The paper trains on WikiText-2 at widths to 8192; here widths span a factor of 4.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from mugrow.analysis.figures import BOWLS
from mugrow.analysis.measure.claims import Claim
from mugrow.analysis.measure.measured import drift, over_seeds
from mugrow.analysis.read.store import Store
from mugrow.analysis.stats import Interval
from mugrow.bench.spec import DataSpec, ModelSpec, RunSpec
from mugrow.sweeps.graph import Node
from mugrow.sweeps.paper import Paper, PaperFigure, Setting, Text
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.nanolm import paper as nanolm

PAPER_WIDTHS = (1, 2, 4, 8, 16, 32, 64)
WIKITEXT = Text("hf:Salesforce/wikitext:wikitext-2-v1", "hf:gpt2", 65536, vocab_size=50257)


def paper_scale(data: DataSpec, vocabulary: int) -> RunSpec:
    """Width 128 and 2 layers, twice the steps that ``nanolm.basin_runs`` takes of it."""
    model = ModelSpec(width=128, depth=2, head_size=64, context=256, vocab_size=vocabulary)
    run = bases.gpu(data, vocabulary)
    return replace(run, model=model, base=model, batch_sequences=32, steps=2 * 10_000)


def runs(setting: Setting) -> Iterator[Node]:
    if setting.scale != "paper":
        yield from nanolm.basin_runs(setting)
        return
    run = replace(setting.run, steps=round(setting.run.steps * nanolm.BASIN_STEPS))
    for parametrization in nanolm.PARAMETRIZATIONS:
        for times in PAPER_WIDTHS:
            yield from nanolm.basin(run, times, parametrization, seed=0)


def by_width(store: Store, parametrization: str, away: float) -> list[dict[int, float]]:
    """Final losses by seed at every width, narrow to wide, ``away`` log2 from the narrowest's best
    rate."""
    own = store.runs[store.runs["arm"] == f"{parametrization} basins"]
    narrowest = own[own["width"] == own["width"].min()]
    best = float(narrowest.groupby("lr")["final_val_loss"].mean().idxmin())
    at = own[np.isclose(np.log2(own["lr"]), np.log2(best) + away)]
    return [
        dict(zip(rows["seed"].astype(int), rows["final_val_loss"].astype(float), strict=True))
        for _, rows in at.groupby("width")
    ]


def widest_gain(store: Store, parametrization: str) -> Interval:
    """At the narrowest model's best rate, the loss of the widest minus that of one half as wide."""
    losses = by_width(store, parametrization, 0.0)

    def gain(seeds: Sequence[int]) -> float:
        return float(np.mean([losses[-1][seed] - losses[-2][seed] for seed in seeds]))

    return over_seeds(sorted(losses[-1].keys() & losses[-2].keys()), gain)


def worst_step(store: Store, parametrization: str) -> Interval:
    """Over rates up to twice and half the narrowest's best and all widths but the narrowest, the
    largest loss minus that of the next narrower at the same rate."""
    near = (by_width(store, parametrization, away) for away in (-1.0, -0.5, 0.0, 0.5, 1.0))
    every = [losses for losses in near if losses]  # none where a rate was not tried
    seeds = set.intersection(*(set(one) for losses in every for one in losses))

    def worst(drawn: Sequence[int]) -> float:
        means = np.array(
            [[np.mean([one[seed] for seed in drawn]) for one in losses] for losses in every]
        )
        return float(np.diff(means, axis=1).max())

    return over_seeds(sorted(seeds), worst)


PAPER = Paper(
    name="mutransfer",
    arxiv="2203.03466",
    title="Tensor Programs V: Tuning Large Neural Networks via Zero-Shot Hyperparameter Transfer",
    summary="loss against learning rate at many widths, under SP and under muP",
    bases={"cpu": bases.cpu, "gpu": bases.gpu, "paper": paper_scale},
    corpora={"text": {"cpu": Text("stdlib"), "gpu": Text("stdlib"), "paper": WIKITEXT}},
    figures={
        "1": PaperFigure(
            "Loss against learning rate at each width, under muP and SP",
            BOWLS,
            runs,
            nanolm.draw_basins,
            (
                Claim(
                    "sp-drifts",
                    "under SP the optimal learning rate is not stable as width grows",
                    "figure 1, left",
                    "drift of the best rate under SP, log2 per doubling of width",
                    lambda store: drift(store, "sp"),
                    high=-0.2,
                ),
                Claim(
                    "mup-stays",
                    "under muP the optimal learning rate is stable as width grows",
                    "figure 1, right",
                    "drift of the best rate under muP, log2 per doubling of width",
                    lambda store: drift(store, "mup"),
                    low=-0.2,
                    high=0.2,
                ),
                Claim(
                    "sp-wider-worse",
                    "under SP a wider network can be worse at the narrow one's best rate",
                    "figure 1, left",
                    "loss of the widest minus one half as wide under SP, at the narrowest's best "
                    "rate, nats",
                    lambda store: widest_gain(store, "sp"),
                    low=0.0,
                ),
                Claim(
                    "mup-wider-better",
                    "under muP the wider network is the better at the same learning rate",
                    "figure 1, right",
                    "largest loss minus the next narrower's under muP, over all widths and rates "
                    "within a factor of two of the narrowest's best, nats",
                    lambda store: worst_step(store, "mup"),
                    high=0.0,
                ),
            ),
        ),
    },
    untestable=(
        Claim(
            "gpt3",
            "transfer to GPT-3 6.7B beats the published model, tuned at 7 % of its cost",
            "abstract",
            untestable="6.7B parameters; no model of that size is trained here",
        ),
        Claim(
            "bert",
            "BERT-large tuned by transfer from 13M parameters beats the published numbers",
            "abstract",
            untestable="no masked language models here",
        ),
    ),
)
