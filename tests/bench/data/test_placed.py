"""Ids on the device are those of the file, and a CPU's stay in it."""

import tracemalloc

import numpy as np
import pytest
import torch

from mugrow.bench.data import placed as module
from mugrow.bench.data.batches import _tokenize, load_again, resolve, windows
from mugrow.bench.data.placed import DeviceTokens, HostTokens, copied, placed
from mugrow.bench.data.tokens import Pieces

BEGINS = torch.tensor([[0, 3, 55], [91, 17, 40]])


@pytest.mark.parametrize("kind", ["u1", "<u2", ">u2", "<u4", "i4", "i8", "u8"])
@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_gather_on_the_device_gives_the_ids_of_the_file(kind, in_pieces, monkeypatch):
    monkeypatch.setattr(module, "COPIED", 7)
    largest = min(np.iinfo(kind).max, 2**62)
    ids = np.linspace(0, largest, 100, dtype=np.float64).clip(0, largest - 1024 * (largest > 2**60))
    tokens = ids.astype(kind)
    if in_pieces:
        tokens = Pieces(tokens, np.array([60, 0]), np.array([40, 60]))
    on_device = copied(tokens, "cpu")
    found = on_device.windows(BEGINS, 8)
    assert found.dtype == torch.int64
    assert np.array_equal(found.numpy(), windows(tokens, BEGINS.numpy(), 8))
    assert np.array_equal(found.numpy(), HostTokens(tokens, "cpu").windows(BEGINS, 8).numpy())
    assert len(on_device) == len(tokens) == 100
    assert on_device.ids.nbytes == 100 * np.dtype(kind).itemsize


def test_what_has_room_on_the_device_is_copied_there():
    tokens = np.arange(100, dtype="<u2")
    there = placed(tokens, "meta", 200)
    assert isinstance(there, DeviceTokens)
    assert (there.ids.device.type, there.asked_on) == ("meta", "meta")
    stays = placed(tokens, "meta", 199)
    assert isinstance(stays, HostTokens)
    assert stays.ids is tokens
    assert (stays.device, stays.asked_on) == ("meta", "cpu")


def test_on_a_cpu_a_corpus_stays_in_its_file(tmp_path):
    path = tmp_path / "ids.bin"
    np.random.default_rng(0).integers(50_000, size=4_000_000, dtype="<u2").tofile(path)  # 8 MB
    spec = resolve(str(path), val_tokens=2048)
    _tokenize.cache_clear()
    data = load_again(spec, str(path))
    tracemalloc.start()
    try:
        found = placed(data.train, "cpu", float("inf")).windows(torch.arange(8), 64)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.shape == (8, 65)
    assert peak_bytes < 200_000
