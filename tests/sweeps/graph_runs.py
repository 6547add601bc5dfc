"""Runs that graphs are written from: one, a source of it, and one of twice the width."""

from dataclasses import replace

from mugrow.bench.spec import DataSpec, HyperSpec, ModelSpec, RunSpec, ScheduleSpec
from mugrow.sweeps.graph import Node

MODEL = ModelSpec(width=32, depth=2, head_size=16, context=16)
RUN = RunSpec(
    model=MODEL,
    base=MODEL,
    parametrization="mup",
    hyper=HyperSpec(lr=2**-7, init_std=0.1),
    schedule=ScheduleSpec(),
    data=DataSpec(corpus="words", corpus_sha256="0"),
    batch_sequences=4,
    steps=100,
    seed=0,
    data_seed=0,
)
SOURCE = Node(replace(RUN, stop_step=80, data_seed=1_000_000), "small")
WIDE = replace(RUN, model=replace(MODEL, width=64))
