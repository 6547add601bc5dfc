"""A shift of text, which several papers study: trained *upstream*, a model goes on *downstream*.

It is pre-trained on one text while its rate falls to a tenth, and then *re-warmed* on another: the
rate rises and falls again. The weights are kept on the way, so the run is one of *segments*, arms
of one name that differ in the factor ``until``, the share of the steps that a segment ends at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mugrow.bench.arm import ArmName
from mugrow.bench.spec import RunSpec, ScheduleSpec
from mugrow.sweeps.budgets import CARRY
from mugrow.sweeps.graph import Node, continued, grown
from mugrow.sweeps.paper import Evaluations, Runs, Scale, Setting, Text, source_of
from mugrow.sweeps.recipes.papers import bases

Direction = tuple[str, str]  # upstream, downstream
DIRECTIONS: tuple[Direction, ...] = (("novels", "code"), ("code", "novels"))
SEEDS = dict.fromkeys(("cpu", "gpu", "paper"), range(5))
LOW = 0.1  # what a decay ends at, over its highest rate
STOPS = (0.05, 0.1, 0.25, 0.5, 1)  # of the steps, where weights are kept
ELTEC = "https://github.com/COST-ELTeC/ELTeC-eng"
NOVELS = Text(None, vocab_size=256,
              wanted=f"novels in English as plain text, for one the ELTeC collection ({ELTEC}),",
              )  # fmt: skip
CODE = Text("stdlib")


def corpora(novels: Text, code: Text) -> Mapping[str, Mapping[Scale, Text]]:
    """Novels and code at the small scales, beside a paper's own texts in their places."""
    return {
        "novels": {"cpu": NOVELS, "gpu": NOVELS, "paper": novels},
        "code": {"cpu": CODE, "gpu": CODE, "paper": code},
    }


def trained(text: str) -> ArmName:
    """The arm pre-trained on a text."""
    return ArmName(f"{text}: pre-trained", upstream=text)


def named(way: Direction, what: str, **factors: float | str) -> ArmName:
    return ArmName(f"{way[0]} to {way[1]}: {what}", upstream=way[0], downstream=way[1], **factors)


def rewarmed(way: Direction, length: float = 1, rate: float = 1) -> ArmName:
    """The arm re-warmed over ``length`` times the base run's warm-up to ``rate`` times its rate."""
    text = f"{length:g}× warm-up, {rate:g}× rate"
    return named(way, text, warmup=length, rate=rate, until=1)


def segment(arm: ArmName, until: float) -> ArmName:
    """Of an arm, what ends at a share of the steps; the whole of it ends at 1."""
    return ArmName(str(arm), **{**arm.factors, "until": until})


def run_on(setting: Setting, text: str, seed: int) -> RunSpec:
    """A whole run on a text: warmed up, then a cosine to a tenth."""
    schedule = ScheduleSpec(kind="cosine", warmup=setting.run.schedule.warmup, final=LOW)
    return setting.spec(seed, schedule=schedule, data=setting.data[text])


def pretrained(setting: Setting, text: str, seed: int) -> Node:
    return replace(source_of(run_on(setting, text, seed)), arm=trained(text))


def adapted(
    setting: Setting,
    seed: int,
    way: Direction,
    arm: ArmName | None = None,
    rate: float = 1,
    schedule: ScheduleSpec | None = None,
    stops: Sequence[float] = STOPS,
) -> list[Node]:
    """A model pre-trained upstream, and its weights and moments trained on downstream: re-warmed,
    or as an ``arm`` of ``rate`` times the base run's and another schedule; in segments that end at
    ``stops``."""
    run, arm = run_on(setting, way[1], seed), arm or rewarmed(way)
    run = replace(bases.at_rate(run, rate), schedule=schedule or run.schedule)
    source, nodes = pretrained(setting, way[0], seed), list[Node]()
    for until in stops:
        stop, name = round(until * run.steps), segment(arm, until)
        if nodes:
            nodes.append(continued(nodes[-1], name, stop_step=stop))
        else:
            nodes.append(grown(source, replace(run, stop_step=stop), name, "continue", CARRY))
    return nodes


def runs_of(evaluations: Evaluations) -> Runs:
    """The runs of a figure that is drawn from these alone."""
    return lambda setting: (node for judged in evaluations(setting) for node in judged.nodes)
