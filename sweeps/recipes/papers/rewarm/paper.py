"""Continual pre-training: how to (re)warm your model? (arXiv 2308.04014)

    mugrow reproduce rewarm --corpus novels=PATH

A model is trained on one text, *upstream*, while its learning rate falls to a tenth; then it goes
on with another, *downstream*. Its rate can stay where it is, or be *re-warmed*: rise to its highest
again and fall again. Re-warming costs at first, and unlearns more of the upstream text; in the long
run it learns more of the downstream one. Here the texts are English novels and Python sources, in
both directions.

PATH is a file or folder of novels as plain text; the ELTeC collection has a hundred,
https://github.com/COST-ELTeC/ELTeC-eng. Python's sources are built in.

Cost: at ``cpu`` 180 runs of 20M tokens in all, 5 minutes on two cores; at ``gpu`` 2e15 FLOPs, about
3 minutes on one large GPU; at ``paper``, 410M parameters and 300B tokens up- and downstream,
7e22 FLOPs.
Expected: re-warmed below scratch and below the constant rate downstream; warm-up length within half
a percent. Novels are so far from code that the downstream loss falls from the first step: what
re-warming itself raises shows on the same text.

Choices. The paper's corpora are both web text, ours share little but letters. Its warm-ups are 0 to
2 % of the steps; at a few hundred they are 0 to 10 %, the same multiples of the pre-training's. The
optimizer's moments are carried. Rates fall to a tenth of their own highest. Downstream has as many
tokens as upstream. The paper's earlier checkpoints are left out. At ``paper``, ``novels`` is the
Pile and ``code`` SlimPajama. Five seeds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from mugrow.analysis.measure.claims import Claim
from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec
from mugrow.sweeps.evaluate import Judged
from mugrow.sweeps.graph import CARRY, Node, continued, grown
from mugrow.sweeps.paper import Paper, PaperFigure, Scale, Setting, Text
from mugrow.sweeps.plan import SOURCE_DATA_SEEDS
from mugrow.sweeps.recipes.papers import bases
from mugrow.sweeps.recipes.papers.rewarm import claims, figures
from mugrow.sweeps.recipes.papers.rewarm.claims import (
    DIRECTIONS,
    LENGTHS,
    LOW,
    RATES,
    Direction,
    again,
    constant,
    rewarmed,
    scratch,
    trained,
)

SEEDS = range(5)
STOPS = (0.05, 0.1, 0.25, 0.5, 1)  # of the steps, where the upstream loss is evaluated
NOVELS = Text(
    None,
    vocab_size=256,
    wanted="novels in English as plain text, for one the ELTeC collection "
    "(https://github.com/COST-ELTeC/ELTeC-eng),",
)
CODE = Text("stdlib")
PILE = Text("hf:monology/pile-uncopyrighted", "hf:EleutherAI/pythia-410m", 2**20, 50_277)
SLIMPAJAMA = Text("hf:cerebras/SlimPajama-627B", PILE.tokenizer, PILE.val_tokens, PILE.vocab_size)
CORPORA: Mapping[str, Mapping[Scale, Text]] = {
    "novels": {"cpu": NOVELS, "gpu": NOVELS, "paper": PILE},
    "code": {"cpu": CODE, "gpu": CODE, "paper": SLIMPAJAMA},
}


def paper_scale(data: DataSpec, vocabulary: int) -> RunSpec:
    """Pythia 410M: 24 layers of width 1024, and 143,000 steps of 1024 x 2048 tokens."""
    model = ModelSpec(width=1024, depth=24, head_size=64, context=2048, positions="rope",
                      vocab_size=vocabulary)  # fmt: skip
    return RunSpec(
        model=model,
        base=model,
        parametrization="sp",
        hyper=HyperSpec(lr=3e-4, init_std=0.02),
        schedule=ScheduleSpec(warmup=0.01),
        data=data,
        batch_sequences=1024,
        steps=143_000,
        seed=0,
        data_seed=0,
        log_every=1430,
    )


def run_on(setting: Setting, text: str, seed: int) -> RunSpec:
    """A whole run on a text: warmed up, then a cosine to a tenth."""
    run = setting.run
    schedule = ScheduleSpec(kind="cosine", warmup=run.schedule.warmup, final=LOW)
    return replace(run, schedule=schedule, data=setting.data[text], seed=seed, data_seed=seed)


def pretrained(setting: Setting, text: str, seed: int) -> Node:
    run = run_on(setting, text, seed)
    return Node(replace(run, data_seed=seed + SOURCE_DATA_SEEDS), trained(text))


def segments(source: Node, run: RunSpec, arm: str, stops: Sequence[float] = STOPS) -> list[Node]:
    """``run`` from the weights and moments of ``source``, in segments that end at ``stops``."""
    first, *others = (round(share * run.steps) for share in stops)
    nodes = [grown(source, replace(run, stop_step=first), arm, "continue", CARRY)]
    for stop in others:
        nodes.append(continued(nodes[-1], arm, stop_step=stop))
    return nodes


def adapted(setting: Setting, way: Direction, seed: int) -> list[Node]:
    """The segments of a model pre-trained upstream and re-warmed downstream."""
    source = pretrained(setting, way[0], seed)
    return segments(source, run_on(setting, way[1], seed), rewarmed(way))


def varied(setting: Setting, way: Direction, length: float, rate: float) -> Iterator[Node]:
    """Re-warmed over another length or to another rate, in one piece."""
    for seed in SEEDS:
        if (length, rate) == (1, 1):
            yield from adapted(setting, way, seed)
            continue
        run = run_on(setting, way[1], seed)
        run = replace(
            run,
            hyper=replace(run.hyper, lr=rate * run.hyper.lr),
            schedule=replace(run.schedule, warmup=length * run.schedule.warmup),
        )
        source = pretrained(setting, way[0], seed)
        yield from segments(source, run, rewarmed(way, length, rate), (1,))


def unwarmed(setting: Setting, way: Direction) -> Iterator[Node]:
    """Constant where the pre-training's rate ended."""
    for seed in SEEDS:
        run = run_on(setting, way[1], seed)
        run = replace(
            run,
            hyper=replace(run.hyper, lr=LOW * run.hyper.lr),
            schedule=ScheduleSpec(kind="constant", warmup=0),
        )
        yield from segments(pretrained(setting, way[0], seed), run, constant(way))


def shift_runs(setting: Setting) -> Iterator[Node]:
    for way in DIRECTIONS:
        yield from varied(setting, way, 1, 1)
        yield from unwarmed(setting, way)
        yield from (Node(run_on(setting, way[1], seed), scratch(way[1])) for seed in SEEDS)


def length_runs(setting: Setting) -> Iterator[Node]:
    for way in DIRECTIONS:
        for length in LENGTHS:
            yield from varied(setting, way, length, 1)


def rate_runs(setting: Setting) -> Iterator[Node]:
    yield from shift_runs(setting)
    for way in DIRECTIONS:
        for rate in RATES:
            yield from varied(setting, way, 1, rate)


def same_runs(setting: Setting) -> Iterator[Node]:
    for text, _ in DIRECTIONS:
        for seed in SEEDS:
            source = pretrained(setting, text, seed)
            yield from segments(source, run_on(setting, text, seed), again(text), (1,))


def on_upstream(nodes: Iterable[Node]) -> Iterator[Judged]:
    """What is left of the upstream text in those of the runs that had one."""
    for node in nodes:
        if node.source:
            yield Judged(node.arm, (node,), node.line[0].spec.data)


PAPER = Paper(
    name="rewarm",
    arxiv="2308.04014",
    title="Continual Pre-Training of Large Language Models: How to (re)warm your model?",
    summary="a second corpus after the first: warm the learning rate up again, how long, how high",
    bases={"cpu": bases.cpu, "gpu": bases.gpu, "paper": paper_scale},
    corpora=CORPORA,
    figures={
        "R1": PaperFigure(
            "Going on with another text, re-warmed or not",
            "Validation loss on the downstream text (left) and what is left of the upstream one "
            "(right), novels first above, code first below. Means with the range of the seeds. "
            "From scratch the curves come from above the panel.",
            shift_runs,
            figures.shift,
            tuple(claims.shift_claims()),
            lambda setting: on_upstream(shift_runs(setting)),
        ),
        "R2": PaperFigure(
            "How long to warm up",
            "Final loss against that without warm-up, paired by seed, with intervals. Grey is half "
            "a percent.",
            length_runs,
            figures.lengths,
            tuple(claims.length_claims()),
            lambda setting: on_upstream(length_runs(setting)),
        ),
        "R3": PaperFigure(
            "How high to warm up: what is learned against what is forgotten",
            "Final losses for highest rates as multiples of the pre-training’s. Dots are seeds. "
            "Left is learned, up is forgotten.",
            rate_runs,
            figures.rates,
            tuple(claims.rate_claims()),
            lambda setting: on_upstream(rate_runs(setting)),
        ),
        "R4": PaperFigure(
            "Re-warming on the same text",
            "Nothing shifts but the rate, on batches not seen before.",
            same_runs,
            figures.same,
            tuple(claims.same_claims()),
        ),
    },
    untestable=(
        Claim(
            "at-410M",
            "all of it at 410M parameters, after 300B tokens of the Pile, on 297B of SlimPajama",
            "abstract",
            untestable="neither the size nor the tokens are within reach; the paper’s scale "
            "plans them",
        ),
    ),
)
