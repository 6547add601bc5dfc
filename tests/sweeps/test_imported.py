"""A study whose source is an imported checkpoint: its runs, its answer, and what it refuses."""

import errno
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from fake_runs import ended
from tiny_imports import MODEL, imported, write_tokenizer

from mugrow.bench import checkpoint
from mugrow.bench.checkpoints.imported import imported_weights, read_imported, tokenizer_name
from mugrow.bench.model import Decoder
from mugrow.bench.spec import DataSpec, ModelSpec, UserError
from mugrow.sweeps import worker
from mugrow.sweeps.collect import run_rows
from mugrow.sweeps.imported import NO_SCRATCH, imported_run, pinned_source, plan_imported
from mugrow.sweeps.recipes import configured, recipe
from mugrow.sweeps.run import run as run_study
from mugrow.sweeps.study import Method, Step

SETTINGS = (
    "parametrizations=sp",
    "model.context=16",
    "log2_lr=-9,-7",
    "seeds=0,1",
    "batch_sequences=2",
    "log_every=10",
    "val_tokens=64",
    "proxy_steps=4",
    "source_steps=10",
    "target_steps=50",
    "final_val_tokens=256",
)
GROWN = (
    "ladder=16:1:16:2,imported:16:6",
    "methods=scratch,stack,llama_pro",
)
COST = 6e9
DATA = DataSpec(corpus="words.txt", corpus_sha256="0" * 64, tokenizer="imported@0")


@pytest.fixture(scope="module")
def tiny_import(tmp_path_factory):
    return imported(tmp_path_factory.mktemp("import"))


def words(folder, corpus, *settings, cost=("--source-flops", COST)):
    return ("run", "quick", "--corpus", corpus, "--source", folder, *cost, "--set",
            *SETTINGS, *settings)  # fmt: skip


@pytest.fixture(scope="module")
def study(tiny_import):
    """Pinned, on words that nobody reads."""
    settings = (*SETTINGS, *GROWN, f"source={tiny_import}", f"source_flops={COST}")
    found = configured("quick", settings)
    sha256 = read_imported(tiny_import).sha256
    return replace(
        found,
        source=f"tiny@{sha256}",
        model=replace(MODEL, context=16),
        proxy_widths=(16,),
        init_std=(0.02,),
        ladder=(Step(16, 1, 16, 2), Step(16, 3, 16, 6)),
    )


def run_all(study, row=ended):
    finished = {}
    while True:
        todo = [
            run.spec
            for stack in plan_imported(study, DATA, finished).stacks
            for run in stack.runs
            if run.spec.run_id not in finished
        ]
        if not todo:
            return plan_imported(study, DATA, finished), finished
        finished |= {spec.run_id: row(spec) for spec in todo}


def of_role(plan, role):
    return [run for run in plan.runs if run.role == role]


@pytest.mark.integration
@pytest.mark.usefixtures("in_threads", "few_figures")
def test_growing_is_compared_with_training_the_original_on(mugrow, tiny_import, corpus, tmp_path):
    folder, out = tmp_path / "tiny", tmp_path / "out"
    shutil.copytree(tiny_import, folder)
    command = (*words(folder, corpus, *GROWN), "--workers", 1, "--out", out)
    first = mugrow(*command)
    assert first.code == 0, first.err
    runs = pd.read_parquet(out / "runs.parquet").set_index("run_id", drop=False)
    assert (runs["status"] == "finished").all()
    (source,) = runs[runs["method"] == "import"].to_dict("records")
    assert (source["flops"], source["tokens"], source["role"]) == (COST, 0, "source")

    targets = runs[runs["role"] == "target"]
    assert sorted(set(targets["method"])) == ["llama_pro", "stack"]
    of_import = targets[targets["source_run_id"] == source["run_id"]]
    assert len(of_import) == 4
    assert (of_import["flops_source"] == COST).all()
    healed = runs[runs["method"] == "prune"].loc[lambda rows: rows["role"] == "source"]
    assert list(healed["flops_source"]) == [COST]  # one for all seeds
    curves = pd.read_parquet(out / "curves.parquet").set_index("run_id")["val_loss"]
    for row in of_import[of_import["method"] == "llama_pro"].itertuples():
        assert curves[row.run_id].iloc[0] == pytest.approx(source["final_val_loss"], abs=1e-5)

    summary = json.loads((out / "summary.json").read_text())
    for arm in summary["equal_compute"]:
        against = {one["baseline"]: one for one in arm["versus"]}
        assert against["own source"]["state"] == "reached"
        assert against["own source"]["difference"]["n"] == 2
        assert against["scratch"]["verdict"] == "not measured"
    rates = {one["variant"]: one["trials"]["complete"] for one in summary["optima"]}
    assert len(rates) == 4 + 1 + 2  # arms, healing, originals trained on
    assert set(rates.values()) == {2}
    page = (out / "report" / "index.html").read_text()
    assert "Nothing is trained from scratch: the source is the imported tiny" in page
    assert "one for all of them" in page
    for said in ("from-scratch", "scratch’s", "over scratch's", "minus scratch"):
        assert said not in page

    arm = of_import.loc[of_import["method"] == "llama_pro", "run_id"].iloc[0]
    assert mugrow("export", out / "runs" / arm, "-o", tmp_path / "hf").code == 0
    assert (tmp_path / "hf" / "tokenizer.json").exists()
    card = (tmp_path / "hf" / "README.md").read_text()
    assert card.index("1. Imported from") < card.index("2. Trained for 50 steps")
    measured = r"before any training, the logits are exactly the source's, .* difference (\S+)\."
    assert float(re.search(measured, card)[1]) < 1e-6
    shutil.copytree(out / "runs" / arm, tmp_path / "alone" / arm)
    assert mugrow("export", tmp_path / "alone" / arm, "-o", tmp_path / "alone-hf").code == 0
    card = (tmp_path / "alone-hf" / "README.md").read_text()
    assert "its error was not measured: its source's checkpoint is not here." in card

    assert mugrow("verify", out).code == 0
    again = json.loads(mugrow(*command, "--dry-run", "--json").out)["runs"]
    assert len(again) == len(runs)
    assert {run["cached"] for run in again} == {"yes"}
    shutil.rmtree(folder)
    shutil.copytree(imported(tmp_path / "other", seed=1), folder)
    changed = mugrow(*command)
    assert changed.code == 2
    assert "holds another study: its source is 'tiny@" in changed.err


@pytest.mark.usefixtures("in_threads")
def test_a_study_that_was_stopped_goes_on_to_the_same_bits(
    tiny_import, corpus, tmp_path, monkeypatch, assert_same_study
):
    """A stack is saved and left halfway, and later the program ends at a full disk."""
    kept = [one for one in SETTINGS if not one.startswith(("seeds", "target_steps"))]
    few = ("seeds=0", "target_steps=20", "ladder=16:1:16:2", "methods=stack")
    settings = (*kept, *few, f"source={tiny_import}")
    study = configured("quick", (*settings, f"source_flops={COST}"), str(corpus))
    monkeypatch.setattr("mugrow.analysis.report.build.build_with", lambda folder, _: folder)
    run_study(study, tmp_path / "whole", workers=1)
    whole, steps, looks = worker.run_stack, [], []

    def stopped(job, leave, ranks):
        steps.append([spec.train_steps for spec in job.runs])
        if len(steps) == 3:
            whole(job, lambda: looks.append(None) or len(looks) > 2)
        if len(steps) == 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(job, leave)

    monkeypatch.setattr(worker, "run_stack", stopped)
    with pytest.raises(OSError, match="No space left"):
        run_study(study, tmp_path / "stopped", workers=1)
    assert steps[2] == steps[3]  # the one that was left
    assert len(looks) > 2
    run_study(study, tmp_path / "stopped", workers=1)
    assert_same_study(tmp_path / "whole", tmp_path / "stopped")


def test_every_arm_and_the_original_has_as_many_trials_and_one_source(study):
    done, _ = run_all(study)
    assert not done.provisional
    trials = {}
    for run in of_role(done, "proxy"):
        trials.setdefault(run.sweep, []).append(run.spec)
    assert len(trials) == 2 * 2 + 1 + 2
    for specs in trials.values():
        assert [round(np.log2(spec.hyper.lr)) for spec in specs] == [-9, -7]
        assert {spec.seed for spec in specs} == {0}
    sources = [run.spec for run in of_role(done, "source")]
    assert [spec.start.method for spec in sources] == ["import", "prune"]
    targets = [run.spec for run in of_role(done, "target")]
    assert {spec.seed for spec in targets} == {0, 1}
    assert {spec.start.source_run_id for spec in targets} == {spec.run_id for spec in sources}


def test_the_original_is_trained_to_the_charge_of_each_arm(study):
    from mugrow.sweeps.baselines import charge

    done, _ = run_all(study)
    ends = [run.spec for run in of_role(done, "branch")]
    specs = {run.spec.run_id: run.spec for run in done.runs}
    for target in (run.spec for run in of_role(done, "target")):
        paid = []
        for end in ends:
            line = [end]
            while line[0].run_id != target.start.source_run_id and line[0].start.source_run_id:
                line.insert(0, specs[line[0].start.source_run_id])
            source = specs[target.start.source_run_id]
            if line[0] == source and end.model == source.model and end.seed == target.seed:
                assert end.data_seed == line[1].data_seed == target.data_seed
                paid.append(charge(line[1:]))
        assert min(abs(one / charge([target]) - 1) for one in paid) < 0.01


def test_what_is_priced_is_what_is_run(study):
    def sizes(stacks):
        return [[(run.role, run.spec.model, run.spec.tokens) for run in s.runs] for s in stacks]

    first, (last, _) = plan_imported(study, DATA, {}), run_all(study)
    every = sizes(first.stacks + first.provisional)
    assert sorted(map(str, every)) == sorted(map(str, sizes(last.stacks)))
    scratch = [skip for skip in last.skipped if skip.method.name == "scratch"]
    assert [skip.reason for skip in scratch] == [NO_SCRATCH] * 2


def test_stacks_do_not_depend_on_what_has_ended(study):
    done, finished = run_all(study)
    keys = [stack.key for stack in done.stacks]
    some = dict(list(finished.items())[: len(finished) // 2])
    for known in ({}, some):
        stacks = plan_imported(study, DATA, known).stacks
        assert {stack.key for stack in stacks} <= set(keys)
    before = set()
    for stack in done.stacks:
        assert {run.spec.start.source_run_id for run in stack.runs} - {None} <= before
        before |= {run.spec.run_id for run in stack.runs}


def test_another_checkpoint_is_other_runs_and_another_charge_is_not(study):
    def ids(one):
        return {run.spec.run_id for run in run_all(one)[0].runs}

    assert ids(study) == ids(replace(study, source_flops=None, source_sunk=True))
    name, sha256 = study.source.split("@")
    other = replace(study, source=f"{name}@{sha256[::-1]}")
    assert not ids(study) & ids(other)
    assert ids(study) == ids(replace(study, source=f"moved@{sha256}"))


def test_what_a_source_cost_is_said_by_the_study(study):
    done, finished = run_all(study, lambda spec: {**ended(spec), "source_run_id": None})
    for cost in (COST, 0.0):
        runs = [
            replace(run, charged_flops=cost) if run.charged_flops is not None else run
            for run in done.runs
        ]
        source, *_ = run_rows(runs, finished, "own")
        assert source["flops"] == cost
        of_import = [run for run in runs if run.spec.start.source_run_id == runs[0].spec.run_id]
        for row in run_rows([runs[0], *of_import], finished, "own")[1:]:
            assert row["flops_source"] == cost


def test_an_arm_whose_trials_all_failed_is_skipped(study):
    def row(spec):
        failed = spec.start.method == "stack"
        return {"status": "failed", "final_val_loss": None, "flops": 1.0} if failed else ended(spec)

    done, _ = run_all(study, row)
    assert {run.spec.start.method for run in of_role(done, "target")} == {"llama_pro"}
    assert sum("no trial of sweep stack-" in skip.reason for skip in done.skipped) == 2


def test_an_import_has_no_state_to_carry_and_a_cut_has(study):
    carried = replace(study, methods=(Method("stack", optimizer="carry"),))
    done, _ = run_all(carried)
    targets = [run.spec for run in of_role(done, "target")]
    assert {spec.model.depth for spec in targets} == {2}
    (skip,) = done.skipped
    assert "without the optimizer's state" in skip.reason


def test_learned_positions_are_cut_to_the_context(tmp_path):
    gpt2 = ModelSpec(width=16, depth=1, head_size=8, context=32, vocab_size=97, mlp="gelu_tanh")
    folder = imported(tmp_path, gpt2)
    study = configured("quick", [*SETTINGS, f"source={folder}", "source_sunk=true"])
    short = replace(gpt2, context=16)
    fixed = replace(
        study,
        source=f"tiny@{read_imported(folder).sha256}",
        model=short,
        proxy_widths=(16,),
        ladder=(Step(16, 1, 16, 2),),
    )
    run = imported_run(fixed, DATA)
    weights = imported_weights(run, folder)
    tokens = torch.arange(16)[None]
    whole = {name: one.float() for name, one in read_imported(folder).weights.items()}
    assert torch.equal(Decoder(short)(weights, tokens), Decoder(gpt2)(whole, tokens))


def test_a_method_that_learns_takes_the_text_it_is_given(mugrow, corpus, tmp_path):
    folder = imported(tmp_path, replace(MODEL, kv_heads=None))
    command = ("grow", folder, "-o", tmp_path / "grown", "--method", "ligo", "--width", 32)
    stopped = mugrow(*command, "--set", "steps=2")
    assert stopped.code == 2
    assert stopped.err.endswith(
        "trains on text, and an import comes with none; give it --corpus FILE\n"
    )
    ended = mugrow(*command, "--set", "steps=2", "--corpus", corpus, "--json")
    assert ended.code == 0, ended.err
    text = json.loads((tmp_path / "grown" / "spec.json").read_text())["data"]
    assert text["tokenizer"] == tokenizer_name(folder / "published" / "tokenizer.json")


def changed_weights(folder):
    tensors, about = checkpoint.load(folder / "checkpoint.safetensors")
    tensors["norm.gain"] += 1
    checkpoint.save(folder / "checkpoint.safetensors", tensors, about)
    (folder / "SHA256SUMS").unlink()


def other_tokenizer(folder):
    path = folder / "published" / "tokenizer.json"
    text = json.loads(path.read_text())
    text["added_tokens"].append({**text["added_tokens"][0], "id": 97, "content": "<more>"})
    path.write_text(json.dumps(text))


def no_tokenizer(folder):
    (folder / "published" / "tokenizer.json").unlink()


def nothing(folder):
    shutil.rmtree(folder)
    folder.mkdir()


STACK = ("methods=stack", "ladder=imported:16:6")
SUNK = ("--source-sunk",)
BAD = {
    "no import": (nothing, STACK, SUNK, "is no imported checkpoint; to make one: mugrow import"),
    "no cost": (None, STACK, (), "cost? Give --source-flops, 6 N D of all its training, or"),
    "both": (None, STACK, (*SUNK, "--source-flops", 1), "is sunk or charged 1 FLOPs, not both"),
    "a cost of nothing": (None, STACK, ("--source-flops", 0), "source_flops must be above 0"),
    "changed": (changed_weights, STACK, SUNK, "has changed since it was imported: the sha256"),
    "other tokenizer": (other_tokenizer, STACK, SUNK, "has 98 tokens, and the checkpoint 97"),
    "no tokenizer": (no_tokenizer, STACK, SUNK, "came without a tokenizer.json"),
    "a tokenizer": (None, (*STACK, "tokenizer=bpe:300"), SUNK, "is not the one of source"),
    "smaller": (None, ("methods=stack", "ladder=imported:16:2"), SUNK, "smaller than its source"),
    "no cut": (None, ("methods=stack", "ladder=8:3:16:6"), SUNK, "or with fewer of its blocks"),
    "no cutter": (None, (*STACK, "ladder=16:1:16:2", "cut=stack"), SUNK, "does not shrink"),
    "context": (
        None,
        (*STACK, "model.context=65", "val_tokens=99"),
        SUNK,
        "model.context 65 is more than the 64",
    ),
    "scratch alone": (None, ("methods=scratch", STACK[1]), SUNK, "grows an imported source"),
    "features": (None, ("methods=ligo", STACK[1]), SUNK, "kv_heads must be the number of heads"),
    "multipliers": (None, (*STACK, "parametrizations=umup"), SUNK, "multiplies in the forward"),
    "a step": (None, ("methods=stack", "ladder=imported:6"), SUNK, "is imported:WIDTH:DEPTH, not"),
    "sampler": (None, (*STACK, "sampler=tpe"), SUNK, "not by sampler 'tpe'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_before_anything_is_written(
    case, mugrow, tiny_import, corpus, tmp_path
):
    change, settings, cost, said = BAD[case]
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_import, folder)
    if change:
        change(folder)
    keys = {one.partition("=")[0] for one in settings}
    kept = [one for one in SETTINGS if one.partition("=")[0] not in keys]
    last = {one.partition("=")[0]: one for one in (*kept, *settings)}
    command = ("run", "quick", "--corpus", corpus, "--source", folder, *cost)
    stopped = mugrow(*command, "--set", *last.values(), "--out", tmp_path / "out")
    assert stopped.code == 2
    assert said in stopped.err
    assert stopped.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_token_ids_of_another_vocabulary_are_refused(tiny_import, tmp_path):
    ids = np.random.default_rng(0).integers(0, 97, 300_000).astype(np.uint16)
    for name, largest in (("own", 96), ("other", 97)):
        ids[-1] = ids[0] = largest
        np.save(tmp_path / f"{name}.npy", ids)
    settings = (*SETTINGS, *GROWN, f"source={tiny_import}", "source_sunk=true")
    own = configured("quick", settings, str(tmp_path / "own.npy"))
    assert pinned_source(own)[1].tokenizer == "none"
    with pytest.raises(UserError, match="it is of another tokenizer"):
        pinned_source(replace(own, corpus=str(tmp_path / "other.npy")))


def test_settings_of_a_source_need_one():
    for setting in ("source_flops=1e9", "source_sunk=true", "ladder=imported:16:6"):
        with pytest.raises(UserError, match="source"):
            configured("quick", [setting])


def test_a_tokenizer_is_known_by_its_content(tmp_path):
    for name in ("a", "b"):
        write_tokenizer(tmp_path / name)
    assert tokenizer_name(tmp_path / "a") == tokenizer_name(tmp_path / "b")
    (tmp_path / "b").write_text((tmp_path / "b").read_text() + " ")
    assert tokenizer_name(tmp_path / "a") != tokenizer_name(tmp_path / "b")


def test_the_study_of_a_real_model_is_of_the_size_that_it_says(monkeypatch):
    """Its source and targets, without the checkpoint: the shape is that of SmolLM2-135M."""
    from mugrow.bench.model import count
    from mugrow.bench.spec import llama

    study = recipe("grow-smollm2")
    smollm2 = llama(
        width=576, depth=30, head_size=64, kv_heads=3, mlp_units=1536, vocab_size=49152,
        context=256, tied=True, rope_theta=1e5,
    )  # fmt: skip
    pinned = replace(study, source="smollm2@" + "0" * 64, model=smollm2)
    done, _ = run_all(pinned)
    sizes = {
        run.spec.start.method: count(run.spec.model)[0]
        for run in done.runs
        if run.role in ("source", "target")
    }
    assert sizes["prune"] <= 50e6
    assert len(sizes.keys() - {"import", "prune"}) >= 5
    assert all(run.spec.batch_tokens == 256 for run in done.runs)
    assert max(run.spec.train_steps for run in of_role(done, "target")) <= 300
    assert not done.skipped
