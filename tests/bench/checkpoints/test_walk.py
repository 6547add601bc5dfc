"""The walk of the page on checkpoints, on a tiny model: its commands and its Python."""

import re
import shlex
from pathlib import Path

import pytest
from tiny_models import saved

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "own-checkpoint.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), flags=re.M | re.S)


def with_tokenizer(folder):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {chr(code): code - 32 for code in range(32, 127)} | {"Ġ": 95}
    tokenizer = Tokenizer(models.BPE(words, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)


def test_a_grown_model_generates_text(mugrow, tmp_path, monkeypatch, capsys):
    saved("smollm2", tmp_path / "hub")
    with_tokenizer(tmp_path / "hub")
    monkeypatch.chdir(tmp_path)
    install, *commands = "".join(blocks("bash")).splitlines()
    assert install.endswith("pip install 'mugrow[hf]'")
    assert [shlex.split(command)[1] for command in commands] == ["import", "grow", "export"]
    for command in commands:
        tiny = command.replace("hf:HuggingFaceTB/SmolLM2-135M", "hub").replace("1152", "64")
        ended = mugrow(*shlex.split(tiny)[1:])
        assert ended.code == 0, ended.err
    (walk,) = blocks("python")
    capsys.readouterr()
    exec(walk, {})
    assert capsys.readouterr().out.startswith("The house by the river")


def test_the_table_has_every_family():
    from mugrow.bench.checkpoints import FAMILIES

    rows = re.findall(r"^\| `(\w+)`[^|]*\| 1e-5", PAGE.read_text(), flags=re.M)
    assert rows == list(FAMILIES)


@pytest.mark.parametrize("name", ["gguf", "transformers", "mup"])
def test_what_the_extra_brings_imports_beside_the_rest(name):
    __import__(name)
