#!/usr/bin/env bash
# transformers: the "rope_scaling" that model cards say to add to config.json resets the rotary base
# of a model that transformers 5 has saved.
#
# Expected   Qwen2.5's card says of long texts: add "rope_scaling" with YaRN's factor to config.json.
#            transformers 5 still reads that key, so the file means: as before, and scaled. The base,
#            a million, stays, as it does with a file of transformers 4.
# Happens    transformers 5 writes base and kind as "rope_parameters", and where it then finds
#            "rope_scaling" it takes that in place of the whole, base included. The base is the
#            default of 10,000, without a word: every pair of a head turns at another angle than it
#            was trained with, at the first token on.
# Matters    Whoever fine-tunes with transformers 5, saves, and follows the card for long texts
#            serves another model. The same two steps with a file of transformers 4 are right.
# Here       `mugrow import` refuses a config.json that has both and differs in them.
# Versions   transformers 5.24.0, Python 3.11
# Sources    https://huggingface.co/Qwen/Qwen2.5-7B-Instruct (Processing Long Texts)
#            https://huggingface.co/docs/transformers/internal/rope_utils
#            convert_rope_params_to_dict in transformers/modeling_rope_utils.py
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q transformers==5.24.0
venv/bin/python - <<'PYTHON'
import json
import os
from pathlib import Path

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import transformers
from transformers import AutoConfig, Qwen2Config

print("transformers", transformers.__version__)
CARD = {"factor": 4.0, "original_max_position_embeddings": 32768, "type": "yarn"}
ROPE = ("rope_parameters", "rope_theta", "rope_scaling")
Qwen2Config(max_position_embeddings=32768, rope_theta=1_000_000.0).save_pretrained("model")
path = Path("model/config.json")
saved = json.loads(path.read_text())
rest = {name: value for name, value in saved.items() if name not in ROPE}


def base(rotary):
    """The base that is read of a file that says so of rotary positions."""
    path.write_text(json.dumps(rest | rotary))
    return AutoConfig.from_pretrained("model").rope_parameters["rope_theta"]


of_5 = {name: saved[name] for name in ROPE if name in saved}
of_4 = {"rope_theta": 1_000_000.0}
found = {}
for name, rotary in (("of transformers 4", of_4), ("of transformers 5", of_5)):
    found[name] = base(rotary), base(rotary | {"rope_scaling": CARD})
    print(f"a file {name}: base {found[name][0]:,.0f}; with the card's words {found[name][1]:,.0f}")
assert found["of transformers 4"] == (1e6, 1e6), found
assert found["of transformers 5"] == (1e6, 1e4), found
PYTHON
