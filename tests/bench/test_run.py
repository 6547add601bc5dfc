"""Stacks on disk: what a run leaves, what survives a kill, and what damage does."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import BASE, RUN, curve, home, job_of, names, row, skewed_tokens, vary

import mugrow.bench.run
from mugrow.bench import checkpoint, compiled
from mugrow.bench.checkpoint import Damaged
from mugrow.bench.data.batches import load, resolve, val_windows
from mugrow.bench.flops import per_token, per_token_6n
from mugrow.bench.growth import During, method
from mugrow.bench.model import Decoder, cross_entropy, parameters
from mugrow.bench.parametrization import parametrization
from mugrow.bench.record import RUN_SCHEMA, read_run
from mugrow.bench.run import Job, _resume, ended, run_stack
from mugrow.bench.spec import AverageSpec, RunSpec, Start, UserError, run_spec_from_json
from mugrow.bench.stack import PruningStep, Stack
from mugrow.bench.train import advance

HUGE_LR = 1e30
FILES = {
    "spec.json",
    "checkpoint.safetensors",
    "state.safetensors",
    "SHA256SUMS",
    "curve.parquet",
}


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> str:
    words = ["tide", "salt", "lamp", "harbour", "öre", "mast", "gull"]
    rng = random.Random(0)
    paragraphs = (" ".join(rng.choices(words, k=60)) for _ in range(300))
    path = tmp_path_factory.mktemp("corpus") / "harbour.txt"
    path.write_text("\n\n".join(paragraphs), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def run(corpus) -> RunSpec:
    """The small run on a text, where losses have bits per byte."""
    return replace(
        RUN,
        model=replace(RUN.model, vocab_size=256),
        base=replace(BASE, vocab_size=256),
        data=resolve(corpus, val_tokens=64),
    )


@pytest.fixture
def job(run, corpus, tmp_path) -> Job:
    runs = (run, vary(run, seed=1, data_seed=1), vary(run, lr=HUGE_LR))
    return job_of(tmp_path / "study", corpus, runs, role="target")


def assert_same_tensors(a: Path, b: Path) -> None:
    tensors, expected = checkpoint.load(a)[0], checkpoint.load(b)[0]
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in tensors)


def everything(job: Job) -> dict[str, tuple[int, bytes]]:
    """Time of writing and content of every file of the study."""
    root = Path(job.folder)
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(f.relative_to(root)): (f.stat().st_mtime_ns, f.read_bytes()) for f in files}


def save_at_every_step_and_stop_after(monkeypatch, steps: int) -> list[int]:
    """Patch training so that it is killed after so many steps; returns the list in which it notes
    the step at which each (re)start began."""
    began: list[int] = []
    real = mugrow.bench.run.advance

    def killed(stack, state, data, ranks):
        began.append(state.step)
        for done, current in enumerate(real(stack, state, data, ranks)):
            if done == steps:
                raise Killed
            yield current

    monkeypatch.setattr(mugrow.bench.run, "SAVE_EVERY_S", -1)
    monkeypatch.setattr(mugrow.bench.run, "LONGEST_SHARE", math.inf)
    monkeypatch.setattr(mugrow.bench.run, "advance", killed)
    return began


def test_an_ended_stack_leaves_its_runs_and_nothing_in_flight(job):
    run_stack(job)
    assert names(home(job, 0)) == names(home(job, 1)) == FILES
    assert names(home(job, 2)) == {
        "spec.json",
        "SHA256SUMS",
        "curve.parquet",
    }  # diverged: no weights to keep
    assert names(Path(job.folder) / "stacks") == set()
    assert [row(job, i)["status"] for i in range(3)] == ["finished", "finished", "diverged"]
    spec = run_spec_from_json((home(job, 1) / "spec.json").read_text())
    assert spec == job.runs[1]


def test_proxies_keep_no_checkpoint(run, corpus, tmp_path):
    job = job_of(tmp_path, corpus, (run,), role="proxy")
    run_stack(job)
    assert names(home(job, 0)) == {"spec.json", "SHA256SUMS", "curve.parquet"}
    assert ended(tmp_path, run.run_id)["role"] == "proxy"


def test_the_row_of_a_run(job, run):
    run_stack(job)
    found, rows = row(job, 0), curve(job, 0)
    assert found.keys() == set(RUN_SCHEMA.names) - {
        "flops_source",
        "flops_tuning",
        "arm",
        "factors",
    }
    expected = {
        "run_id": run.run_id,
        "study": "a study",
        "role": "target",
        "method": "scratch",
        "width": 16,
        "tokens": 640,
        "flops": 640 * per_token(run.model),
        "flops_6nd": 640 * per_token_6n(run.model),
        "lr": 2**-6,
        "batch_tokens": 32,
        "seed": 0,
        "corpus": "harbour.txt",
        "final_val_loss": rows[-1]["val_loss"],
        "reason": None,
    }
    assert {name: found[name] for name in expected} == expected
    assert run_spec_from_json(found["spec"]) == run
    assert json.loads(found["versions"])["torch"] == torch.__version__
    assert found["tokens_per_s"] == pytest.approx(640 / found["wall_s"])
    assert {r["run_id"] for r in rows} == {run.run_id}
    # Bytes of words of one to seven letters, one token each but for the two bytes of ö
    assert found["final_bpb"] == pytest.approx(found["final_val_loss"] * 1.442695, rel=1e-6)


def test_a_diverged_run_has_no_final_loss(job):
    run_stack(job)
    found = row(job, 2)
    assert found["final_val_loss"] is found["final_bpb"] is None
    assert 0 < found["tokens"] < 640
    assert found["tokens"] == curve(job, 2)[-1]["tokens"]


def test_nor_has_one_whose_loss_was_infinite_only_between_two_rows(job, monkeypatch):
    real = mugrow.bench.run.advance

    def poisoned(stack, state, data, ranks):
        for current in real(stack, state, data, ranks):
            if current.step == 1:
                current.loss_sum_K[1] = float("inf")
            yield current

    monkeypatch.setattr(mugrow.bench.run, "advance", poisoned)
    run_stack(job)
    assert curve(job, 1)[-1]["val_loss"] < 6
    assert row(job, 1)["status"] == "diverged"
    assert row(job, 1)["final_val_loss"] is None
    assert names(home(job, 1)) == {"spec.json", "SHA256SUMS", "curve.parquet"}


def test_a_row_says_what_was_compiled(run, corpus, tmp_path, monkeypatch):
    """``torch.compile`` is left out: what is compiled runs as it was traced."""
    compiled._made.cache_clear()
    monkeypatch.setattr(torch, "compile", lambda traced, **_: traced)
    monkeypatch.setattr("mugrow.bench.run.check_compiler", lambda device: None)
    said = []
    for place, words in enumerate(({}, {"compile": True}, {"compile": True, "recompute": True})):
        job = job_of(tmp_path / str(place), corpus, (run,), **words)
        run_stack(job)
        said.append(row(job, 0)["compile"])
    compiled._made.cache_clear()
    assert said == ["off", "on", "off: activations are to be computed again"]


def test_the_checkpoint_is_of_the_weights_that_were_validated_last(job, run, corpus):
    run_stack(job)
    weights, metadata = checkpoint.load(home(job, 0) / "checkpoint.safetensors")
    moments, _ = checkpoint.load(home(job, 0) / "state.safetensors")
    assert run_spec_from_json(metadata["spec"]) == run
    assert list(metadata) == ["spec"]
    assert weights.keys() == parameters(run.model).keys()
    assert moments.pop("updates") == run.steps
    assert moments.keys() == {f"{m}.{name}" for m in "mv" for name in weights}
    assert all((moments[name] >= 0).all() for name in moments if name.startswith("v."))
    rules = parametrization("mup").rules(run.model, run.base)
    tokens = torch.from_numpy(val_windows(load(run.data, corpus).val, 8, 64))
    logits = Decoder(run.model, rules.multipliers)(weights, tokens[:, :-1])
    loss = cross_entropy(logits[None], tokens[None, :, 1:]).item()
    assert loss == pytest.approx(row(job, 0)["final_val_loss"], abs=1e-6)


def test_every_run_gets_its_own_checkpoint_whoever_has_left_the_stack_before(job, tmp_path):
    """A diverged member shifts the rows of those behind it."""
    turned = replace(job, folder=str(tmp_path / "turned"), runs=job.runs[::-1])
    run_stack(job)
    run_stack(turned)
    for member in range(2):
        path = home(job, member) / "checkpoint.safetensors"
        weights = checkpoint.load(path)[0]
        again = checkpoint.load(home(turned, 2 - member) / path.name)[0]
        assert all(torch.allclose(again[name], weights[name], atol=1e-5) for name in weights)


def test_the_curve_is_written_last(job, monkeypatch):
    """It is the proof that the run ended: killed before it, the run has not."""
    real, seen = mugrow.bench.run.write_run, []

    def write_run(folder, *rest):
        seen.append(names(folder))
        if len(seen) == 2:
            raise Killed
        real(folder, *rest)

    monkeypatch.setattr(mugrow.bench.run, "write_run", write_run)
    with pytest.raises(Killed):
        run_stack(job)
    assert seen == [FILES - {"curve.parquet", "SHA256SUMS"}] * 2
    assert ended(Path(job.folder), job.runs[0].run_id)["status"] == "finished"
    assert ended(Path(job.folder), job.runs[1].run_id) is None
    monkeypatch.undo()
    run_stack(job)
    assert ended(Path(job.folder), job.runs[1].run_id)["status"] == "finished"


@pytest.mark.parametrize("name", ["curve.parquet", "checkpoint.safetensors", "state.safetensors"])
def test_a_truncated_file_is_damage_that_names_it(job, name):
    run_stack(job)
    path = home(job, 0) / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Damaged) as error:
        ended(Path(job.folder), job.runs[0].run_id)
    assert error.value.path == path
    run_stack(job)
    assert ended(Path(job.folder), job.runs[0].run_id)["status"] == "finished"


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "state.safetensors"])
def test_a_finished_run_without_its_checkpoint_is_damaged(job, name):
    run_stack(job)
    (home(job, 0) / name).unlink()
    with pytest.raises(Damaged, match=f"{name} is missing"):
        ended(Path(job.folder), job.runs[0].run_id)


def test_a_run_that_never_began_has_not_ended(tmp_path):
    assert ended(tmp_path, "0123456789abcdef") is None


def test_running_an_ended_stack_again_changes_no_file(job):
    run_stack(job)
    before = everything(job)
    run_stack(job)
    assert everything(job) == before


def test_a_lost_member_is_done_again_as_it_was_and_the_others_are_left_alone(job):
    run_stack(job)
    before = everything(job)
    lost = Path(job.folder) / "lost" / home(job, 1).name
    lost.parent.mkdir()
    home(job, 1).rename(lost)
    run_stack(job)
    assert curve(job, 1) == read_run(lost)[1].to_pylist()
    for name in ("checkpoint.safetensors", "state.safetensors"):
        assert_same_tensors(home(job, 1) / name, lost / name)
    after = everything(job)
    assert before.keys() <= after.keys()
    others = [name for name in before if job.runs[1].run_id not in name]
    assert len(others) == len(FILES) + 3
    assert [after[name] for name in others] == [before[name] for name in others]


@pytest.mark.parametrize("steps", [1, 7, 10, 19])
@pytest.mark.parametrize("kind", ["none", "swa", "ema"])
def test_a_killed_stack_goes_on_where_it_was_to_the_same_bits(
    job, monkeypatch, tmp_path, steps, kind
):
    average = AverageSpec(kind=kind, window=10)
    runs = tuple(replace(run, average=average) for run in job.runs)
    job = replace(job, runs=runs, rungs=(PruningStep(10, 2),))
    whole = replace(job, folder=str(tmp_path / "whole"))
    run_stack(whole)
    began = save_at_every_step_and_stop_after(monkeypatch, steps)
    for _ in range(40):
        try:
            run_stack(job)
        except Killed:
            continue
        break
    assert began == list(range(0, 20, steps))
    assert row(job, 0)["wall_s"] > 0
    for member in range(3):
        assert curve(job, member) == curve(whole, member)
        assert row(job, member)["status"] == row(whole, member)["status"]
    assert (curve(job, 0)[-1]["val_loss_averaged"] is None) == (kind == "none")
    for name in ("checkpoint.safetensors", "state.safetensors"):
        assert_same_tensors(home(job, 0) / name, home(whole, 0) / name)


def test_a_state_saved_when_there_were_no_splits_is_gone_on_from():
    """After 7 of 20 steps; the program that saved it ended at these losses."""
    small = vary(RUN, model=BASE)
    stack = Stack([small, vary(small, lr=2**-4, weight_decay=0.5, seed=1)])
    state = _resume(Path(__file__).with_name("earlier_stack.safetensors"), stack)
    assert state is not None
    assert state.step == 7
    for _ in advance(stack, state, skewed_tokens()):
        pass
    losses = [curve[-1]["val_loss"] for curve in state.curves]
    assert losses == pytest.approx([2.923224985599518, 2.957063317298889], abs=1e-5)


def test_a_stack_shows_how_far_it_is(job, monkeypatch):
    monkeypatch.setattr(mugrow.bench.run, "SHOW_EVERY_S", -1)
    save_at_every_step_and_stop_after(monkeypatch, 12)
    with pytest.raises(Killed):
        run_stack(job)
    shown = json.loads((Path(job.folder) / "stacks" / "a-stack.json").read_text())
    assert (shown["step"], shown["steps"], shown["members"]) == (12, 20, 2)  # one has diverged
    assert 1 < shown["best_val_loss"] < 6
    assert shown["tokens_per_s"] > 0


def test_a_damaged_saved_state_is_set_aside_and_the_stack_begins_again(job, monkeypatch):
    began = save_at_every_step_and_stop_after(monkeypatch, 12)
    with pytest.raises(Killed):
        run_stack(job)
    path = Path(job.folder) / "stacks" / "a-stack.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(Killed):
        run_stack(job)
    assert began == [0, 0]
    assert (path.parent / "a-stack.safetensors.damaged-0").stat().st_size == 500


def grown_from(source: RunSpec, method: str, width: int, **params: float) -> RunSpec:
    start = Start(
        method=method,
        source_run_id=source.run_id,
        source_step=source.last_step,
        params=tuple(params.items()),
    )
    model = replace(source.model, width=width)
    return replace(source, model=model, start=start, seed=5)


@pytest.fixture
def source_job(run, corpus, tmp_path) -> Job:
    return job_of(tmp_path / "study", corpus, (run,), role="source", key="a-source")


@pytest.mark.parametrize(
    ("method", "width", "params"),
    [("hypercloning", 32, {}), ("szp", 16, {"shrink": 1.0, "perturb": 0.0})],
)
def test_a_function_preserving_target_begins_at_its_sources_loss(
    source_job, corpus, method, width, params
):
    run_stack(source_job)
    target = grown_from(source_job.runs[0], method, width, **params)
    job = job_of(Path(source_job.folder), corpus, (target,), role="target")
    run_stack(job)
    final, first = row(source_job, 0)["final_val_loss"], curve(job, 0)[0]["val_loss"]
    assert first == pytest.approx(final, abs=1e-4)
    assert abs(curve(source_job, 0)[0]["val_loss"] - final) > 0.1  # a fresh start would be seen
    assert curve(job, 0)[-1]["val_loss"] < first
    assert row(job, 0)["source_run_id"] == source_job.runs[0].run_id


def test_members_of_a_stack_may_start_differently(source_job, corpus):
    run_stack(source_job)
    source = source_job.runs[0]
    grown = grown_from(source, "hypercloning", 32)
    fresh = replace(grown, start=Start())
    job = job_of(Path(source_job.folder), corpus, (grown, fresh), role="target")
    run_stack(job)
    assert curve(job, 0)[0]["val_loss"] < curve(job, 1)[0]["val_loss"] - 0.1
    assert [row(job, i)["method"] for i in range(2)] == ["hypercloning", "scratch"]


def test_a_target_without_a_finished_source_fails_alone_and_is_done_when_there_is_one(
    source_job, run, corpus, monkeypatch
):
    """A saved state without the member that failed must not be taken for one with it."""
    diverged = job_of(Path(source_job.folder), corpus, (vary(run, lr=HUGE_LR),), role="source")
    run_stack(diverged)
    targets = (
        grown_from(diverged.runs[0], "hypercloning", 32),
        grown_from(run, "hypercloning", 32),
        replace(grown_from(run, "hypercloning", 32), start=Start()),
    )
    job = job_of(Path(source_job.folder), corpus, targets, role="target", key="targets")
    save_at_every_step_and_stop_after(monkeypatch, 8)
    with pytest.raises(Killed):
        run_stack(job)
    assert [row(job, i)["status"] for i in range(2)] == ["failed", "failed"]
    assert row(job, 0)["reason"].endswith(f"its source {diverged.runs[0].run_id} is diverged")
    assert row(job, 1)["reason"].endswith(f"its source {run.run_id} is missing")
    assert row(job, 0)["tokens"] == 0
    assert row(job, 0)["final_val_loss"] is None
    monkeypatch.undo()
    run_stack(source_job)
    run_stack(job)
    assert [row(job, i)["status"] for i in range(3)] == ["failed", "finished", "finished"]
    assert curve(job, 1)[0]["val_loss"] < curve(job, 2)[0]["val_loss"] - 0.1


def test_a_methods_own_mistake_fails_its_run_even_without_a_message(
    source_job, corpus, monkeypatch
):
    run_stack(source_job)
    target = grown_from(source_job.runs[0], "hypercloning", 32)

    def broken(name):
        raise AssertionError

    monkeypatch.setattr("mugrow.bench.start.growth.method", broken)
    job = job_of(Path(source_job.folder), corpus, (target,), role="target")
    run_stack(job)
    assert row(job, 0)["status"] == "failed"
    assert row(job, 0)["reason"].startswith("AssertionError")


def fails(*_: object) -> object:
    return 1 / 0


@pytest.mark.parametrize(
    ("hooks", "said"),
    [
        ({"used": fails}, "raised ZeroDivisionError: division by zero"),
        ({"lift": fails}, "raised ZeroDivisionError: division by zero"),
        ({"rates": lambda t: {"embed.weight": 1.0} if t < 5 else fails()}, "raised ZeroDivision"),
        ({"used": lambda trained, t, rng: exit(0)}, "raised SystemExit: 0"),
        ({"norm_mask": lambda t: torch.ones(3)}, "returned from norm_mask no tensor of the shape"),
        ({"used": lambda trained, t, rng: {}}, "returned from used other tensors than the model's"),
    ],
)
def test_what_a_methods_hooks_do_wrong_fails_its_runs(source_job, corpus, monkeypatch, hooks, said):
    run_stack(source_job)
    sound = method("szp")
    hooked = replace(sound, during=lambda small, big, steps, **params: During(**hooks))
    monkeypatch.setattr("mugrow.bench.start.growth.method", lambda name: hooked)
    target = grown_from(source_job.runs[0], "szp", 32)
    job = job_of(Path(source_job.folder), corpus, (target, replace(target, seed=6)), role="target")
    monkeypatch.setattr(mugrow.bench.run, "SAVE_EVERY_S", -1)
    run_stack(job)
    for i in range(2):
        assert row(job, i)["status"] == "failed"
        assert row(job, i)["reason"].startswith(f"method 'szp' {said}")
        trace = (home(job, i) / "traceback.txt").read_text()
        assert said.removeprefix("raised ").partition(":")[0] in trace
        assert "in run_stack" in trace
    assert not list(Path(job.folder).glob("stacks/*"))
    monkeypatch.setattr("mugrow.bench.start.growth.method", lambda name: sound)
    run_stack(job)
    assert [row(job, i)["status"] for i in range(2)] == ["finished", "finished"]
    assert not (home(job, 0) / "traceback.txt").exists()


def test_a_full_disk_while_a_methods_hooks_act_is_no_mistake_of_the_methods(
    source_job, corpus, monkeypatch
):
    run_stack(source_job)
    hooked = replace(method("szp"), during=lambda small, big, steps, **params: During())
    monkeypatch.setattr("mugrow.bench.start.growth.method", lambda name: hooked)
    target = grown_from(source_job.runs[0], "szp", 32)
    job = job_of(Path(source_job.folder), corpus, (target,), role="target")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("mugrow.bench.run._save_state", full)
        with pytest.raises(OSError, match="No space"):
            run_stack(job)
    assert read_run(home(job, 0)) is None
    run_stack(job)
    assert row(job, 0)["status"] == "finished"


def test_a_mistake_of_ours_is_no_methods(source_job, monkeypatch):
    monkeypatch.setattr("mugrow.bench.run.advance", fails)
    with pytest.raises(ZeroDivisionError):
        run_stack(source_job)


def test_another_text_under_the_same_name_is_refused(job, tmp_path, monkeypatch):
    monkeypatch.setenv(
        "MUGROW_CACHE", str(tmp_path / "empty")
    )  # else the ids of the text are there
    other = tmp_path / "harbour.txt"
    other.write_text("\n\n".join("another text " * 200 for _ in range(40)))
    with pytest.raises(UserError, match="not the text this run is about"):
        run_stack(replace(job, corpus_path=str(other)))
    assert not Path(job.folder).exists()


@pytest.mark.parametrize("save_every_s", [-1, 1000])
def test_a_token_file_that_changes_meanwhile_leaves_no_number(
    run, tmp_path, monkeypatch, save_every_s
):
    ids = np.random.default_rng(0).integers(256, size=50_000).astype("<u2")
    ids.tofile(path := tmp_path / "ids.bin")
    spec = replace(run, data=resolve(f"{path}:token_dtype=uint16", val_tokens=64))
    whole = job_of(tmp_path / "whole", f"{path}:token_dtype=uint16", (spec,))
    stopped = job_of(tmp_path / "stopped", f"{path}:token_dtype=uint16", (spec,))
    run_stack(whole)
    monkeypatch.setattr(mugrow.bench.run, "SAVE_EVERY_S", save_every_s)
    real = mugrow.bench.run.advance

    def changed_meanwhile(stack, state, data, ranks):
        for step, current in enumerate(real(stack, state, data, ranks)):
            if step == 2:
                ((ids + 1) % 256).tofile(path)
            yield current

    with monkeypatch.context() as patch:
        patch.setattr(mugrow.bench.run, "advance", changed_meanwhile)
        with pytest.raises(UserError, match=r"ids\.bin' was changed while it was trained on"):
            run_stack(stopped)
    assert read_run(home(stopped, 0)) is None
    with pytest.raises(UserError, match="not the text this run is about"):
        run_stack(stopped)
    ids.tofile(path)
    run_stack(stopped)
    losses = [[point["val_loss"] for point in curve(job, 0)] for job in (stopped, whole)]
    assert losses[0] == losses[1]
