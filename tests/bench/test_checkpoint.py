import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mugrow.bench.checkpoint import Damaged, load, save

STEADY = settings(deadline=None, derandomize=True)
TENSORS = {
    "a.weight": torch.arange(12, dtype=torch.float64).view(3, 4).T / 7,  # not contiguous
    "b": torch.tensor([1.0, float("nan"), float("inf")]),
    "count": torch.tensor(3),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "checkpoint.safetensors"
    save(path, TENSORS, {"step": "7"})
    return path.read_bytes()


def test_loads_what_was_saved_bit_for_bit(tmp_path):
    path = tmp_path / "deep" / "checkpoint.safetensors"
    save(path, TENSORS, {"step": "7", "note": "ä\n"})
    tensors, metadata = load(path)
    assert metadata == {"step": "7", "note": "ä\n"}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in tensors.items():
        assert tensor.dtype == TENSORS[name].dtype
        assert torch.equal(tensor.nan_to_num(5.0), TENSORS[name].nan_to_num(5.0))
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.safetensors"]


def test_views_of_one_storage_are_saved_as_tensors_of_their_own(tmp_path):
    storage = torch.arange(6.0)
    save(tmp_path / "c", {"a": storage[:2], "b": storage[2:].view(2, 2)}, {})
    tensors, _ = load(tmp_path / "c")
    assert torch.equal(tensors["a"], torch.tensor([0.0, 1.0]))
    assert torch.equal(tensors["b"], torch.tensor([[2.0, 3.0], [4.0, 5.0]]))


def test_gradients_are_not_in_the_way(tmp_path):
    save(tmp_path / "c", {"a": torch.ones(2, requires_grad=True)}, {})
    assert not load(tmp_path / "c")[0]["a"].requires_grad


def test_a_missing_file_is_missing_not_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing.safetensors")


@STEADY
@given(kept=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_damaged_and_named(whole, tmp_path_factory, kept):
    path = tmp_path_factory.getbasetemp() / "truncated.safetensors"
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(Damaged, match=r"truncated\.safetensors is damaged: .") as error:
        load(path)
    assert error.value.path == path
    assert "\n" not in str(error.value)


@STEADY
@given(st.binary(max_size=200))
def test_a_foreign_file_is_damaged(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "foreign.safetensors"
    path.write_bytes(content)
    with pytest.raises(Damaged):
        load(path)


def test_damage_without_a_message_still_names_the_file(tmp_path):
    assert "curve.parquet is damaged" in str(Damaged(tmp_path / "curve.parquet", AssertionError()))


def test_what_is_loaded_lies_where_torch_would_put_it(tmp_path):
    """A product of tensors at another alignment may round otherwise, and a resumed run with it."""
    path = tmp_path / "odd.safetensors"
    save(path, {"a": torch.ones(3), "b": torch.ones(5)}, {"filler": "x" * 7})
    tensors, _ = load(path)
    fresh = torch.ones(5).data_ptr() % 16
    assert {tensor.data_ptr() % 16 for tensor in tensors.values()} == {fresh} == {0}
