"""Saves: of the moment that they were begun at, seldom enough, and whole."""

import os
import stat
import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from small_runs import RUN, skewed_tokens, start_of

from mugrow.bench import checkpoint, saving
from mugrow.bench.files import fenced
from mugrow.bench.run import _copied_state, _resume, _save_state
from mugrow.bench.saving import Saver
from mugrow.bench.stack import Stack, begin
from mugrow.bench.train import advance


class Clock:
    """Seconds that pass where the test says; all CPU time is the writer's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.cpu = 0.0
        fake = SimpleNamespace(monotonic=lambda: self.now, thread_time=lambda: self.cpu)
        monkeypatch.setattr(saving, "time", fake)

    def save_of(self, copy_s: float, cpu_s: float) -> Callable[[], Callable[[], object]]:
        def copy() -> Callable[[], object]:
            self.now += copy_s

            def write() -> None:
                self.cpu += cpu_s

            return write

        return copy


@pytest.mark.parametrize(("copy_s", "cpu_s"), [(0.5, 3.5), (0.0, 8.0), (0.001, 0.01)])
def test_saves_take_at_most_their_share_of_the_time_and_lose_no_more(monkeypatch, copy_s, cpu_s):
    clock = Clock(monkeypatch)
    began = []
    with Saver(every_s=20, share=0.02, size_bytes=int(1.5e9)) as save:
        while clock.now < 10_000:
            before = save.began_s
            if save.is_due():
                save.begin(clock.save_of(copy_s, cpu_s))
            save.wait()
            if save.began_s != before:
                began.append(save.began_s)
            clock.now += 1
    cost_s = copy_s + cpu_s
    assert len(began) * cost_s <= 0.02 * 10_000
    gaps = [b - a for a, b in zip([0.0, *began], [*began, clock.now], strict=True)]
    assert max(gaps[1:]) <= max(20, cost_s / 0.02) + 1 + copy_s
    assert gaps[0] == pytest.approx(7.5 / 0.02, abs=2)  # guessed from the size


def test_while_a_slow_disk_writes_there_is_no_other_save_and_training_goes_on():
    go_on, begun = threading.Event(), []

    def copy() -> Callable[[], object]:
        begun.append(len(begun))
        return go_on.wait

    with Saver(every_s=-1, share=0.5, size_bytes=0) as save:
        for _ in range(5):
            if save.is_due():
                save.begin(copy)
        assert begun == [0]
        go_on.set()
        save.wait()
        assert save.is_due()


def test_what_is_written_is_the_state_as_it_was_however_long_it_takes(tmp_path):
    stack, path = Stack([RUN]), tmp_path / "stack.safetensors"
    state, data = begin(stack, [start_of(RUN)]), skewed_tokens()
    states = advance(stack, state, data)
    next(states)
    expected = state.optimizer.weights_KP.clone()
    go_on = threading.Event()

    def late() -> Callable[[], object]:
        write = _copied_state(path, stack, state, data)
        return lambda: (go_on.wait(), write())

    with Saver(every_s=-1, share=1, size_bytes=0) as save:
        save.begin(late)
        for _ in range(3):
            next(states)
        assert not path.exists()
        go_on.set()
    saved = _resume(path, stack)
    assert saved is not None
    assert saved.step == 1
    assert torch.equal(saved.optimizer.weights_KP, expected)
    assert not torch.equal(state.optimizer.weights_KP, expected)


def test_what_a_write_raises_is_raised_where_training_is():
    def full() -> Callable[[], object]:
        def write() -> None:
            raise OSError(28, "No space left on device")

        return write

    save = Saver(every_s=-1, share=1, size_bytes=0)
    save.begin(full)
    with pytest.raises(OSError, match="No space left"):
        save.wait()
    save.wait()
    with pytest.raises(OSError, match="No space left"), Saver(-1, 1, 0) as other:
        other.begin(full)
    other = Saver(-1, 1, 0)
    other.begin(full)
    other.__exit__(KeyError, KeyError(), None)  # what ended the training is what is told


def test_a_write_asks_whether_its_process_still_may(tmp_path):
    class Lost(Exception):
        pass

    def lost() -> None:
        raise Lost

    stack, data = Stack([RUN]), skewed_tokens()
    state, path = begin(stack, [start_of(RUN)]), tmp_path / "stack.safetensors"
    with fenced(lost), pytest.raises(Lost), Saver(-1, 1, 0) as save:
        save.begin(lambda: _copied_state(path, stack, state, data))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_mode_that_the_umask_says(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        state = begin(Stack([RUN]), [start_of(RUN)])
        _save_state(tmp_path / "stack.safetensors", Stack([RUN]), state)
        checkpoint.save(tmp_path / "checkpoint.safetensors", start_of(RUN), {})
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {mode}
