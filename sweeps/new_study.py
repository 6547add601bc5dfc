"""A new study, written as a start: it runs in seconds, has every part, and says what each is for.

It is trained on the built-in Markov source, whose entropy is known, so nothing is read from disk
and a loss can be told from the lowest possible.
"""

import re
from pathlib import Path

from mugrow.bench.spec import UserError
from mugrow.sweeps.recipes import REGISTRY
from mugrow.sweeps.scaffold import write

TOML = """# {name}: say here why it is run.
#
#     mugrow run {name}.toml --dry-run     every run with its cost
#     mugrow run {name}.toml               into results/{name}; the same command goes on
#
# Every setting is a field of Study; what is left out is at its default.

name = "{name}"
title = "A first study of my own"
question = "Does szp beat training from scratch at equal charged compute?"

# The text. A path is relative to this file: "novels.txt", "notes:glob=*.md", "tokens.bin".
corpus = "synthetic"

# What is tuned: models of these widths, at every rate; the best of the smallest is transferred.
parametrizations = ["mup"]
proxy_widths = [16, 32]                   # the smallest is model.width
log2_lr = [-8.0, -7.0, -6.0, -5.0, -4.0]  # reach past the best on both sides
init_std = [0.1]
seeds = [0, 1]                            # three or more, where an interval is to say something

# What is grown: SOURCE_WIDTH:SOURCE_DEPTH:TARGET_WIDTH:TARGET_DEPTH, by each method.
ladder = ["16:1:32:1"]
methods = ["scratch", "szp:shrink=0.4"]   # scratch first; "./my_method.py" is a file of yours

# How long, in optimizer steps of batch_sequences * model.context tokens. All of these are far too
# few: they show that it runs.
proxy_steps = 40
source_steps = 60
target_steps = 80
budgets = [1.0, 1.5, 2.0]                 # of scratch, as multiples of target_steps
batch_sequences = 4
log_every = 10
val_tokens = 1024
final_val_tokens = 4096
generation = 5                            # trials that train as one program

[model]
width = 16
depth = 1
head_size = 16
context = 32
positions = "rope"

[hyper]
weight_decay = 0.1

[schedule]
kind = "wsd"
warmup = 0.05
cooldown = 0.2
"""
PYTHON = '''"""{name}: say here why it is run.

    mugrow run {name}.py --dry-run     every run with its cost
    mugrow run {name}.py               into results/{name}; the same command goes on
"""

from mugrow.bench.spec import FixedHyper, ModelSpec, ScheduleSpec
from mugrow.sweeps.study import Method, Step, Study

study = Study(
    name="{name}",
    title="A first study of my own",
    question="Does szp beat training from scratch at equal charged compute?",
    # The text: a name, or a path: "novels.txt", "notes:glob=*.md", "tokens.bin".
    corpus="synthetic",
    model=ModelSpec(width=16, depth=1, head_size=16, context=32, positions="rope"),
    hyper=FixedHyper(weight_decay=0.1),
    schedule=ScheduleSpec(kind="wsd", warmup=0.05, cooldown=0.2),
    # What is tuned: models of these widths, at every rate; the best of the smallest is transferred.
    parametrizations=("mup",),
    proxy_widths=(16, 32),  # the smallest is the model's
    log2_lr=(-8.0, -7.0, -6.0, -5.0, -4.0),  # reach past the best on both sides
    init_std=(0.1,),
    seeds=(0, 1),  # three or more, where an interval is to say something
    # What is grown, from a width and depth to others, by each method, scratch first.
    ladder=(Step(16, 1, 32, 1),),
    methods=(Method("scratch"), Method("szp", params=(("shrink", 0.4),))),
    # How long, in optimizer steps of batch_sequences * context tokens. All of these are far too
    # few: they show that it runs.
    proxy_steps=40,
    source_steps=60,
    target_steps=80,
    budgets=(1.0, 1.5, 2.0),  # of scratch, as multiples of target_steps
    batch_sequences=4,
    log_every=10,
    val_tokens=1024,
    final_val_tokens=4096,
    generation=5,  # trials that train as one program
)
'''


def new_study(name: str, folder: Path, *, python: bool = False) -> Path:
    """Write a study that runs as it is, of TOML or of Python; returns its file. Raises
    ``UserError``, with nothing written, for a name that is taken or cannot be a file's, and for a
    file that exists."""
    if not re.fullmatch("[a-z0-9][a-z0-9_-]*", name):
        near = re.sub("[^a-z0-9_-]+", "-", name.lower()).strip("-_") or "my-study"
        raise UserError(
            f"study name {name!r} must be lower-case letters, digits, dashes and underscores; "
            f"the nearest that is: {near}"
        )
    if name in REGISTRY.names():
        raise UserError(f"there is a study {name!r} already; see mugrow list studies")
    form, text = (".py", PYTHON) if python else (".toml", TOML)
    return write({f"{name}{form}": text.format(name=name)}, folder)
