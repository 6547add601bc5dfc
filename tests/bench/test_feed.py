"""What a step is fed is what it was when every step was worked out by itself, and is sent once."""

import math

import numpy as np
import pytest
import torch
from small_runs import RUN, skewed_tokens, start_of, vary

from mugrow.bench import feed, schedule, train
from mugrow.bench.data.batches import train_batch
from mugrow.bench.data.placed import HostTokens, copied
from mugrow.bench.data_parallel import ALONE, Ranks
from mugrow.bench.spec import ScheduleSpec
from mugrow.bench.stack import PruningStep, Stack

DATA = skewed_tokens()
COSINE = ScheduleSpec(kind="cosine", warmup=0.2)
MEMBERS = [
    RUN,
    vary(data_seed=3, schedule=COSINE),
    vary(seed=1),
    vary(seed=2, data_seed=7, steps=23, first_step=3, first_batch=2, rewarm_steps=6),
]
LIKE = torch.zeros(4, 1)


def next_steps(step=0, ranks=ALONE, tokens=None):
    tokens = tokens or HostTokens(DATA.train, "cpu")
    return feed.next_steps(MEMBERS, step, tokens, LIKE, ranks)


@pytest.mark.parametrize("ranks", [ALONE, Ranks(1, 3)])
@pytest.mark.parametrize("on_device", [False, True])
def test_batches_and_rates_are_those_of_every_step_by_itself(ranks, on_device):
    found = next_steps(4, ranks, copied(DATA.train, "cpu") if on_device else None)
    assert (found.has(3), found.has(4), found.has(19), found.has(20)) == (False, True, True, False)
    for step in (4, 11, 19):
        tokens = [
            train_batch(DATA.train, one.data_seed, one.first_batch + step, 4, 8)[ranks.share(4)]
            for one in MEMBERS
        ]
        assert np.array_equal(found.batch(step).numpy(), np.stack(tokens))
        factors = [[schedule.run_factor(one, step)] for one in MEMBERS]
        assert torch.equal(found.factors_K1(step), torch.tensor(factors).float())
    for step in (4, 11):
        assert len({row.item() for row in found.factors_K1(step)}) == 2  # they do differ


def test_members_of_one_data_seed_share_a_stream():
    assert next_steps().begins_SUB.shape == (20, 3, 4)
    assert next_steps().streams_K.tolist() == [0, 1, 0, 2]


def test_what_is_known_ahead_is_bounded(monkeypatch):
    monkeypatch.setattr(feed, "MOST_STEPS", 6)
    assert len(next_steps().factors_SK1) == 6
    assert len(next_steps(17).factors_SK1) == 3
    monkeypatch.setattr(feed, "MOST_BYTES", 2 * 3 * 4 * 8)
    assert len(next_steps().factors_SK1) == 2
    monkeypatch.setattr(feed, "MOST_BYTES", 1)
    assert len(next_steps().factors_SK1) == 1


def trained(**stack):
    return train.train(Stack(MEMBERS, **stack), [start_of(one) for one in MEMBERS], DATA)


def test_it_is_worked_out_once_and_again_when_members_leave(monkeypatch):
    began = []

    def counted(specs, step, *others):
        began.append((len(specs), step))
        return feed.next_steps(specs, step, *others)

    monkeypatch.setattr(train, "next_steps", counted)
    trained()
    assert began == [(4, 0)]
    began.clear()
    trained(rungs=[PruningStep(10, 2)])
    assert began == [(4, 0), (2, 10)]


@pytest.mark.parametrize("rungs", [[], [PruningStep(10, 2)]])
def test_ids_on_the_device_and_fewer_steps_at_once_train_the_same_bits(monkeypatch, rungs):
    in_file = trained(rungs=rungs)
    rooms = []

    def on_device(tokens, device, room_bytes):
        rooms.append((device, room_bytes))
        return copied(tokens, device)

    monkeypatch.setattr(train, "placed", on_device)
    monkeypatch.setattr(feed, "MOST_STEPS", 3)
    there = trained(rungs=rungs)
    assert rooms == [("cpu", math.inf)]  # once for all steps
    assert there.curves == in_file.curves
    assert torch.equal(there.optimizer.weights_KP, in_file.optimizer.weights_KP)
