"""Checksums of stored files: what was changed or swapped is never used."""

import errno
import json
import os
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import BASE, RUN, home, job_of

from mugrow.bench import checkpoint
from mugrow.bench.checksums import (
    SUMS,
    Damaged,
    forget_sums,
    read_sums,
    sha256_of_file,
    write_sums,
)
from mugrow.bench.data.batches import resolve
from mugrow.bench.files import (
    fenced,
    left_behind,
    remove,
    temporaries,
    temporary_of,
    write_atomically,
    write_bytes,
)
from mugrow.bench.record import CURVE_SCHEMA, set_aside, write_tables
from mugrow.bench.run import ended, load_state, run_stack, verify
from mugrow.bench.start import read_source

TENSORS = ("checkpoint.safetensors", "state.safetensors")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with two sources; not to be changed."""
    corpus = tmp_path_factory.mktemp("corpus") / "tide.txt"
    corpus.write_text("\n\n".join(f"the tide is {n * n} " * 30 for n in range(300)))
    run = replace(
        RUN,
        model=replace(RUN.model, vocab_size=256),
        base=replace(BASE, vocab_size=256),
        data=resolve(str(corpus), val_tokens=64),
    )
    job = job_of(
        tmp_path_factory.mktemp("study"), str(corpus), (run, replace(run, seed=1)), role="source"
    )
    run_stack(job)
    return job


@pytest.fixture
def job(trained, tmp_path):
    return replace(trained, folder=str(shutil.copytree(trained.folder, tmp_path / "study")))


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_the_checksums_are_as_sha256sum_writes_them(trained):
    folder = home(trained, 0)
    sums = read_sums(folder)
    assert sums.keys() == {*TENSORS, "curve.parquet", "spec.json"}
    assert (folder / SUMS).read_text() == "".join(
        f"{sha256_of_file(folder / name)}  {name}\n" for name in sorted(sums)
    )


@pytest.mark.parametrize("name", [*TENSORS, "curve.parquet", SUMS])
def test_a_flipped_bit_is_damage_wherever_it_is(job, name):
    path, draw = home(job, 0) / name, random.Random(name)
    whole = path.read_bytes()
    verify(Path(job.folder), job.runs[0].run_id)
    for _ in range(25):
        flip(path, draw.randrange(8 * len(whole)))
        with pytest.raises(Damaged):
            verify(Path(job.folder), job.runs[0].run_id)
        path.write_bytes(whole)


def test_a_checkpoint_is_verified_when_it_is_read(job):
    path = home(job, 0) / TENSORS[0]
    read_source(path, "float32", carry=True)
    flip(path, 8 * (path.stat().st_size - 10))
    with pytest.raises(Damaged, match="its content does not match SHA256SUMS") as error:
        read_source(path, "float32", carry=False)
    assert error.value.path == path


def test_a_store_without_checksums_is_read_as_before(job):
    (home(job, 0) / SUMS).unlink()
    verify(Path(job.folder), job.runs[0].run_id)
    read_source(home(job, 0) / TENSORS[0], "float32", carry=True)


@pytest.mark.parametrize("sums", [True, False])
def test_a_swapped_checkpoint_is_damage_with_checksums_and_without(job, sums):
    first, second = (home(job, member) for member in range(2))
    for folder in (first, second):
        if not sums:
            (folder / SUMS).unlink()
    for name in TENSORS:
        (first / name).rename(first / "kept")
        (second / name).rename(first / name)
        (first / "kept").rename(second / name)
    for folder in (first, second):
        with pytest.raises(Damaged, match="SHA256SUMS" if sums else "it is of run"):
            read_source(folder / TENSORS[0], "float32", carry=False)
        with pytest.raises(Damaged):
            verify(Path(job.folder), folder.name)


def test_a_curve_of_another_run_is_not_taken_for_its_own(job):
    for member in range(2):
        (home(job, member) / SUMS).unlink()
    shutil.copy(home(job, 1) / "curve.parquet", home(job, 0) / "curve.parquet")
    with pytest.raises(Damaged, match=f"it is of run {job.runs[1].run_id}"):
        ended(Path(job.folder), job.runs[0].run_id)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w | {"head.weight": w["head.weight"] * torch.nan}, "head.weight holds numbers"),
        (lambda w: w | {"head.weight": w["head.weight"].int()}, "head.weight is int32 (256, 16)"),
        (lambda w: w | {"head.weight": w["head.weight"].half()}, "not float32 (256, 16)"),
        (lambda w: w | {"head.weight": w["head.weight"][:9]}, "float32 (9, 16), not float32"),
        (lambda w: w | {"more": w["head.weight"].clone()}, "it has a tensor 'more'"),
        (lambda w: {k: w[k] for k in w if k != "head.weight"}, "it has no tensor 'head.weight'"),
    ],
    ids=["nan", "whole numbers", "half", "shape", "more", "fewer"],
)
def test_tensors_that_a_run_does_not_leave_are_named(job, change, said):
    path = home(job, 0) / TENSORS[0]
    (path.parent / SUMS).unlink()
    weights, metadata = checkpoint.load(path)
    checkpoint.save(path, change(weights), metadata)
    with pytest.raises(Damaged, match=re.escape(said)):
        read_source(path, "float32", carry=False)


def test_a_stacks_state_has_a_checksum_of_its_own(tmp_path):
    path, draw = tmp_path / "stack.safetensors", random.Random(0)
    tensors = {"weights": torch.arange(12.0).view(3, 4), "updates": torch.ones(3, 1)}
    text = json.dumps({"runs": ["a"], "step": 3, "curves": [[{"val_loss": 1.25}]]})
    checkpoint.save(path, tensors, {"state": text, "sha256": checkpoint.digest(tensors, text)})
    whole = path.read_bytes()
    found, rest = load_state(path)
    assert (rest["step"], found.keys()) == (3, tensors.keys())
    for _ in range(200):
        flip(path, draw.randrange(8 * len(whole)))
        try:
            found, rest = load_state(path)
        except Damaged:
            pass
        else:  # blanks that pad the header, or the name under which the checksum is
            assert json.dumps(rest) == text
            assert all(torch.equal(found[name], tensors[name]) for name in tensors)
        path.write_bytes(whole)
    checkpoint.save(path, tensors, {"state": text})  # as it was saved before there were any
    assert load_state(path)[1]["step"] == 3


def test_a_passing_error_is_not_damage(job, monkeypatch):
    path = home(job, 0) / TENSORS[0]

    def fails(*given, **more):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("mugrow.bench.checkpoint.safe_open", fails)
    with pytest.raises(OSError, match="Input/output error"):
        checkpoint.load(path)
    with pytest.raises(OSError, match="Input/output error"):
        ended(Path(job.folder), job.runs[0].run_id)


def test_files_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        checkpoint.save(tmp_path / "a.safetensors", {"a": torch.ones(1)}, {})
        write_sums(tmp_path, {})
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {0o640}


def test_temporary_files_have_a_host_and_a_number_of_their_own(tmp_path):
    path = tmp_path / "curve.parquet"
    ours = temporary_of(path)
    assert re.fullmatch(r"\.curve\.parquet\.[\w-]+\.\d+\.[0-9a-f]{8}\.tmp", ours.name)
    assert temporary_of(path) == ours
    if not (child := os.fork()):
        os._exit(temporary_of(path).name.split(".")[-2] == ours.name.split(".")[-2])
    assert os.waitpid(child, 0)[1] == 0
    others = [tmp_path / ".thesis.tex.host.1.01234567.tmp", tmp_path / ".curve.parquet.1.tmp", path]
    for one in (ours, *others):
        one.write_bytes(b"")
    assert temporaries(tmp_path, ["curve.parquet"]) == [ours]
    dead = ours.with_name(ours.name.replace(f".{os.getpid()}.", f".{2**22 + 1}."))  # none has that
    elsewhere = tmp_path / f".curve.parquet.elsewhere.{2**22 + 1}.01234567.tmp"
    for one in (dead, elsewhere):
        one.write_bytes(b"")
    assert {*temporaries(tmp_path, ["curve.parquet"])} == {ours, dead, elsewhere}
    assert left_behind(tmp_path, ["curve.parquet"]) == [dead]


class Lost(Exception):
    pass


def test_who_may_write_no_longer_neither_renames_nor_removes(tmp_path):
    def check():
        raise Lost

    path, curve = tmp_path / "file", tmp_path / "curve.parquet"
    path.write_bytes(b"before")
    with fenced(check):
        for change in (
            lambda: write_bytes(path, b"after"),
            lambda: remove(path),
            lambda: set_aside(path),
            lambda: forget_sums(tmp_path),
            lambda: write_tables(tmp_path, {curve.name: CURVE_SCHEMA.empty_table()}),
            lambda: write_atomically(path, lambda temporary: None),  # another has removed it
        ):
            with pytest.raises(Lost):
                change()
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("file", b"before")]
    write_bytes(path, b"after")
    assert path.read_bytes() == b"after"


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left") as error:
        write_bytes(tmp_path / "new" / "file", b"content")
    assert error.value.filename == str(tmp_path / "new" / "file")
    assert list((tmp_path / "new").iterdir()) == []
