"""A paper as a study: its figures, each with the runs it is drawn from and the claims it decides.

A *setting* is one of three scales of the same comparison: ``cpu`` for two cores, ``gpu`` for one
large accelerator, ``paper`` for the paper's own shapes, data and budgets, which is there to be
priced and to be run by those who can. A claim's rule does not depend on the scale; what the scale
cannot separate comes out inconclusive.

Runs live in one pool that all papers share, so what two papers compare against is trained once.
"""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from mugrow.bench.arm import ArmName
from mugrow.bench.schedule import cooldown_start
from mugrow.bench.spec import DataSpec, RunSpec, UserError, unknown
from mugrow.sweeps.study import check_folder_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mugrow.analysis.measure.claims import Claim, JudgedClaim
    from mugrow.analysis.measure.sequential import Looks
    from mugrow.analysis.read.store import Store
    from mugrow.sweeps.evaluate import Judged
    from mugrow.sweeps.execute import Experiment
    from mugrow.sweeps.graph import Node
    from mugrow.sweeps.plan import Plan
    from mugrow.sweeps.stack_size import Gpus

Scale = Literal["cpu", "gpu", "paper"]
Base = Callable[[DataSpec, int], RunSpec]  # from a corpus and its vocabulary


@dataclass(frozen=True)
class Text:
    """A corpus by name or path, its tokenizer, and the tokens of one validation: few by default,
    since small models train through as many in seconds. ``vocab_size`` lets a run be priced
    without reading the corpus. ``None`` is a corpus that users give; ``wanted`` says which."""

    corpus: str | None
    tokenizer: str = "bytes"
    val_tokens: int = 8192
    vocab_size: int | None = None
    wanted: str = ""


@dataclass(frozen=True)
class Setting:
    """What a paper's runs are made from: ``run`` is the one that all others vary, on the first of
    its corpora; ``data`` are all of them, by the recipe's own names. ``seeds`` is how many there
    are at least, where the recipe has fewer."""

    scale: Scale
    run: RunSpec
    data: Mapping[str, DataSpec]
    seeds: int = 0

    def of(self, seeds: Mapping[str, Iterable[int]] | Iterable[int]) -> Iterable[int]:
        """The seeds of a figure: the recipe's, which may be by scale, or the first ``seeds`` where
        that is more."""
        given = list(seeds[self.scale] if isinstance(seeds, Mapping) else seeds)
        return given if len(given) >= self.seeds else range(self.seeds)

    def spec(self, seed: int, width: float = 1, depth: float = 1, **fields: Any) -> RunSpec:
        """The base run of another seed, at multiples of its width and depth; ``fields`` replace
        others of its."""
        model = self.run.model
        larger = replace(model, width=round(model.width * width), depth=round(model.depth * depth))
        given: dict[str, Any] = {"model": larger, "seed": seed, "data_seed": seed}
        return replace(self.run, **(given | fields))


Runs = Callable[[Setting], Iterable["Node"]]
Evaluations = Callable[[Setting], Iterable["Judged"]]


def each_seed(
    seeds: Mapping[str, Iterable[int]] | Iterable[int],
    nodes: Callable[[Setting, int], Iterable["Node"]],
) -> Callable[[Setting], Iterator["Node"]]:
    """The runs of a figure: ``nodes`` for each of the seeds, which may be by scale."""

    def runs(setting: Setting) -> Iterator["Node"]:
        for seed in setting.of(seeds):
            yield from nodes(setting, seed)

    return runs


def source_of(
    target: RunSpec, arm: ArmName | None = None, *, uncooled: bool = False, **fields: Any
) -> "Node":
    """A source for ``target``, from which ``fields`` make it differ: of its seed, on batches of its
    own (``mugrow.sweeps.plan`` says why), and stopped before its cool-down where ``uncooled``."""
    from mugrow.sweeps.graph import Node
    from mugrow.sweeps.plan import SOURCE_DATA_SEEDS

    data_seed = target.data_seed + SOURCE_DATA_SEEDS
    spec = replace(target, **({"data_seed": data_seed} | fields))
    if uncooled:
        spec = replace(spec, stop_step=cooldown_start(spec.schedule, spec.steps))
    return Node(spec, arm or ArmName("source", part="source"))


@dataclass(frozen=True)
class PaperFigure:
    """``runs`` and what is evaluated of them is what it is drawn from; of ``claims``, each is
    decided by these alone."""

    title: str
    caption: str
    runs: Runs
    draw: Callable[["Store"], "Figure"]
    claims: tuple["Claim[Store]", ...] = ()
    evaluations: Evaluations | None = None


@dataclass(frozen=True)
class FigureOf:
    """``PaperFigure`` in two steps, what it is made of and then its words:
    ``FigureOf(runs, draw, claims).shows("Losses", "A point a run.")``."""

    runs: Runs
    draw: Callable[["Store"], "Figure"]
    claims: tuple["Claim[Store]", ...] = ()
    evaluations: Evaluations | None = None

    def shows(self, title: str, caption: str) -> PaperFigure:
        return PaperFigure(title, caption, self.runs, self.draw, self.claims, self.evaluations)


@dataclass(frozen=True)
class Paper:
    """``bases`` are the runs that a setting is made from, of each scale; ``corpora`` the texts by
    the recipe's own name for them, the first of them the one trained on first, and by scale.
    ``untestable`` are claims that no figure here could decide. ``stack_width`` is as a study's; on
    a CPU it is 768 where none is given.

    >>> import mugrow
    >>> from mugrow.sweeps.paper import Text
    >>> from mugrow.sweeps.recipes.papers import bases
    >>> huge = mugrow.Claim("huge", "at 7B too", "table 1", untestable="7B parameters")
    >>> paper = mugrow.Paper(
    ...     name="own", arxiv="0000.00000", title="On growing", summary="two arms",
    ...     bases={"cpu": bases.cpu}, corpora={"text": {"cpu": Text("stdlib")}}, figures={},
    ...     untestable=(huge,),
    ... )
    >>> [claim.name for claim in paper.claims(paper.figures)]
    ['huge']
    """

    name: str
    arxiv: str
    title: str
    summary: str
    bases: Mapping[Scale, Base]
    corpora: Mapping[str, Mapping[Scale, Text]]
    figures: Mapping[str, PaperFigure]
    untestable: tuple["Claim[Store]", ...] = ()
    stack_width: int | None = None

    def __post_init__(self) -> None:
        check_folder_name(self.name)

    def only(self, name: str | None) -> Mapping[str, PaperFigure]:
        """All figures, or the one called ``name``. Raises ``UserError``."""
        if name is None:
            return self.figures
        if name not in self.figures:
            raise unknown(f"figure of {self.name}:", name, self.figures)
        return {name: self.figures[name]}

    def claims(self, figures: Mapping[str, PaperFigure]) -> Iterator["Claim[Store]"]:
        for figure in figures.values():
            yield from figure.claims
        if figures == self.figures:
            yield from self.untestable


def setting(
    paper: Paper, scale: Scale, corpora: Mapping[str, str], *, priced: bool = False
) -> tuple[Setting, dict[str, str]]:
    """A paper's setting, and the path of each corpus by its sha256. ``corpora`` replace the
    recipe's. What is only to be ``priced`` reads none of the recipe's whose vocabulary is known.
    Raises ``UserError`` for an unknown scale or corpus, for one that must be given and is not, and
    where two differ in their vocabulary."""
    if scale not in paper.bases:
        raise unknown(f"scale of {paper.name}:", scale, paper.bases)
    for name in corpora:
        if name not in paper.corpora:
            raise unknown(f"corpus of {paper.name}:", name, paper.corpora)
    texts = {name: by_scale[scale] for name, by_scale in paper.corpora.items()}
    texts |= {
        n: replace(texts[n], corpus=selected, vocab_size=None) for n, selected in corpora.items()
    }
    for name, text in texts.items():
        if text.corpus is None and not priced:
            raise UserError(
                f"corpus {name!r} of {paper.name} is not built in; give {text.wanted} with "
                f"--corpus {name}=PATH"
            )
    pinned = {name: _pinned(text, priced) for name, text in texts.items()}
    data = {name: spec for name, (spec, _) in pinned.items()}
    sizes = {name: size for name, (_, size) in pinned.items()}
    if len(set(sizes.values())) > 1:
        raise UserError(f"the corpora of {paper.name} differ in vocabulary: {sizes}")
    first = next(iter(data))
    run = paper.bases[scale](data[first], sizes[first])
    paths = {data[name].corpus_sha256: text.corpus for name, text in texts.items() if text.corpus}
    return Setting(scale, run, data), paths


def _pinned(text: Text, priced: bool) -> tuple[DataSpec, int]:
    """A text as a run names it, and the size of its vocabulary."""
    from mugrow.bench.data.batches import load, resolve
    from mugrow.sweeps.graph import NOT_READ

    if priced and text.vocab_size is not None:
        unresolved = DataSpec(
            corpus=text.corpus or "not given",
            corpus_sha256=NOT_READ,
            tokenizer=text.tokenizer,
            val_tokens=text.val_tokens,
        )
        return unresolved, text.vocab_size
    assert text.corpus is not None, "without its vocabulary it cannot be priced"
    data = resolve(text.corpus, text.tokenizer, text.val_tokens)
    tokens = load(data, text.corpus)
    if tokens.left_out:
        print(f"corpus {data.corpus}: left out: {tokens.left_out}", file=sys.stderr)
    return data, tokens.vocab_size


SeedsOf = Mapping[str, int]  # how many at least, by figure; the recipe's own where there is none


def judged(
    given: Setting, figures: Mapping[str, PaperFigure], seeds: SeedsOf = MappingProxyType({})
) -> list["Judged"]:
    """What is evaluated for these figures; what several of them ask for, once."""
    asked = (
        figure.evaluations(replace(given, seeds=seeds.get(name, 0)))
        for name, figure in figures.items()
        if figure.evaluations
    )
    return list(dict.fromkeys(one for each in asked for one in each))


def experiment(
    paper: Paper,
    given: Setting,
    figures: Mapping[str, PaperFigure],
    seeds: SeedsOf = MappingProxyType({}),
    looks: "Looks | None" = None,
    gpus: "Gpus | None" = None,
) -> "Experiment":
    """What is run for these figures, on these GPUs if it is. Raises ``UserError`` where a grown run
    cannot be compared with scratch (``mugrow.sweeps.graph.check_comparable``); some figures alone
    may have no scratch."""
    from mugrow.sweeps.execute import Experiment
    from mugrow.sweeps.graph import check_comparable, plan_graph

    nodes = [
        node
        for name, figure in figures.items()
        for node in figure.runs(replace(given, seeds=seeds.get(name, 0)))
    ]
    nodes += [node for one in judged(given, figures, seeds) for node in one.nodes]
    check_comparable(nodes, whole=figures == paper.figures)
    configuration: dict[str, Any] = {
        "name": paper.name,
        "title": paper.title,
        "scale": given.scale,
        "corpora": {name: data.corpus_sha256 for name, data in given.data.items()},
    }
    if looks is not None:
        configuration["looks"] = list(looks.seeds)

    @cache
    def planned() -> "Plan":
        """Whatever has ended: all runs are known."""
        return plan_graph(nodes, paper.stack_width, gpus)

    return Experiment(
        name=paper.name,
        configuration=configuration,
        plan=lambda finished: planned(),
    )


@dataclass(frozen=True)
class ReproducedPaper:
    """What a paper's runs say: the folder of its tables, the page of its report, and its claims,
    each with our number and a verdict."""

    folder: Path
    page: Path
    ledger: "list[JudgedClaim]"


def ledger_of(
    paper: Paper, store: "Store", figures: Mapping[str, PaperFigure]
) -> "list[JudgedClaim]":
    """The claims of these figures judged by a paper's tables, which say at which numbers of seeds
    they were looked at if that was more than once; what is inconclusive, with what it would take.
    """
    rows = verdicts_of(paper, store, figures)
    undecided = {row.claim for row in rows if row.seeds_needed < math.inf}
    prices: dict[str, float] = {}
    for figure in figures.values():
        if mine := undecided.intersection(claim.name for claim in figure.claims):
            prices |= dict.fromkeys(mine, flops_a_seed(paper, store, figure))
    return [
        replace(row, flops_needed=row.seeds_needed * prices[row.claim])
        if row.claim in prices
        else row
        for row in rows
    ]


def verdicts_of(
    paper: Paper, store: "Store", figures: Mapping[str, PaperFigure]
) -> "list[JudgedClaim]":
    """The same without the FLOPs, for which the runs are planned again."""
    from mugrow.analysis.measure.claims import ledger, ledger_of_looks

    claims, looks = paper.claims(figures), looks_of(store.study)
    return ledger_of_looks(claims, store, looks) if looks else ledger(claims, store)


def flops_a_seed(paper: Paper, store: "Store", figure: PaperFigure) -> float:
    """What a seed of the runs that a figure is drawn from has taken to train, sources counted; nan
    where the tables do not say which corpora they are of."""
    if "corpora" not in store.study:
        return math.nan
    given = replace(setting_of(paper, store), seeds=store.runs["seed"].max() + 1)
    planned = {run.spec.run_id for node in figure.runs(given) for run in node.line}
    runs = store.runs[store.runs["run_id"].isin(planned)]
    return float(runs["flops"].sum() / runs["seed"].nunique())


def setting_of(paper: Paper, store: "Store") -> Setting:
    """The setting that a paper's tables were made in, by the hashes of corpora that they have."""
    from mugrow.bench.spec import run_spec_from_json

    firsts = store.runs.drop_duplicates("corpus_sha256")
    specs = {sha: run_spec_from_json(text) for sha, text in
             zip(firsts["corpus_sha256"], firsts["spec"], strict=True)}  # fmt: skip
    scale: Scale = store.study["scale"]
    data = {name: specs[store.study["corpora"][name]].data for name in paper.corpora}
    vocabulary = next(iter(specs.values())).model.vocab_size
    return Setting(scale, paper.bases[scale](next(iter(data.values())), vocabulary), data)


def command_of(study: Mapping[str, Any]) -> str:
    """What reproduces a paper as its configuration says; corpora of one's own are not in it."""
    scale = "" if study["scale"] == "cpu" else f" --scale {study['scale']}"
    looks = " ".join(map(str, study.get("looks", ())))
    return f"mugrow reproduce {study['name']}{scale}" + (f" --looks {looks}" if looks else "")


def looks_of(study: Mapping[str, Any]) -> "Looks | None":
    """The looks that a paper's configuration plans, if it does."""
    from mugrow.analysis.measure.sequential import Looks

    return Looks(tuple(study["looks"])) if "looks" in study else None


def report(paper: Paper, folder: Path, figures: Mapping[str, PaperFigure]) -> ReproducedPaper:
    """Write a paper's figures, its ledger and their page from the tables in ``folder``."""
    from mugrow.analysis.read.store import load
    from mugrow.analysis.report.paper import Drawn, build

    store = load(folder)
    drawn = [
        Drawn(
            name,
            figure.title,
            figure.caption,
            figure.draw,
            tuple(one.name for one in figure.claims),
        )
        for name, figure in figures.items()
    ]
    rows = ledger_of(paper, store, figures)
    page = build(paper.title, paper.arxiv, command_of(store.study), store, drawn, rows, folder)
    return ReproducedPaper(folder, page, rows)
