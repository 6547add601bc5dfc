#!/usr/bin/env bash
# transformers: what one call asked for is saved with the tokenizer, and cuts the texts of whoever
# reads the file with tokenizers.
#
# Expected   `tokenizer(text, truncation=True, max_length=4)` is about that text. What
#            `save_pretrained` writes afterwards is the tokenizer that was loaded: the arguments of
#            a call are no part of it.
# Happens    The call sets them on the Rust tokenizer, which keeps them, and `save_pretrained` writes
#            them into tokenizer.json. transformers resets them at its own calls, and sees nothing
#            of it; `tokenizers.Tokenizer.from_file` of the same file cuts every text to 4 tokens,
#            without a word. A tool that tokenizes a corpus with the file alone loses most of it.
# Matters    Fine-tuning scripts truncate, then save the tokenizer beside the checkpoint, and such
#            folders are what pretraining tools are pointed at.
# Here       `mugrow tokenize` and every `hf:` corpus switch truncation and padding off as a
#            tokenizer is read.
# Versions   transformers 5.24.0, tokenizers 0.23.3, Python 3.11
# Sources    https://huggingface.co/docs/tokenizers/api/tokenizer (enable_truncation, from_file)
#            https://huggingface.co/docs/transformers/main_classes/tokenizer (truncation, max_length)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q transformers==5.24.0 tokenizers==0.23.3
venv/bin/python - <<'PYTHON'
import json
import os

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import tokenizers
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

print("transformers", transformers.__version__, " tokenizers", tokenizers.__version__)
words = "the river runs past an old mill and on to sea".split()
raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate([*words, "?"])}, unk_token="?"))
raw.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw)
text = " ".join(words)


def saved():
    """What stands in the file of truncation, and the text's tokens by two readers of it."""
    tokenizer.save_pretrained("saved")
    with open("saved/tokenizer.json") as file:
        truncation = json.load(file)["truncation"]
    by_tokenizers = Tokenizer.from_file("saved/tokenizer.json").encode(text).ids
    by_transformers = PreTrainedTokenizerFast.from_pretrained("saved")(text)["input_ids"]
    return truncation, len(by_tokenizers), len(by_transformers)


before = saved()
assert len(tokenizer(text, truncation=True, max_length=4)["input_ids"]) == 4
after = saved()
for when, (truncation, one, other) in (("before the call", before), ("after", after)):
    print(f"{when:16} truncation {truncation}; tokenizers reads {one}, transformers {other} tokens")
assert before == (None, 11, 11), before
assert after[0]["max_length"] == 4 and after[1:] == (4, 11), after
PYTHON
