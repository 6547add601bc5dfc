"""Continue: with everything carried over, a run in two parts is the run in one."""

from dataclasses import replace

import torch
from growth_runs import MODEL, RUN, start_of, train

from mugrow.bench.growth import Moments, method
from mugrow.bench.model import Decoder
from mugrow.bench.stack import Carried

ENTRY = method("continue")
DECODER = Decoder(MODEL)


def test_weights_are_copied_bit_for_bit():
    start = start_of(RUN)
    grown = ENTRY.grow(start, DECODER, DECODER, {}, torch.Generator())
    assert grown.keys() == start.keys()
    assert all(torch.equal(grown[name], start[name]) for name in start)
    assert not {t.data_ptr() for t in grown.values()} & {t.data_ptr() for t in start.values()}


def test_the_second_part_is_the_sources_own_continuation_to_the_bit():
    whole = train(RUN, start_of(RUN))
    half = train(replace(RUN, stop_step=10), start_of(RUN))
    rng = torch.Generator()
    grown = ENTRY.grow(half.weights, DECODER, DECODER, {}, rng)
    moments = ENTRY.grow_moments(Moments(**half.carried.buffers), DECODER, DECODER, rng)
    rest = replace(RUN, first_step=10, first_batch=10)
    resumed = train(rest, grown, carried=Carried(moments._asdict(), half.carried.updates))
    assert all(torch.equal(resumed.weights[n], whole.weights[n]) for n in whole.weights)
    losses = [[row["val_loss"] for row in curve] for curve in (resumed.curve[1:], whole.curve[3:])]
    assert losses[0] == losses[1]
    fresh = train(rest, grown)
    assert not torch.equal(fresh.weights["embed.weight"], whole.weights["embed.weight"])
