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

from collections.abc import Iterator
from itertools import pairwise

from mugrow.analysis.measure.claims import no_rule, rule
from mugrow.analysis.measure.measured import factor_table
from mugrow.analysis.measure.quantity import Quantity, by_seed, chosen, highest
from mugrow.analysis.read.store import Store
from mugrow.bench.spec import ModelSpec
from mugrow.sweeps.graph import Node
from mugrow.sweeps.paper import Paper, Setting, Text
from mugrow.sweeps.recipes.papers import bases

PAPER_WIDTHS = (1, 2, 4, 8, 16, 32, 64)
WIKITEXT = Text("hf:Salesforce/wikitext:wikitext-2-v1", "hf:gpt2", 65536, vocab_size=50257)

# twice the steps that ``bases.basin`` takes of it
paper_scale = bases.transferred(
    ModelSpec(width=128, depth=2, head_size=64, context=256),
    batch_sequences=32, steps=2 * 10_000, log_every=20,
)  # fmt: skip


def runs(setting: Setting) -> Iterator[Node]:
    if setting.scale == "paper":
        return bases.basins(setting, PAPER_WIDTHS, seeds=(0,))
    return bases.basins(setting, bases.BASIN_WIDTHS[setting.scale])


def by_width(store: Store, parametrization: str) -> dict[float, list[Quantity]]:
    """Final losses at every width, narrow to wide, by log2 of the rate over the narrowest's best;
    nan where a run diverged."""
    table = factor_table(store.runs).assign(
        seed=store.runs["seed"].astype(int), loss=store.runs["final_val_loss"].astype(float)
    )
    selected = table[table["parametrization"] == parametrization]
    narrowest = selected[selected["width"] == selected["width"].min()]
    best = float(narrowest.groupby("log2_lr")["loss"].mean().idxmin())
    found: dict[float, list[Quantity]] = {}
    for _, rows in selected.groupby(["log2_lr", "width"]):
        away = float(rows["log2_lr"].iloc[0]) - best
        losses = dict(zip(rows["seed"], rows["loss"], strict=True))
        found.setdefault(away, []).append(by_seed(losses))
    return found


def widest_gain(store: Store, parametrization: str = "sp") -> Quantity:
    *_, narrower, widest = by_width(store, parametrization)[0]
    return widest - narrower


def worst_step(store: Store) -> Quantity:
    near = (losses for away, losses in by_width(store, "mup").items() if abs(away) <= 1)
    return highest(*(wide - narrow for losses in near for narrow, wide in pairwise(losses)))


CLAIMS = (
    rule("sp-drifts", "figure 1, left", bases.drift("sp") < -0.2).decides(
        "under SP the optimal learning rate is not stable as width grows",
        "drift of the best rate under SP, log2 per doubling of width",
    ),
    rule("mup-stays", "figure 1, right", bases.drift("mup").within(-0.2, 0.2)).decides(
        "under muP the optimal learning rate is stable as width grows",
        "drift of the best rate under muP, log2 per doubling of width",
    ),
    rule("sp-wider-worse", "figure 1, left", chosen(widest_gain) > 0).decides(
        "under SP a wider network can be worse at the narrow one's best rate",
        "loss of the widest minus one half as wide under SP, at the narrowest's best rate, nats",
    ),
    rule("mup-wider-better", "figure 1, right", chosen(worst_step) < 0).decides(
        "under muP the wider network is the better at the same learning rate",
        "largest loss minus the next narrower's under muP, over all widths and rates within a "
        "factor of two of the narrowest's best, nats",
    ),
)

PAPER = Paper(
    name="mutransfer",
    arxiv="2203.03466",
    title="Tensor Programs V: Tuning Large Neural Networks via Zero-Shot Hyperparameter Transfer",
    summary="loss against learning rate at many widths, under SP and under muP",
    bases=bases.scales(paper_scale),
    corpora=bases.one_text(WIKITEXT),
    figures={"1": bases.basin_figure(runs, *CLAIMS)},
    untestable=(
        no_rule("gpt3", "abstract").decides(
            "transfer to GPT-3 6.7B beats the published model, tuned at 7 % of its cost",
            "6.7B parameters; no model of that size is trained here",
        ),
        no_rule("bert", "abstract").decides(
            "BERT-large tuned by transfer from 13M parameters beats the published numbers",
            "no masked language models here",
        ),
    ),
)
