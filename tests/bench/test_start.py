"""Where runs begin: sources grown, moments carried, and methods that return what is no model."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import BASE, RUN, job_of, row

import mugrow.bench.start
from mugrow.bench import checkpoint
from mugrow.bench.data.batches import load, resolve, train_batch
from mugrow.bench.growth import GrowthMethod, Moments, method
from mugrow.bench.model import shapes
from mugrow.bench.parametrization import initial_weights, parametrization
from mugrow.bench.run import run_stack
from mugrow.bench.spec import RunSpec, Start, canonical_json
from mugrow.bench.start import beginning

SMALL = replace(RUN, model=replace(RUN.model, width=8, vocab_size=256))
SMALL = replace(SMALL, base=replace(BASE, vocab_size=256), stop_step=16)
NEW = torch.arange(16) >= 8


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("corpus") / "tide.txt"
    path.write_text("\n\n".join(f"the tide is {n * n} " * 30 for n in range(300)))
    return str(path)


@pytest.fixture(scope="module")
def source(tmp_path_factory, corpus) -> tuple[Path, RunSpec]:
    """A study's folder with one run, stopped at step 16 of 20."""
    folder = tmp_path_factory.mktemp("study")
    run = replace(SMALL, data=resolve(corpus, val_tokens=64))
    run_stack(job_of(folder, corpus, (run,), role="source"))
    return folder, run


def grown(source: RunSpec, name: str, width: int = 16, **start: object) -> RunSpec:
    return replace(
        source,
        model=replace(source.model, width=width),
        stop_step=None,
        start=Start(
            method=name, source_run_id=source.run_id, source_step=source.last_step, **start
        ),
    )


def begins(source: tuple[Path, RunSpec], run: RunSpec, corpus: str) -> mugrow.bench.start.Beginning:
    return beginning(run, source[0], load(run.data, corpus))


def fake(monkeypatch, **fields: object) -> None:
    """``szp`` with some of its parts replaced."""
    entry = replace(method("szp"), **fields)
    monkeypatch.setattr("mugrow.bench.start.growth.method", lambda name: entry)


def padded_moments(moments, small, big, rng, **params) -> Moments:
    ones = {n: torch.ones_like(w) for n, w in initial(big.spec).items()}
    return Moments(ones, {n: w.clone() for n, w in ones.items()})


def initial(model) -> dict:
    rules = parametrization("mup").rules(model, SMALL.base)
    return initial_weights(model, rules, 0.1, 0, torch.float32)


def test_noise_is_a_share_of_the_targets_own_draw_and_spares_gains(source, corpus):
    quiet = begins(source, grown(source[1], "hypercloning"), corpus).weights
    loud = begins(source, grown(source[1], "hypercloning", noise=0.5), corpus).weights
    init = initial(grown(source[1], "szp").model)
    for name, tensor in init.items():
        share = 0 if name.endswith(("gain", "bias")) else 0.5
        assert torch.allclose(loud[name] - quiet[name], share * tensor, atol=1e-6)


def test_moments_are_fresh_unless_carried(source, corpus, monkeypatch):
    assert begins(source, grown(source[1], "szp"), corpus).carried is None
    fake(monkeypatch, grow_moments=padded_moments)
    carried = begins(source, grown(source[1], "szp", optimizer="carry"), corpus).carried
    assert carried.updates == 16
    assert all((tensor == 1).all() for part in carried.buffers.values() for tensor in part.values())


def test_a_reset_clears_the_moments_of_what_the_source_had_not(source, corpus, monkeypatch):
    fake(monkeypatch, grow_moments=padded_moments)
    run = grown(source[1], "szp", optimizer="carry", reset=True)
    m = begins(source, run, corpus).carried.buffers["m"]
    assert (m["norm.gain"] == (~NEW).float()).all()
    assert (m["blocks.0.mlp.down.weight"][8:] == 0).all()
    assert m["blocks.0.mlp.down.weight"].sum() == 8 * 32
    assert m["embed.weight"].sum() == 256 * 8


def test_a_method_that_carries_no_moments_says_so(source, corpus, monkeypatch):
    fake(monkeypatch, grow_moments=None)
    with pytest.raises(ValueError, match="'szp' does not carry the optimizer's state"):
        begins(source, grown(source[1], "szp", optimizer="carry"), corpus)


def test_noise_would_fill_the_zeros_of_what_was_pruned(source, corpus):
    run = grown(source[1], "prune", width=8, noise=0.1, params=(("sparsity", 0.5),))
    with pytest.raises(ValueError, match="'prune' makes no copies that noise could part"):
        begins(source, run, corpus)


def test_what_the_source_had_keeps_its_rate_beside_what_is_new(source, corpus):
    """A coordinate is new in a tensor where any of its axes is, and with a rate of 0 stays."""
    run = grown(source[1], "szp", new_rate=0.25)
    rates = begins(source, run, corpus).during.rates(3)
    assert rates.keys() == shapes(run.model).keys()
    torch.testing.assert_close(rates["norm.gain"], torch.where(NEW, 0.25, 1.0))
    new = NEW[:, None] | NEW
    torch.testing.assert_close(rates["blocks.0.attention.o.weight"], torch.where(new, 0.25, 1.0))

    frozen = replace(grown(source[1], "szp", new_rate=0.0), steps=4)
    run_stack(job_of(source[0], corpus, (frozen,), role="target"))
    ended = checkpoint.load(source[0] / "runs" / frozen.run_id / "checkpoint.safetensors")[0]
    began = begins(source, frozen, corpus).weights
    moved = ended["blocks.0.attention.o.weight"] != began["blocks.0.attention.o.weight"]
    assert (moved == ~new).all()


@pytest.mark.parametrize(
    ("name", "width", "reason"),
    [
        ("continue", 8, "'continue' added nothing"),
        ("prune", 8, "'prune' adds nothing to a source"),
    ],
)
def test_a_rate_of_nothing_new_is_refused(source, corpus, name, width, reason):
    with pytest.raises(ValueError, match=reason):
        begins(source, grown(source[1], name, width=width, new_rate=2.0), corpus)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda w: {n: t for n, t in w.items() if n != "norm.gain"}, "other tensors .* norm.gain"),
        (lambda w: w | {"extra": torch.ones(1)}, "other tensors than the target's: extra"),
        (lambda w: w | {"norm.gain": torch.ones(8)}, r"norm.gain as \(8,\) torch.float32, not"),
        (lambda w: {n: t.double() for n, t in w.items()}, "torch.float64, not"),
    ],
)
def test_what_is_not_the_targets_shape_fails_that_run_alone(
    source, corpus, monkeypatch, spoil, reason
):
    def grow(weights, small, big, init, rng, **params):
        return spoil(dict(init))

    sound = method("hypercloning")
    entry: GrowthMethod = replace(method("szp"), grow=grow)
    monkeypatch.setattr(
        "mugrow.bench.start.growth.method", lambda name: entry if name == "szp" else sound
    )
    folder, run = source
    runs = (grown(run, "szp", noise=0.01), grown(run, "hypercloning", noise=0.01))
    runs = tuple(replace(one, seed=len(reason)) for one in runs)  # not those of another case
    job = job_of(folder, corpus, runs, role="target")
    run_stack(job)
    assert row(job, 0)["status"] == "failed"
    assert re.search(reason, row(job, 0)["reason"])
    assert row(job, 1)["status"] == "finished"


def test_batches_for_a_method_that_learns_are_nobody_elses(source, corpus, monkeypatch):
    seen = {}

    def grow(weights, small, big, init, rng, *, batches=None, rounds=2):
        seen.update({step: batches(step) for step in range(rounds)})
        return dict(init)

    fake(monkeypatch, grow=grow, learning_steps="rounds")
    run = grown(source[1], "szp")
    assert begins(source, run, corpus).learning_steps == 2
    run = grown(source[1], "szp", params=(("rounds", 3),))
    assert begins(source, run, corpus).learning_steps == len(seen) == 3
    data = load(run.data, corpus)
    assert seen[0].shape == (run.batch_sequences, run.model.context + 1)
    first_batch = train_batch(data.train, run.data_seed, 0, run.batch_sequences, run.model.context)
    assert not torch.equal(seen[0], torch.from_numpy(first_batch))
    assert not torch.equal(seen[0], seen[1])


def test_a_source_without_moments_is_named(source, corpus, monkeypatch):
    fake(monkeypatch, grow_moments=padded_moments)
    path = source[0] / "runs" / source[1].run_id / "state.safetensors"
    kept, sums = path.read_bytes(), (path.parent / "SHA256SUMS").rename(path.parent / "sums")
    checkpoint.save(path, {}, {"spec": canonical_json(source[1])})
    try:
        with pytest.raises(ValueError, match="has no optimizer state"):
            begins(source, grown(source[1], "szp", optimizer="carry"), corpus)
    finally:
        path.write_bytes(kept)
        sums.rename(path.parent / "SHA256SUMS")
