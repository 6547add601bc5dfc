"""What a stack may take of a device: a share of all that it has, whatever is free."""

import pytest
import torch

from mugrow.bench import device


def test_a_cpu_has_no_limit_and_a_gpu_a_share_of_all_it_has(monkeypatch):
    def free(*_):
        raise AssertionError("what is free now is another thing at every start")

    monkeypatch.setattr(torch.cuda, "mem_get_info", free)
    monkeypatch.setattr(device, "total_bytes", {"cuda": 80e9, "cuda:1": 40e9}.__getitem__)
    assert device.memory_budget("cpu") is None
    assert device.memory_budget("cuda") == pytest.approx(72e9)
    assert device.memory_budget("cuda:1") == pytest.approx(36e9)


def test_devices_by_name():
    assert [device.is_gpu(name) for name in ("cpu", "cuda", "cuda:3")] == [False, True, True]
    assert device.device_name("cpu").startswith("cpu (")
