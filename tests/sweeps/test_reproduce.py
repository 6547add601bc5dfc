"""``mugrow reproduce`` and ``mugrow figure`` on a paper of eight runs."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from mugrow.analysis.figures import style
from mugrow.analysis.measure.claims import Claim
from mugrow.analysis.measure.measured import finals
from mugrow.analysis.measure.quantity import final
from mugrow.analysis.read.store import load
from mugrow.analysis.stats import Interval
from mugrow.bench import entries
from mugrow.bench.spec import UserError
from mugrow.sweeps.evaluate import Judged, evaluate_all
from mugrow.sweeps.graph import Node, grown
from mugrow.sweeps.paper import Paper, PaperFigure, Text, setting
from mugrow.sweeps.recipes.papers import PAPERS, bases, paper
from mugrow.sweeps.reproduce import bill_of, check_seeds, reproduce

SEEDS = (0, 1)


def base(data, vocabulary):
    run = bases.cpu(data, vocabulary)
    model = replace(run.model, context=16)
    return replace(run, model=model, base=model, steps=6, log_every=3)


def seeded(setting, seed):
    return replace(setting.run, seed=seed, data_seed=seed)


def wide(setting, seed):
    run = seeded(setting, seed)
    return replace(run, model=replace(run.model, width=64))


def scratch(setting):
    for seed in setting.of(SEEDS):
        yield Node(wide(setting, seed), "scratch")


def grown_runs(setting):
    yield from scratch(setting)
    for seed in setting.of(SEEDS):
        source = Node(replace(seeded(setting, seed), data_seed=seed + 1_000_000), "source")
        yield grown(source, wide(setting, seed), "grown", "hypercloning")


def evaluations(setting):
    """The final loss of scratch again, and that of every second run after pruning."""
    for node in scratch(setting):
        yield Judged("again", (node,), setting.run.data)
    yield Judged("pruned", (node,), setting.run.data, "compress", (("sparsity", 0.5),))


def draw(store):
    figure, ((axis,),) = style.panels(1, 1)
    axis.plot(list(finals(store.runs, "scratch").values()), "o")
    return figure


@pytest.fixture
def tiny_paper(monkeypatch, corpus):
    found = Paper(
        name="tiny",
        arxiv="0000.00000",
        title="On <tiny> models",
        summary="two arms",
        bases={"cpu": base},
        corpora={"text": {"cpu": Text(str(corpus), val_tokens=256)}},
        figures={
            "T1": PaperFigure("Scratch", "Final losses.", scratch, draw),
            "T2": PaperFigure("Both", "More.", grown_runs, draw, (
                Claim("ahead", "growing helps", "abstract", "grown minus scratch, nats",
                      final("grown") - final("scratch"),
                      high=0.0),
                Claim("charged", "also so & charged", "our question", "the same, nats",
                      final("grown") - final("scratch"), high=0.0, whose="ours"),
            ), evaluations),
        },
        untestable=(Claim("huge", "at 7B too", "table 1", untestable="7B parameters"),),
    )  # fmt: skip
    monkeypatch.setattr("mugrow.sweeps.recipes.papers.paper", lambda name: found)
    return found


def test_a_memory_too_small_for_one_member_is_one_line_before_anything_is_trained(
    mugrow, tiny_paper, tmp_path
):
    words = ("reproduce", "tiny", "--out", tmp_path / "pool", "--memory", "50KB")
    trained, priced = mugrow(*words), mugrow(*words, "--dry-run")
    assert (trained.code, trained.out) == (priced.code, priced.out) == (2, "")
    assert trained.err == priced.err
    assert re.fullmatch(r"mugrow: a member of width \d+ .* more than 0\.05 MB\n", trained.err)
    assert not (tmp_path / "pool").exists()
    told = mugrow("reproduce", "tiny", "--memory", "40MB", "--price", "a100", "--dry-run")
    assert "40 MB a step takes" in " ".join(told.out.split())


@pytest.mark.parametrize("words", [("reproduce", "tiny"), ("run", "quick")])
def test_every_command_that_trains_says_where_alike(mugrow, tiny_paper, monkeypatch, words):
    told = []

    def where_of(workers, threads, device, devices, on, log, memory, recompute, ranks, compiled):
        told.append((workers, threads, device, on, memory, recompute, ranks, compiled))
        raise UserError("enough")

    for name in ("reproduce", "run"):
        monkeypatch.setattr(f"mugrow.sweeps.{name}.where_of", where_of)
    where = ("--workers", "3", "--threads", "2", "--memory", "2GB", "--recompute")
    ended = mugrow(*words, *where, "--ranks", "4", "--compile", "auto")
    assert ended.err == "mugrow: enough\n"
    assert told == [(3, 2, "cpu", "local", 2e9, True, 4, "auto")]


def test_a_paper_is_run_drawn_and_judged(mugrow, tiny_paper, in_threads, tmp_path):
    ended = mugrow("reproduce", "tiny", "--out", tmp_path, "--json")
    assert ended.code == 0, ended.err
    printed = json.loads(ended.out)
    ahead, charged, huge = printed["claims"]
    assert ahead["verdict"] in {"reproduced", "contradicted", "inconclusive at this scale"}
    assert ahead["seeds"] == 2
    assert huge["verdict"] == "not testable here"
    page = (tmp_path / "tiny/report/index.html").read_text()
    assert "On &lt;tiny&gt; models" in page
    assert page.count("<svg role") == 2
    assert json.loads((tmp_path / "tiny/ledger.json").read_text()) == printed
    assert [row["whose"] for row in printed["claims"]] == ["paper", "ours", "paper"]
    assert charged["verdict"] == ahead["verdict"]
    theirs, ours = page[page.index('id="table-claims"') :].split('id="table-questions"')
    ours = ours[: ours.index("</table>")]
    assert "growing helps" in theirs
    assert "also so &amp; charged" not in theirs
    assert "also so &amp; charged" in ours
    assert "growing helps" not in ours
    headline = page[page.index('class="box headline"') : page.index('id="table-claims"')]
    counted = headline[: headline.index("<table")], headline[headline.index("<details>") :]
    chips = [re.findall(r'<span class="chip \w+">([^<]+)</span>', part) for part in counted]
    assert chips[0] == [ahead["verdict"], "not testable here"]
    assert chips[1][0] == ahead["verdict"]
    assert "Questions of ours" in counted[1]
    assert "also so" not in (tmp_path / "tiny/report/tables/claims.tex").read_text()
    assert "also so" in (tmp_path / "tiny/report/tables/questions.tex").read_text()

    store = load(tmp_path / "tiny")
    again = store.evaluations[store.evaluations["arm"] == "again"].set_index("seed")["value"]
    expected = finals(store.runs, "scratch")
    assert again.to_dict() == pytest.approx(expected, rel=1e-6)
    (pruned,) = store.evaluations[store.evaluations["quantity"] == "bytes"]["value"]
    assert 0 < pruned < 4 * store.runs["params"].max()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "evaluations").iterdir()}
    assert len(kept) == 3

    again = mugrow("reproduce", "tiny", "--out", tmp_path)
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "evaluations").iterdir()}
    theirs, ours = again.out.split("Questions of ours: ")
    assert theirs.startswith(f"Claims of the paper: 1 {ahead['verdict']}, 1 not testable here\n")
    assert ours.startswith(f"1 {ahead['verdict']}\n")
    assert "growing helps" in theirs
    assert "also so" in ours
    drawn = mugrow("figure", "tiny/T1", tmp_path / "tiny", "-o", tmp_path / "one.png")
    assert drawn.code == 0, drawn.err
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_one_figure_needs_its_own_runs_alone(mugrow, tiny_paper, in_threads, tmp_path):
    ended = mugrow("reproduce", "tiny", "--only", "T1", "--out", tmp_path, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["claims"] == []
    assert len(list((tmp_path / "runs").iterdir())) == 2
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/*")}
    whole = mugrow("reproduce", "tiny", "--out", tmp_path, "--json")
    assert len(json.loads(whole.out)["claims"]) == 3
    assert len(list((tmp_path / "runs").iterdir())) == 6
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/*")}
    assert before.items() <= after.items()


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_paper_without_scratch_is_refused_before_it_trains(
    mugrow, tiny_paper, monkeypatch, tmp_path, dry
):
    def alone(setting):
        return [node for node in grown_runs(setting) if node.arm == "grown"]

    figures = dict(tiny_paper.figures, T1=replace(tiny_paper.figures["T1"], runs=alone),
                   T2=replace(tiny_paper.figures["T2"], runs=alone, evaluations=None))  # fmt: skip
    found = replace(tiny_paper, figures=figures)
    monkeypatch.setattr("mugrow.sweeps.recipes.papers.paper", lambda name: found)
    ended = mugrow("reproduce", "tiny", *dry, "--out", tmp_path)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "grown by 'hypercloning' (arm 'grown') has nothing to compare with" in ended.err
    assert list(tmp_path.iterdir()) == []
    one = mugrow("reproduce", "tiny", "--only", "T1", "--dry-run", "--json", "--out", tmp_path)
    assert len(json.loads(one.out)["runs"]) == 4


def test_a_dry_run_trains_nothing(mugrow, tiny_paper, tmp_path):
    ended = mugrow("reproduce", "tiny", "--dry-run", "--json", "--out", tmp_path)
    assert len(json.loads(ended.out)["runs"]) == 6
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("reproduce", "tiny", "--only", "T3"), "unknown figure of tiny: 'T3'"),
        (("reproduce", "tiny", "--scale", "gpu"), "unknown scale of tiny: 'gpu'"),
        (("reproduce", "tiny", "--corpus", "txt=a"), "unknown corpus of tiny: 'txt'"),
        (("reproduce", "tiny", "--corpus", "stdlib"), "--corpus takes NAME=PATH, not 'stdlib'"),
        (("reproduce", "tiny", "--device", "tpu"), "device 'tpu' cannot be used"),
        (("figure", "tiny/T1", "nowhere"), "nowhere is not a directory"),
        (("figure", "tiny/T9"), "unknown figure of tiny: 'T9'"),
        (("figure", "savings"), "figure 'savings' is drawn from a study"),
        (("figure", "saving"), "unknown figure 'saving'; did you mean 'savings'"),
        (("figure", "savings", "-o", "a.gif"), "--out draws .svg, .png or .pdf, not a.gif"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(
    mugrow, tiny_paper, tmp_path, monkeypatch, words, line
):
    monkeypatch.chdir(tmp_path)
    ended = mugrow(*words)
    assert ended.code == 2
    assert line in ended.err
    assert ended.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_papers_are_found_by_name_and_by_arxiv_id(mugrow):
    for name, arxiv in PAPERS.items():
        assert paper(name) is paper(arxiv)
        assert (paper(name).name, paper(name).arxiv) == (name, arxiv)
        assert paper(name).figures
    assert "did you mean 'nanolm'" in mugrow("reproduce", "nanoln").err
    listed = json.loads(mugrow("list", "papers", "--json").out)
    assert [row["name"] for row in listed] == list(PAPERS)
    figures = {row["name"] for row in json.loads(mugrow("list", "figures", "--json").out)}
    assert {"savings", "nanolm/M1"} <= figures


A_FILE = """
from dataclasses import replace
from mugrow.sweeps.recipes.papers import paper
PAPER = replace(paper("gstack"), name="mine")
"""


def test_a_paper_of_ones_own_is_a_file(mugrow, tmp_path):
    path = tmp_path / "mine.py"
    assert f"no such file: {path}" in mugrow("reproduce", path).err
    path.write_text(A_FILE)
    assert paper(str(path)).name == "mine"
    path.write_text("PAPER = 3")
    assert f"{path} has no PAPER that is a Paper" in mugrow("reproduce", path).err
    path.write_text("1 / 0")
    assert "cannot be imported: ZeroDivisionError" in mugrow("reproduce", path).err


def test_a_paper_of_ones_own_is_an_entry_point(mugrow, monkeypatch):
    mine = replace(paper("gstack"), name="mine")
    point = SimpleNamespace(name="mine", value="there:PAPER", load=lambda: mine)
    monkeypatch.setattr(entries, "entry_points", lambda group: [point])
    entries._installed.cache_clear()
    assert paper("mine") is mine
    listed = json.loads(mugrow("list", "papers", "--json").out)
    assert listed[-1]["name"] == "mine"
    monkeypatch.undo()
    entries._installed.cache_clear()


@pytest.mark.parametrize("name", PAPERS)
def test_claims_have_names_of_their_own_and_a_rule(name):
    entry = paper(name)
    claims = list(entry.claims(entry.figures))
    assert len({claim.name for claim in claims}) == len(claims)
    assert all(claim.rule or claim.untestable for claim in claims)
    assert any(claim.measure for claim in claims)


def test_figures_whose_claims_are_undecided_get_the_seeds_of_the_next_look(
    mugrow, tiny_paper, in_threads, tmp_path
):
    """That growing helps by 100 nats two seeds deny; the other claim is never decided."""
    base, both = tiny_paper.figures["T1"], tiny_paper.figures["T2"]
    difference = final("grown") - final("scratch")
    sure = Claim("sure", "by 100", "abstract", "nats", difference, high=-100.0)
    open_one = Claim(
        "open", "by something", "abstract", "nats",
        lambda store: Interval(0.0, -1.0, 1.0, store.runs["seed"].nunique()), low=0.0,
    )  # fmt: skip
    figures = {"T1": replace(base, claims=(sure,)), "T2": replace(both, claims=(open_one, sure))}
    paper_of = replace(tiny_paper, figures=figures, untestable=())
    found = reproduce(paper_of, tmp_path, looks=(2, 3), workers=1)
    store = load(found.folder)
    assert store.study["looks"] == [2, 3]
    assert "mugrow reproduce tiny --looks 2 3\n" in found.page.read_text().replace("</pre>", "\n")
    assert sorted(finals(store.runs, "grown")) == [0, 1, 2]
    by_name = {row.claim: (row.verdict, row.seeds) for row in found.ledger}
    assert by_name["sure"] == ("contradicted", 2)
    assert by_name["open"] == ("inconclusive at this scale", 3)


@pytest.mark.parametrize("looks", [(3, 2), (1, 2), (2, 2)])
def test_looks_that_are_none_are_refused_before_anything_trains(tiny_paper, tmp_path, looks):
    with pytest.raises(UserError, match="looks are numbers of seeds that ascend from at least 2"):
        reproduce(tiny_paper, tmp_path / "out", looks=looks)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", PAPERS)
def test_every_figure_that_is_judged_gets_the_seeds_of_a_look(name):
    entry = paper(name)
    given, _ = setting(entry, "cpu", {}, priced=True)
    check_seeds(entry, given, entry.figures, 12)


def test_a_bill_of_looks_is_at_least_the_first_and_at_most_the_last(tiny_paper, tmp_path):
    whole = {seeds: bill_of(tiny_paper, tmp_path, looks=(seeds,)) for seeds in (3, 6)}
    both = bill_of(tiny_paper, tmp_path, looks=(3, 6))
    assert (both.flops, both.most_flops) == (whole[3].flops, whole[6].flops)
    assert both.flops < both.most_flops
    with pytest.raises(UserError, match="looks are numbers of seeds that ascend"):
        bill_of(tiny_paper, tmp_path, looks=(3, 2))


def test_looks_at_a_figure_whose_seeds_are_its_own_are_refused(tiny_paper, tmp_path):
    figure = tiny_paper.figures["T2"]
    of_its_own = replace(figure, runs=lambda setting: figure.runs(replace(setting, seeds=0)))
    deaf = replace(tiny_paper, figures={"T2": of_its_own})
    with pytest.raises(UserError, match=r"figure T2 of tiny plans 2 seeds and looks ask for 4"):
        reproduce(deaf, tmp_path / "out", looks=(2, 4))
    assert not (tmp_path / "out").exists()


@pytest.mark.integration
def test_what_is_damaged_is_evaluated_or_trained_again(
    mugrow, tiny_paper, in_threads, tmp_path, monkeypatch
):
    words = ("reproduce", "tiny", "--out", tmp_path, "--json")
    first = mugrow(*words)
    kept = sorted((tmp_path / "evaluations").iterdir())
    numbers = kept[0].read_text()
    kept[0].write_text(numbers[:30])
    again = mugrow(*words)
    assert (again.code, again.out) == (0, first.out)
    assert f"{kept[0]} is damaged: it is not JSON" in again.err
    assert kept[0].read_text() == numbers

    real, damaged = evaluate_all, []
    evaluated = load(tmp_path / "tiny").evaluations["run_ids"].iloc[0][0]

    def damages_a_checkpoint(*given):
        if not damaged:
            damaged.append(tmp_path / "runs" / evaluated / "checkpoint.safetensors")
            damaged[0].write_bytes(damaged[0].read_bytes()[:-9] + bytes(9))
            for path in kept:
                path.unlink()
        return real(*given)

    monkeypatch.setattr("mugrow.sweeps.reproduce.evaluate_all", damages_a_checkpoint)
    every = [path.read_bytes() for path in sorted(tmp_path.glob("runs/*/*.safetensors"))]
    again = mugrow(*words)
    assert (again.code, again.out) == (0, first.out)
    assert f"{damaged[0]} is damaged: its content does not match SHA256SUMS" in again.err
    assert [path.read_bytes() for path in sorted(tmp_path.glob("runs/*/*.safetensors"))] == every
