"""The command line end to end: what it prints, what it writes, and what it refuses."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest

import mugrow.bench.growth
import mugrow.sweeps.recipes
from mugrow.bench.data.corpora import corpora
from mugrow.sweeps import run
from mugrow.sweeps.cli import COMMANDS, command_class
from mugrow.sweeps.recipes import configured
from mugrow.sweeps.study import SAMPLERS

HEAVY = ("torch", "pandas", "matplotlib", "numpy", "pyarrow", "optuna", "scipy")

QUICK = Path(__file__).parents[2] / "results" / "reference" / "quick"


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished study, that may be written to."""
    return Path(shutil.copytree(finished.folder, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def nothing_trains(monkeypatch):
    """The study ``finished`` is the one that is trained for the tests of this file."""

    class NoExecutor(Executor):
        def submit(self, *job):
            pytest.fail(f"{job} was submitted")

    @contextmanager
    def nobody(workers):
        yield NoExecutor()

    monkeypatch.setattr("mugrow.sweeps.engines.local.processes", nobody)


KINDS = ("studies", "methods", "papers", "figures", "forms", "engines", "trackers")


@pytest.mark.parametrize("words", [("--help",), *(("list", kind) for kind in KINDS)], ids=" ".join)
def test_help_and_lists_are_light(words):
    """Well under half a second takes importing nothing that is large; help, no parser either."""
    heavy = {*HEAVY, "tyro"} if words == ("--help",) else set(HEAVY)
    code = (
        f"import sys; sys.argv = ['mugrow', *{words!r}]\n"
        "from mugrow.sweeps.program import main\n"
        "try: main()\n"
        f"finally: print('imported:', *({heavy!r} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "imported:", done.stdout
    assert done.returncode == 0


@pytest.mark.integration
def test_a_study_begins_without_what_its_report_needs():
    """Its first runs would wait for it, a second."""
    code = (
        "import sys, mugrow.sweeps.run; print({'matplotlib', 'pandas', 'jinja2'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout == "set()\n"


def test_help_has_a_line_on_every_command(mugrow, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = mugrow("--help").out
    for name in COMMANDS:
        summary = command_class(name).__doc__.partition("\n\n")[0]
        assert f"  {name}  " in shown
        assert " ".join(summary.split()) in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["lst"], "mugrow: unknown command 'lst'; did you mean 'list'?"),
        ([], "mugrow: a command is missing: run, list, report, "),
    ],
)
def test_a_command_that_is_not_there_is_one_line(mugrow, words, line):
    ended = mugrow(*words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(line)
    assert ended.err.count("\n") == 1


def test_the_version(mugrow):
    assert mugrow("--version").out == f"mugrow {version('mugrow')}\n"


# --- run ---------------------------------------------------------------------------------------


def test_run_prints_its_claims_to_stdout_and_progress_to_stderr(finished):
    assert json.loads(finished.out) == json.loads((finished.folder / "summary.json").read_text())
    lines = finished.err.splitlines()
    assert [line for line in lines if line.startswith("source w16-d1 scratch: 2 finished")]
    assert [line for line in lines if line.startswith("target w32-d1 scratch szp: 4 finished")]
    assert lines[-1].startswith("all runs have ended, after")


def test_run_writes_a_report(finished):
    page = (finished.folder / "report" / "index.html").read_text()
    assert "<svg" in page
    assert "szp" in page


def test_a_finished_study_trains_nothing(copy, finished, mugrow, few_figures):
    *words, folder = finished.words
    assert folder == str(finished.folder)
    ended = mugrow(*words, copy)
    assert (ended.code, ended.out) == (0, finished.out)


def test_what_the_command_does_is_a_functions_result(tiny, finished, monkeypatch):
    page = finished.folder / "report" / "index.html"
    monkeypatch.setattr("mugrow.analysis.report.build.build_with", lambda *_: page)
    corpus, settings = tiny[tiny.index("--corpus") + 1], tiny[tiny.index("--set") + 1 :]
    study = configured("quick", settings, corpus)
    done = run.run(study, finished.folder)
    assert (done.folder, done.page) == (finished.folder, page)
    assert list(done.plan.optima) == ["mup-w16-d1", "mup-w32-d1", "sp-w16-d1", "sp-w32-d1"]
    assert len(done.store().runs) == len(done.plan.runs) == 30
    assert json.loads(done.summary.read_text()) == json.loads(finished.out)
    found = run.bill(study, finished.folder, workers=1)
    assert {one.cached for one in found.runs} == {True}
    assert (len(found.runs), found.estimated_s) == (30, 0)
    assert found.flops == pytest.approx(done.store().runs["flops"].sum())


def test_settings_may_be_given_at_once_and_apart(tiny, mugrow, tmp_path):
    where = ("--out", tmp_path / "study", "--dry-run", "--json")
    rest = [word for word in tiny if not word.startswith(("seeds=", "log2_lr=", "methods="))]
    apart = mugrow(*rest, *where, "--set", "seeds=5", "log2_lr=-6,-3", "--set", "methods=scratch")
    assert apart.code == 0
    runs = json.loads(apart.out)["runs"]
    assert {run["run"].split()[0].rpartition("-s")[2] for run in runs} == {"5"}
    assert len([run for run in runs if run["role"] == "proxy"]) == 2 * 4  # rates x sweeps
    assert {run["run"].split("-")[3] for run in runs} == {"scratch"}


# --- dry run -----------------------------------------------------------------------------------


def test_a_dry_run_prices_what_is_then_run(tiny, finished, mugrow, tmp_path):
    ended = mugrow(*tiny, "--dry-run", "--json", "--out", tmp_path / "study")
    assert (ended.code, ended.err) == (0, "")
    plan = json.loads(ended.out)
    assert {run["cached"] for run in plan["runs"]} == {"no"}
    assert plan["estimated_s"] > 0
    assert not (tmp_path / "study").exists()

    planned, ran = pd.DataFrame(plan["runs"]), pd.read_parquet(finished.folder / "runs.parquet")
    for column in ("params", "tokens", "flops"):
        by_role = planned.groupby("role")[column].sum()
        assert by_role.to_dict() == pytest.approx(ran.groupby("role")[column].sum().to_dict())


def test_a_dry_run_of_a_finished_study_has_nothing_left(finished, mugrow):
    ended = mugrow(*finished.words, "--dry-run")
    plan = json.loads(ended.out)
    assert {run["cached"] for run in plan["runs"]} == {"yes"}
    assert not any("stand-in" in run["run"] for run in plan["runs"])
    assert plan["estimated_s"] == 0


def test_a_dry_run_for_people(tiny, mugrow, tmp_path):
    ended = mugrow(*tiny, "--dry-run", "--out", tmp_path / "study", "--workers", "2")
    assert "mup-w16-d1-scratch-lr2^-9-init0.04-s1" in ended.out
    assert "mup-w32-d1-szp-lr2^-7-init0.04-s0 (stand-in)" in ended.out
    last = ended.out.splitlines()[-1]
    assert last.startswith("30 runs, ")
    assert last.endswith("with 2 workers")


def test_a_dry_run_with_another_optimizer_is_of_other_runs(tiny, mugrow, tmp_path):
    words = ("--dry-run", "--json", "--out", tmp_path / "study")
    lion = mugrow(*tiny, "optimizer=lion:beta2=0.98", *words)
    assert (lion.code, lion.err) == (0, "")
    runs = json.loads(lion.out)["runs"]
    assert len(runs) == len(json.loads(mugrow(*tiny, *words).out)["runs"]) == 30
    assert {run["cached"] for run in runs} == {"no"}


def test_a_dry_run_says_what_is_skipped(amended, mugrow, tmp_path):
    both = ("ladder=16:1:32:1,16:1:16:2", "methods=scratch,szp,stack")
    ended = mugrow(*amended(*both), "--dry-run", "--json", "--out", tmp_path / "study")
    skipped = {(line["step"], line["method"]) for line in json.loads(ended.out)["skipped"]}
    assert skipped == {("w16-d1 to w32-d1", "stack")}


def test_a_dry_run_says_once_why_several_methods_are_skipped(amended, mugrow, tmp_path):
    both = ("ladder=16:1:32:1,16:1:16:2", "methods=scratch,szp,stack,llama_pro")
    ended = mugrow(*amended(*both), "--dry-run", "--out", tmp_path / "study")
    (line,) = [line for line in ended.out.splitlines() if line.startswith("skipped")]
    assert line.startswith("skipped at w16-d1 to w32-d1: stack, llama_pro: grows depth only: the")


# --- what it refuses ---------------------------------------------------------------------------


def refused(ended, message):
    """One line that names the mistake, on stderr alone, and exit code 2."""
    assert ended.code == 2
    assert ended.out == ""
    lines = ended.err.splitlines()
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("mugrow: ")
    assert message in lines[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["methods=scratch,szpp"], "unknown method 'szpp'; did you mean 'szp'?"),
        (["methods=szp,scratch"], "methods must begin with 'scratch'"),
        (["methods=scratch,szp:shrinkk=1"], "'shrinkk'; did you mean 'shrink'?"),
        (["methods=scratch,stack"], "method 'stack' grows depth only"),
        (["sampler=tpo"], "unknown sampler 'tpo'; did you mean 'tpe'?"),
        (["parametrizations=mupp"], "unknown parametrization 'mupp'; did you mean 'mup'?"),
        (["optimizer=lyon"], "unknown optimizer 'lyon'; did you mean 'lion'?"),
        (
            ["optimizer=lion:beta3=1"],
            "parameter of optimizer 'lion': 'beta3'; did you mean",
        ),
        (["optimizer=muon"], "parametrization 'mup' has no rule for optimizer 'muon'"),
        (["optimizer=lion", "hyper.eps=1e-6"], "'lion' does not read hyper.eps"),
        (["modle.width=3"], "unknown setting 'modle.width'; did you mean 'model.width'?"),
        (["proxy_widths"], "of the form key=value, not 'proxy_widths'"),
        (["proxy_steps=many"], "proxy_steps must be a whole number, not 'many'"),
        (["log2_lr=-7,nan"], "log2_lr must be a finite number, not 'nan'"),
        (["proxy_widths=-16,16"], "width must be at least 1, not -16"),
        (["model.width=0", "proxy_widths=0,16"], "width must be at least 1, not 0"),
        (["proxy_widths=16,40"], "width 40 is not a multiple of head_size 16"),
        (["ladder=16:1:40:1"], "the nearest that is: 48"),
        (["ladder=32:1:16:1"], "a target of the ladder is smaller than its source: w32-d1 to w16"),
        (["ladder=16:2:32:1"], "a target of the ladder is smaller than its source: w16-d2 to w32"),
        (["val_tokens=9999999"], "val_tokens 9999999 does not fit corpus"),
        (["val_tokens=8"], "val_tokens must be at least one context of 16, not 8"),
        (["tokenizer=bpee"], "unknown tokenizer 'bpee'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_study_that_cannot_be(amended, mugrow, tmp_path, settings, message):
    folder = tmp_path / "study"
    refused(mugrow(*amended(*settings), "--out", folder), message)
    refused(mugrow(*amended(*settings), "--out", folder, "--dry-run"), message)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "tpu7"], "device 'tpu7' cannot be used here"),
        (["--device", "meta"], "device 'meta' cannot be used here"),
        (["--workers", "0"], "workers must be at least 1, not 0"),
        (["--threads", "-1"], "threads must be at least 1, not -1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_machine_that_cannot_be(tiny, mugrow, tmp_path, options, message):
    refused(mugrow(*tiny, *options, "--out", tmp_path / "study"), message)
    assert not (tmp_path / "study").exists()


CORPORA = {
    "missing.txt": (None, "there is no file or folder"),
    "empty.txt": (b"", "is empty"),
    "blank.txt": (b" \n\n ", "is empty"),
    "latin.txt": (b"caf\xe9 " * 999, "is not UTF-8: byte 0xe9 at 3"),
    "short.txt": (b"too short\n\n" * 20, "is too short"),
    "no_room.txt": (b"some words\n\n" * 4000, "val_tokens 32768 does not fit corpus"),
    "cut.parquet": (b"PAR1", "is not a whole Parquet file"),
    "odd.bin": (b"abc", "uint16 token ids need an even size"),
    "table.csv": (b"a,b", "is none of .txt, .jsonl, .parquet, .bin, .npy or a folder"),
}


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_that_cannot_be_used(mugrow, tmp_path, name):
    content, message = CORPORA[name]
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    words = ("run", "quick", "--corpus", path, "--set", "val_tokens=32768")
    ended = mugrow(*words, "--out", tmp_path / "study")
    refused(ended, message)
    assert name in ended.err
    assert not (tmp_path / "study").exists()


def test_names_that_do_not_exist(mugrow, tmp_path):
    refused(mugrow("run", "quikc"), "unknown study 'quikc'; did you mean 'quick'?")
    misspelt = mugrow("run", "quick", "--corpus", "stdlb", "--out", tmp_path / "study")
    refused(misspelt, "unknown corpus 'stdlb'; did you mean 'stdlib'?")
    (tmp_path / "words.txt").write_text("a")
    path = tmp_path / "wrods.txt"
    misspelt = mugrow("run", "quick", "--corpus", path, "--out", tmp_path / "study")
    refused(
        misspelt, f"no file or folder '{path}' for a corpus; did you mean '{tmp_path}/words.txt"
    )
    assert not (tmp_path / "study").exists()


def test_folders_that_cannot_be_used(tiny, mugrow, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("dear")
    refused(mugrow(*tiny, "--out", tmp_path / "full"), "is not empty and holds no study")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]
    file = tmp_path / "full" / "thesis.tex"
    refused(mugrow(*tiny, "--out", file), "is a file, not a folder")
    refused(mugrow(*tiny, "--out", file / "below"), "cannot be written: Not a directory")
    assert file.read_text() == "dear"


def test_another_study_is_not_overwritten(amended, copy, mugrow):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    ended = mugrow(*amended("proxy_steps=7"), "--out", copy)
    refused(ended, "holds another study: its proxy_steps is 6, not 7; choose another --out")
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


# --- the other commands ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("studies", mugrow.sweeps.recipes.RECIPES),
        ("methods", mugrow.bench.growth.names()),
        ("parametrizations", ("sp", "mup")),
        ("optimizers", ("adamw", "lion", "muon")),
        ("corpora", corpora()),
        ("samplers", SAMPLERS),
        ("figures", ("main", "transfer")),
    ],
)
def test_list(mugrow, what, names):
    ended = mugrow("list", what, "--json")
    assert (ended.code, ended.err) == (0, "")
    rows = json.loads(ended.out)
    assert set(names) <= {row["name"] for row in rows}
    assert all(row["summary"] for row in rows)
    for_people = mugrow("list", what)
    assert for_people.code == 0
    assert all(row["name"] in for_people.out for row in rows)


def test_report_of_a_finished_study(copy, finished, mugrow, few_figures):
    shutil.rmtree(copy / "report")
    (copy / "summary.json").unlink()
    ended = mugrow("report", copy)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"report: {copy / 'report' / 'index.html'}\n"
    assert (copy / "report" / "index.html").exists()
    assert json.loads((copy / "summary.json").read_text()) == json.loads(finished.out)


def test_report_refuses_what_it_cannot_read(copy, mugrow, tmp_path):
    refused(mugrow("report", tmp_path / "nowhere"), "nowhere is not a directory")
    table = copy / "curves.parquet"
    table.write_bytes(table.read_bytes()[:100])
    refused(mugrow("report", copy), "curves.parquet")


def test_savings_on_a_table_of_ones_own(mugrow, tmp_path):
    """The grown arm is at every loss after half of the baseline's steps, so it saves half."""
    rows = [("base", 100 * step, 4 - 0.1 * step) for step in range(21)]
    rows += [("grown", 50 * step, 4 - 0.1 * step) for step in range(21)]
    table = tmp_path / "log.csv"
    table.write_text("arm,step,loss\n" + "".join(f"{a},{x},{y:.4f}\n" for a, x, y in rows))
    words = ("savings", table, "--run", "arm", "--x", "6 * step", "--loss", "loss")
    ended = mugrow(*words, "--baseline", "base", "--at", "3", "--json")
    assert ended.code == 0
    assert ended.err.startswith("equal compute is not measurable here")
    (row,) = json.loads(ended.out)
    assert row["method"] == "grown"
    assert row["speedup"] == pytest.approx(2.0)
    for_people = mugrow(*words, "--baseline", "base", "--at", "3")
    assert "grown" in for_people.out
    refused(mugrow(*words, "--baseline", "bsae"), "did you mean 'base'")


def test_bench_throughput(mugrow):
    words = ["--widths", "16", "--stacks", "1", "2", "--depth", "1", "--context", "16"]
    words += ["--seconds", "0.01", "--rounds", "2", "--threads", "1"]
    ended = mugrow("bench", "throughput", *words, "--json")
    assert (ended.code, ended.err) == (0, "")
    result = json.loads(ended.out)
    assert result["matmul_gflops"] > 0
    assert [(row["program"], row["stack"]) for row in result["rows"]] == [
        ("loop", None),
        ("fused loop", None),
        ("stack", 1),
        ("stack", 2),
    ]
    rates = {"tokens_per_s", "tokens_per_cpu_s", "gflops", "share_of_matmul", "step_mb"}
    rates |= {"ratio_to_loop", "ratio_to_fused", "cpu_ratio_to_fused"}
    for row in result["rows"]:
        nulls = {"compile_s", "break_even_steps"}  # nothing is compiled
        assert row.keys() == {"width", "program", "stack"} | rates | nulls
        assert all(row[null] is None for null in nulls)
        assert all(row[rate] > 0 for rate in rates)
    assert result["rows"][0]["ratio_to_loop"] == result["rows"][1]["ratio_to_fused"] == 1
    assert len(result["below"]) <= 2


def test_a_memory_in_which_nothing_fits_is_refused_before_anything_starts(mugrow, tmp_path):
    words = ("run", "quick", "--out", str(tmp_path / "new"))
    refused(mugrow(*words, "--memory", "1MB"), "members of width 16 and depth 2 takes")
    refused(
        mugrow(*words, "--memory", "1"), "memory '1' is not a size above 0 with its unit, as 40GB"
    )
    assert not (tmp_path / "new").exists()


def test_bench_memory(mugrow):
    words = ("--widths", "16", "--stacks", "2", "--depth", "1", "--context", "16", "--batch", "2")
    ended = mugrow("bench", "memory", *words, "--json")
    assert ended.code == 0
    (found,) = json.loads(ended.out)["rows"]
    assert 16 <= found["kept_per_parameter"] < found["step_per_parameter"]


def test_bench_refuses_what_it_cannot_time(mugrow):
    few = ("bench", "throughput", "--widths", "16", "--stacks", "1")
    refused(mugrow(*few, "--widths", "0"), "--widths must be at least 1, not 0")
    refused(mugrow(*few, "--stacks", "-1"), "--stacks must be at least 1, not -1")
    refused(mugrow(*few, "--seconds", "0"), "--seconds must be above 0, not 0.0")


def test_ctrl_c_is_no_crash(mugrow, monkeypatch):
    def interrupt(name):
        raise KeyboardInterrupt

    monkeypatch.setattr("mugrow.sweeps.recipes.recipe", interrupt)
    ended = mugrow("run", "quick")
    assert ended.code == 130
    assert ended.err == "mugrow: stopped; the same command goes on from here\n"


@pytest.mark.parametrize(
    "words", [["--help"], ["list", "studies"], ["list", "studies", "--json"], ["list", "studys"]]
)
def test_a_closed_pipe_ends_it_quietly(words):
    """A text that tyro prints, a table of rich, lines of our own, and an error."""
    reading, writing = os.pipe()
    os.close(reading)
    broken = {"stdout": writing} | ({"stderr": writing} if "studys" in words else {})
    command = [sys.executable, "-m", "mugrow", *words]
    done = subprocess.run(command, **{"stderr": subprocess.PIPE} | broken, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr or b"") == (141, b"")


def test_the_default_folder_is_named_after_the_study(tiny, mugrow, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    monkeypatch.setattr(
        "mugrow.sweeps.price.bill", lambda experiment, folder, workers: found.append(folder)
    )
    monkeypatch.setattr("mugrow.sweeps.dry_run.print_bill", lambda bill, as_json: None)
    assert mugrow(*tiny, "--dry-run").code == 0
    assert found == [Path("results") / "quick"]
    assert not os.listdir(tmp_path)


def test_a_path_below_a_file_is_one_line(mugrow, tmp_path):
    (tmp_path / "file").write_text("")
    ended = mugrow("figure", "costs", QUICK, "-o", tmp_path / "file" / "costs.svg")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ended.err.startswith(f"mugrow: {tmp_path}/file cannot be used: ")
