"""Hooks of others, at every step: on generators of their own, and nothing of ours changed."""

import random

import numpy as np
import pytest
import torch
from small_runs import RUN, assert_same_curves, skewed_tokens, start_of, vary

from mugrow.bench.growth import During, GrowthMethod, MethodError, method
from mugrow.bench.guarded_hooks import guarded_hooks
from mugrow.bench.stack import Stack, begin
from mugrow.bench.train import advance, train

DATA = skewed_tokens()
SHORT = vary(steps=4, log_every=2)
EMBED = "embed.weight"


def entry(name="theirs") -> GrowthMethod:
    return GrowthMethod(name, "s", "p", (), "nothing", lambda a, b: None, grow=lambda *a: {})


def hooks_of(alone=False, **hooks) -> During:
    return guarded_hooks(entry(), During(**hooks), RUN.model, alone)


def trained(runs=(SHORT,), **hooks):
    stack = Stack(list(runs), during=hooks_of(**hooks))
    return train(stack, [start_of(run) for run in runs], DATA)


def noisy(draw):
    def used(weights, t, rng):
        return weights | {EMBED: weights[EMBED] * (1 + 0.1 * draw(rng))}

    return used


DRAWS = {
    "torch": lambda rng: torch.rand(()),
    "NumPy": lambda rng: float(np.random.rand()),  # noqa: NPY002
    "Python": lambda rng: random.random(),
}


@pytest.mark.parametrize("library", DRAWS)
def test_what_draws_from_global_generators_draws_the_same_again(library):
    """However often others draw, and from the middle on; and it moves nothing of theirs."""
    used = noisy(DRAWS[library])
    whole = trained(used=used)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    stack = Stack([SHORT], during=hooks_of(used=used))
    state = begin(stack, [start_of(SHORT)])
    for _ in advance(stack, state, DATA):
        break
    for current in advance(stack, state, DATA):  # as after a stop
        assert current is state
    assert state.curves == whole.curves
    now = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], now[0])
    assert before[1:] == now[1:]
    with pytest.raises(MethodError, match=f"moves the global generator of {library}; rng is for"):
        trained(used=used, alone=True)


class Gpu:
    """What torch has of the generators of GPUs, without one: two of the CPU's. ``started`` is
    whether the process has used one."""

    def __init__(self, monkeypatch, started=True):
        self.devices, self.started = [torch.Generator(), torch.Generator()], started
        for name in (
            *("is_available", "is_initialized"),
            *("get_rng_state_all", "set_rng_state_all", "manual_seed_all"),
        ):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))

    def is_available(self):
        return True

    def is_initialized(self):
        return self.started

    def get_rng_state_all(self):
        assert self.started, "asking starts a GPU"
        return [device.get_state() for device in self.devices]

    def set_rng_state_all(self, states):
        for device, state in zip(self.devices, states, strict=True):
            device.set_state(state)

    def manual_seed_all(self, seed):  # where none has been used, when it will be
        for device in self.devices:
            device.manual_seed(seed)

    def draw(self, rng):
        self.started = True
        return torch.rand((), generator=self.devices[1])


def test_what_draws_from_gpus_draws_the_same_again(monkeypatch):
    gpu = Gpu(monkeypatch)
    used = noisy(gpu.draw)
    gpu.manual_seed_all(5)
    whole = trained(used=used)
    before = gpu.get_rng_state_all()
    gpu.manual_seed_all(6)
    assert trained(used=used).curves == whole.curves
    gpu.manual_seed_all(5)
    assert all(map(torch.equal, before, gpu.get_rng_state_all()))
    with pytest.raises(MethodError, match="moves the global generator of CUDA; rng is for"):
        trained(used=used, alone=True)


def test_a_gpu_that_was_not_used_is_not_started_and_seeded_when_it_is(monkeypatch):
    used = noisy(Gpu(monkeypatch).draw)
    whole = trained(used=used)
    gpu = Gpu(monkeypatch, started=False)
    assert trained(used=noisy(lambda rng: torch.rand((), generator=rng)))
    assert not gpu.started
    assert trained(used=noisy(gpu.draw)).curves == whole.curves


def test_members_that_threads_train_draw_what_each_alone_draws():
    used = noisy(DRAWS["torch"])
    runs = [vary(SHORT, seed=seed) for seed in range(3)]
    alone = [trained([run], used=used).curves[0] for run in runs]
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        together = trained(runs, used=used).curves
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(alone, together, strict=True):
        losses = [[row["val_loss"] for row in curve] for curve in (one, other)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def in_place(weights, t, rng):
    with torch.no_grad():
        weights[EMBED].mul_(0.5)
    return weights


CLOCK = np.random.default_rng()


@pytest.mark.parametrize(
    ("hooks", "said"),
    [
        ({"used": in_place}, "changed the weights in training that it was given: embed.weight"),
        ({"used": noisy(lambda rng: float(CLOCK.random()))}, "is not the same twice: embed.weight"),
        ({"used": lambda w, t, rng: 3}, "returned from used int, not tensors by name"),
        ({"used": lambda w, t, rng: w | {"x": w[EMBED]}}, "other tensors than the model's: x"),
        ({"used": lambda w, t, rng: w | {EMBED: 1.0}}, "embed.weight as '1.0', not a tensor"),
        ({"used": lambda w, t, rng: w | {EMBED: w[EMBED][:1]}}, r"of the shape \(1, 16\), not"),
        ({"lift": lambda w: [t.zero_() for t in w.values()] and w}, "changed the weights to lift"),
        ({"lift": lambda w: {n: t * torch.nan for n, t in w.items()}}, "numbers not finite"),
        ({"lift": lambda w: {}}, "returned from lift no tensors"),
        ({"lift": lambda w: None}, "returned from lift NoneType, not tensors by name"),
        ({"rates": lambda t: {EMBED: float("nan")}}, "a rate of embed.weight that is not finite"),
        ({"rates": lambda t: {"embde": 1.0}}, "a rate of embde, which is not trained"),
        ({"rates": lambda t: {EMBED: torch.ones(3)}}, "raised RuntimeError"),
        ({"rates": lambda t: 0.5}, "returned from rates float, not rates by name"),
        ({"norm_mask": lambda t: torch.ones(2)}, r"from norm_mask no tensor of the shape \(16,\)"),
        ({"norm_mask": lambda t: [1 / 0]}, "raised ZeroDivisionError"),
        ({"norm_mask": lambda t: exit(0)}, "raised SystemExit"),
    ],
)
def test_what_cannot_be_trained_with_is_named(hooks, said):
    with pytest.raises(MethodError, match=rf"method 'theirs' .*{said}|method 'theirs' {said}"):
        trained(**hooks)


def test_hooks_that_do_nothing_wrong_change_nothing():
    """A run that diverges does, whatever its weights are."""
    plain = train(Stack([SHORT]), [start_of(SHORT)], DATA)
    sound = {"used": lambda w, t, rng: w, "rates": lambda t: {EMBED: 1.0}, "lift": dict}
    # rates of coordinates are not those of the one kernel, which rounds otherwise
    assert_same_curves(trained(**sound).curves[0], plain.curves[0], tolerance=1e-5)
    wild = vary(SHORT, lr=1e30, clip=0.0)
    assert trained([wild], **sound).status == ["diverged"]


def test_ours_are_asked_once_and_blamed():
    asked = []
    during = During(lift=lambda w: asked.append(1) or w, rates=lambda t: 1 / 0)
    hooks = guarded_hooks(method("msg"), during, RUN.model)
    hooks.lift(start_of(RUN))
    assert asked == [1]
    assert hooks.used is None
    with pytest.raises(MethodError, match="method 'msg' raised ZeroDivisionError"):
        hooks.rates(0)
    with pytest.raises(MethodError, match="returned NoneType from during, not its hooks"):
        guarded_hooks(entry(), None, RUN.model)
