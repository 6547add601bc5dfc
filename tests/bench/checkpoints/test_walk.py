"""The walk of the README and of the page on checkpoints, on a tiny model: its commands and its
Python. Its weights are bfloat16, as those of most published models are."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from tiny_models import model_of

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "own-checkpoint.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def walk(page):
    """Its commands and its Python: the block that installs the extra, and the one after it."""
    blocks = re.findall(r"^```(?:bash|python)\n(.*?)^```$", page, flags=re.M | re.S)
    first = next(place for place, block in enumerate(blocks) if "'.[hf]'" in block)
    return blocks[first : first + 2]


def families(page):
    """The lines of the table of families."""
    return re.findall(r"^\| `\w+`[^|]*\| 1e-5.*$", page, flags=re.M)


def with_tokenizer(folder):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {chr(code): code - 32 for code in range(32, 127)} | {"Ġ": 95}
    tokenizer = Tokenizer(models.BPE(words, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)


def test_a_grown_model_generates_text(mugrow, tmp_path, monkeypatch, capsys):
    model_of("smollm2").to(torch.bfloat16).save_pretrained(tmp_path / "hub")
    with_tokenizer(tmp_path / "hub")
    monkeypatch.chdir(tmp_path)
    shell, python = walk(README)
    install, *commands = shell.splitlines()
    assert install.endswith("pip install -c constraints.txt -e '.[hf]'")
    assert [shlex.split(command)[1] for command in commands] == ["import", "grow", "export"]
    for command in commands:
        tiny = command.replace("hf:HuggingFaceTB/SmolLM2-135M", "hub").replace("1152", "64")
        ended = mugrow(*shlex.split(tiny)[1:])
        assert ended.code == 0, ended.err
    capsys.readouterr()
    exec(python, {})
    assert capsys.readouterr().out.startswith("The house by the river")


def test_it_has_ten_lines_at_most_and_the_page_has_the_same():
    shell, python = walk(README)
    assert [shell, python] == walk(PAGE)
    assert len([line for line in (shell + python).splitlines() if line]) <= 10


def test_the_table_has_every_family():
    from mugrow.bench.checkpoints import FAMILIES

    rows = families(README)
    assert rows == families(PAGE)
    assert [re.findall(r"`(\w+)`", row)[0] for row in rows] == list(FAMILIES)


@pytest.mark.parametrize("name", ["gguf", "transformers", "mup"])
def test_what_the_extra_brings_imports_beside_the_rest(name):
    __import__(name)
