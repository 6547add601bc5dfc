"""Optimizers as entries: names, rules, and a foreign one with three buffers, grown and resumed."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import BASE, RUN, curve, home, job_of, row, skewed_tokens, start_of, vary
from torch import Tensor

from mugrow.bench import checkpoint, entries, optim
from mugrow.bench.data.batches import load, resolve
from mugrow.bench.growth import grow_buffers, method
from mugrow.bench.model import Decoder, parameters
from mugrow.bench.optim import (
    Optimizer,
    Update,
    buffers_of,
    canonical,
    check_optimizer,
    names,
    optimizer,
    parse,
    trainers_of,
)
from mugrow.bench.parametrization import initial_weights, rules_of
from mugrow.bench.parametrization import names as parametrizations
from mugrow.bench.run import _resume, _save_state, run_stack
from mugrow.bench.spec import RunSpec, ScheduleSpec, Start, UserError
from mugrow.bench.stack import Stack, StackState, begin, stack_key
from mugrow.bench.start import beginning
from mugrow.bench.train import advance, train

MODEL = RUN.model


def mixed_step(update: Update, *, alpha: float = 2.0, slow: float = 0.98) -> Tensor:
    """AdEMAMix (arXiv 2409.03137) without its schedules: AdamW with a second, slower momentum."""
    fast, old, square = (update.buffers[name] for name in ("fast", "slow", "square"))
    members = update.members
    fast.lerp_(update.gradient, 1 - members.beta1_K1)
    old.lerp_(update.gradient, 1 - slow)
    square.lerp_(update.gradient.square(), 1 - members.beta2_K1)
    root = (square / members.bias2_K1).sqrt() + update.eps
    return (fast / members.bias1_K1 + alpha * old) / root


TOY = Optimizer(
    name="toy",
    summary="two momenta",
    paper="arXiv 2409.03137",
    step_size="entrywise",
    buffers={"fast": "gradient", "slow": "gradient", "square": "square"},
    step=mixed_step,
    reads=("beta1", "beta2", "eps"),
)
LOADED = {"toy": TOY}


class EntryPoint:
    """As an installer leaves it."""

    name, value = "toy", "their_package:OPTIMIZER"

    def load(self) -> object:
        return LOADED[self.name]


@pytest.fixture(autouse=True)
def installed(monkeypatch) -> Iterator[None]:
    """The toy is a plug-in of the group of optimizers."""
    found = {"mugrow.optimizers": [EntryPoint()]}
    monkeypatch.setattr(entries, "entry_points", lambda group: found.get(group, []))
    entries._installed.cache_clear()
    yield
    entries._installed.cache_clear()
    trainers_of.cache_clear()


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adamw", "lion", "muon", "toy"])
def test_every_one_has_facts_to_list(name):
    assert name in names()
    entry = optimizer(name)
    assert entry.name == name
    assert entry.summary
    assert entry.paper
    assert set(entry.buffers.values()) <= {"gradient", "square"}
    assert set(entry.fractions) <= entry.params.keys()
    assert set(entry.reads) <= set(optim.ADAM_ONLY)


@pytest.mark.parametrize(
    ("text", "one"),
    [
        ("adamw", "adamw"),
        ("muon:steps=5:momentum=0.95", "muon"),
        ("muon:steps=6:momentum=.9", "muon:momentum=0.9:steps=6"),
        ("lion:beta1=0", "lion:beta1=0.0"),
    ],
)
def test_there_is_one_spelling(text, one):
    assert canonical(text) == one


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lyon", "unknown optimizer 'lyon'; did you mean 'lion'?"),
        ("muon:momentun=0.9", "'momentun'; did you mean 'momentum'?"),
        ("muon:momentum=1", "momentum of optimizer 'muon' must be at least 0 and below 1, not 1"),
        ("muon:steps=0", "steps of optimizer 'muon' must be a whole number, at least 1"),
        ("lion:beta2=-0.1", "beta2 of optimizer 'lion' must be at least 0 and below 1"),
        ("adamw:beta1=0.8", "optimizer 'adamw' has no parameters, so no 'beta1'"),
    ],
)
def test_what_does_not_exist_is_refused(text, message):
    with pytest.raises(UserError) as caught:
        canonical(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# --- rules -------------------------------------------------------------------------------------


def trained_by(text: str, rules: str) -> dict[str, str]:
    found = trainers_of(text, rules, MODEL, BASE)
    return {name: trainer.optimizer.name for name, trainer in found.items()}


@pytest.mark.parametrize("rules", parametrizations())
@pytest.mark.parametrize("text", ["lion", "toy"])
def test_what_steps_by_entries_has_a_rule_under_every_parametrization(text, rules):
    found = trained_by(text, rules)
    for name, (_, kind) in parameters(MODEL).items():
        muons = rules == "spectral" and kind == "matrix"
        assert found[name] == ("muon" if muons else text), name


def test_muon_trains_the_hidden_matrices_and_adamw_the_rest():
    kinds = {name: kind for name, (_, kind) in parameters(MODEL).items()}
    wanted = {name: "muon" if kind == "matrix" else "adamw" for name, kind in kinds.items()}
    assert trained_by("muon", "sp") == trained_by("muon", "spectral") == wanted
    assert trained_by("adamw", "spectral") == wanted
    given = trainers_of("muon:momentum=0.5", "spectral", MODEL, BASE)["blocks.0.mlp.up.weight"]
    assert given.params == {"momentum": 0.5}


@pytest.mark.parametrize("rules", ["mup", "mup_package", "completep", "umup", "sp_embedding"])
def test_a_pair_without_a_rule_is_refused_in_one_line(rules):
    message = (
        f"parametrization '{rules}' has no rule for optimizer 'muon', whose step size is "
        "spectral; those that have one: sp, spectral"
    )
    with pytest.raises(UserError, match=message):
        trainers_of("muon", rules, MODEL, BASE)


def test_what_an_optimizer_does_not_read_cannot_be_set():
    check_optimizer(vary(beta2=0.99))
    check_optimizer(vary(optimizer="muon", parametrization="sp", beta2=0.99))
    check_optimizer(vary(optimizer="lion"))
    with pytest.raises(UserError, match=r"'lion' does not read hyper\.beta2, so 0\.99 would"):
        check_optimizer(vary(optimizer="lion", beta2=0.99))


def test_the_default_names_no_run_anew_and_others_train_in_stacks_of_their_own():
    assert vary(optimizer="adamw").run_id == RUN.run_id
    assert vary(optimizer="lion").run_id != vary(optimizer="lion:beta1=0.8").run_id != RUN.run_id
    assert stack_key(vary(optimizer="lion")) != stack_key(RUN)


def test_a_runs_buffers_are_those_of_all_its_optimizers():
    assert buffers_of(RUN) == {"m": "gradient", "v": "square"}
    assert buffers_of(vary(parametrization="spectral")) == buffers_of(RUN)
    assert buffers_of(vary(optimizer="lion")) == {"m": "gradient"}
    assert buffers_of(vary(optimizer="lion", parametrization="spectral")) == {"m": "gradient"}
    assert buffers_of(vary(optimizer="toy", parametrization="spectral")) == (
        {"m": "gradient"} | dict(TOY.buffers)
    )


# --- training ----------------------------------------------------------------------------------

PAIRS = [
    ("adamw", "mup"),
    ("lion", "mup"),
    ("lion", "spectral"),
    ("muon:momentum=0.9", "sp"),
    ("muon", "spectral"),
    ("toy", "mup"),
    ("toy:alpha=4.0", "spectral"),
]


def run_of(text: str, rules: str, **changes: object) -> RunSpec:
    given = {"lr": 2**-8, "dtype": "float64", "optimizer": text, "parametrization": rules}
    return vary(**given | changes)


@pytest.mark.parametrize(("text", "rules"), PAIRS)
def test_a_run_that_was_saved_goes_on_to_the_same_bits(text, rules, tmp_path):
    stack = Stack([run_of(text, rules, dtype="float32")])
    start = [start_of(stack.specs[0])]
    whole = train(stack, start, skewed_tokens())
    state = begin(stack, start)
    for _ in zip(range(7), advance(stack, state, skewed_tokens()), strict=False):
        pass
    _save_state(tmp_path / "stack.safetensors", stack, state)
    resumed = _resume(tmp_path / "stack.safetensors", stack)
    assert isinstance(resumed, StackState)
    assert resumed.step == 7
    for _ in advance(stack, resumed, skewed_tokens()):
        pass
    assert resumed.curves == whole.curves
    assert torch.equal(resumed.optimizer.weights_KP, whole.optimizer.weights_KP)
    assert resumed.optimizer.buffers.keys() == whole.optimizer.buffers.keys()
    for name, buffer_KP in whole.optimizer.buffers.items():
        assert buffer_KP.any(), name
        assert torch.equal(resumed.optimizer.buffers[name], buffer_KP), name


def test_the_files_state_is_named_as_it_always_was(tmp_path):
    stack = Stack([RUN])
    _save_state(tmp_path / "stack.safetensors", stack, begin(stack, [start_of(RUN)]))
    tensors, _ = checkpoint.load(tmp_path / "stack.safetensors")
    assert tensors.keys() == {"weights", "m", "v", "updates", "loss_sum"}


@pytest.mark.parametrize(("text", "rules"), [("muon", "sp"), ("lion", "spectral"), ("toy", "mup")])
def test_a_stack_of_runs_is_so_many_runs(text, rules):
    runs = [run_of(text, rules, lr=lr) for lr in (2**-9, 2**-8, 2**-7)]
    starts = [start_of(run) for run in runs]
    together = train(Stack(runs), starts, skewed_tokens())
    assert together.curves[1][0]["val_loss"] > together.curves[1][-1]["val_loss"]
    for member, run in enumerate(runs):
        alone = train(Stack([run]), [starts[member]], skewed_tokens())
        for ours, theirs in zip(together.curves[member], alone.curves[0], strict=True):
            assert ours["val_loss"] == pytest.approx(theirs["val_loss"], abs=1e-11)


def test_muons_momentum_and_steps_act():
    def loss(text: str) -> float:
        run = run_of(text, "spectral")
        return float(
            train(Stack([run]), [start_of(run)], skewed_tokens()).curves[0][-1]["val_loss"]
        )

    usual = loss("muon")
    assert loss("adamw") == loss("muon:momentum=0.95:steps=5") == usual
    assert loss("muon:momentum=0.5") != usual != loss("muon:steps=2")


# --- growth with the state carried ---------------------------------------------------------------


@pytest.fixture(scope="module")
def text_of_tides(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("corpus") / "tide.txt"
    path.write_text("\n\n".join(f"the tide is {n * n} " * 30 for n in range(300)))
    return str(path)


@pytest.fixture
def source(tmp_path, text_of_tides) -> Callable[[str, str], RunSpec]:
    """A run of some optimizer, stopped at step 12 of 20, in a study's folder."""

    def trained(text: str, rules: str) -> RunSpec:
        model = replace(MODEL, vocab_size=256)
        run = run_of(
            text,
            rules,
            model=model,
            base=replace(BASE, vocab_size=256),
            data=resolve(text_of_tides, val_tokens=64),
            schedule=ScheduleSpec(kind="constant", warmup=0.0),
            stop_step=12,
            log_every=1,
            clip=0.0,
        )
        run_stack(job_of(tmp_path, text_of_tides, (run,), role="source"))
        return run

    return trained


def carried(run: RunSpec, method: str, width: int, **changes: object) -> RunSpec:
    """What is grown from a run at its last step, and goes on with its schedule and batches."""
    start = Start(method=method, source_run_id=run.run_id, source_step=12, optimizer="carry")
    model = replace(run.model, width=width)
    taken_up = {"stop_step": None, "first_step": 12, "first_batch": 12}
    return replace(run, model=model, start=start, **taken_up | changes)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("text", "rules"),
    [("adamw", "mup"), ("lion", "mup"), ("muon", "spectral"), ("toy", "mup"), ("toy", "spectral")],
)
def test_a_widened_model_goes_on_as_its_source_with_every_buffer_grown(
    source, tmp_path, text_of_tides, text, rules
):
    """No operator knows of these optimizers: buffers grow by their kind. To the last digits, so a
    buffer that grew wrongly, or began at zero, would show."""
    run = source(text, rules)
    whole = replace(run, stop_step=None)
    wide = carried(run, "mup_upscale", 2 * run.model.width)
    fresh = replace(wide, start=replace(wide.start, optimizer="fresh"))
    curves = []
    for one in (whole, wide, fresh):
        job = job_of(tmp_path, text_of_tides, (one,), role="target", key=one.run_id)
        run_stack(job)
        assert row(job, 0)["status"] == "finished", row(job, 0)["reason"]
        curves.append([found["val_loss"] for found in curve(job, 0)][-9:])
    assert curves[1] == pytest.approx(curves[0], abs=1e-9)
    assert max(abs(a - b) for a, b in zip(curves[2], curves[0], strict=True)) > 1e-4
    tensors, _ = checkpoint.load(home(job, 0) / "state.safetensors")
    prefixes = {name.partition(".")[0] for name in tensors}
    assert prefixes == {"updates", *buffers_of(run)}


def test_a_state_is_carried_to_the_same_optimizer_alone(source, tmp_path, text_of_tides):
    run = source("lion", "mup")
    other = replace(carried(run, "mup_upscale", 32), optimizer="adamw")
    job = job_of(tmp_path, text_of_tides, (other,), role="target")
    run_stack(job)
    assert row(job, 0)["status"] == "failed"
    assert row(job, 0)["reason"] == "its source was trained by lion, whose state is not adamw's"


@pytest.mark.parametrize(
    ("buffers", "message"),
    [
        ({"m": "gradeint"}, "unknown kind of buffer 'm': 'gradeint'; did you mean 'gradient'"),
        ({"weights": "square"}, "optimizer 'toy' cannot call a buffer 'weights'"),
    ],
)
def test_a_buffer_that_cannot_be_is_refused(buffers, message):
    with pytest.raises(UserError, match=message):
        replace(TOY, buffers=buffers)


def test_a_second_square_grows_as_the_first():
    """AMSGrad's highest v (arXiv 1904.09237) beside v: pairs are filled with zeros."""
    big = replace(MODEL, width=2 * MODEL.width)
    models = [Decoder(one, rules_of("mup", one, MODEL).multipliers) for one in (MODEL, big)]
    weights = initial_weights(MODEL, rules_of("mup", MODEL, MODEL), 0.1, 0, torch.float64)
    given = {name: {k: w.square() for k, w in weights.items()} for name in ("m", "v", "top")}
    kinds = {"m": "gradient", "top": "square", "v": "square"}
    grown = grow_buffers(method("hypercloning"), given, kinds, *models, torch.Generator, {})
    name = "blocks.0.mlp.down.weight"
    assert torch.equal(grown["top"][name], grown["v"][name])
    assert not torch.equal(grown["v"][name], grown["m"][name])


def test_a_reset_clears_every_buffer_of_what_the_source_had_not(source, tmp_path, text_of_tides):
    run = source("toy", "mup")
    wide = carried(run, "hypercloning", 32)
    wide = replace(wide, start=replace(wide.start, reset=True))
    state = beginning(wide, Path(tmp_path), load(run.data, text_of_tides)).carried
    assert state is not None
    assert state.updates == 12
    for name in TOY.buffers:
        gains = state.buffers[name]["norm.gain"]
        assert gains[:16].all()
        assert not gains[16:].any()


def test_a_named_parameter_reaches_the_step():
    entry, params = parse("toy:alpha=3.0")
    assert entry is TOY
    assert params == {"alpha": 3.0}
