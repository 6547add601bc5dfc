"""Studies by name: ours are one file each, whose ``study()`` says what is run, its docstring why.

Others' come by entry point, in the group ``mugrow.studies``, or in a file: of Python, where
``study`` is a ``Study`` or a function that returns one, or of TOML (``mugrow.sweeps.study_file``).
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from mugrow.bench.entries import Registry, is_python_file
from mugrow.bench.spec import UserError
from mugrow.sweeps.override import override
from mugrow.sweeps.study import Study

RECIPES = {
    "quick": "tune, transfer and grow at toy scale, end to end in minutes",
    "zoo": "every growth method on one target, from half its width, half its depth or twice it",
    "zoo-depth": "three operators in depth on the same target, with five seeds",
    "small": "growth up to width 64 and depth 4, in width and in depth, on real prose",
    "transfer-width": "does the best learning rate stay as width grows, by parametrization",
    "transfer-depth": "and as depth grows, under muP, depth-muP and CompleteP",
    "transfer-batch": "and with more tokens and larger batches, under muP and Complete(d)P",
    "transfer-growth": "and after growth by four operators, at three growth factors",
    "origins": "and whether new units of a grown model want another rate than old ones",
    "modules": "tuning every kind of module by itself, against all of them together",
    "grow-smollm2": "a published model, cut to 42M parameters and grown by five operators",
    "breakers": "eight choices that may break its transfer, each switched alone",
}
REGISTRY = Registry("study", Study, __name__, "study", tuple(RECIPES), "mugrow.studies")


def recipe(word: str | Path) -> Study:
    """The study of that name, or of the file of that path, which ends in ``.py`` or ``.toml``.
    Raises ``UserError`` where there is none, or where somebody's study cannot be loaded, in one
    line."""
    path, word = Path(word), str(word)
    is_python = is_python_file(word)
    if path.suffix.lower() == ".toml":
        from mugrow.sweeps.study_file import read_study  # brings in numpy

        return read_study(path)
    is_path = not is_python and (len(path.parts) > 1 or path.exists())
    if is_path and word not in REGISTRY.names():
        raise UserError(f"{word!r} is no study: one in a file ends in .py or .toml")
    for file in (Path(f"{word}.toml"), Path(f"{word}.py")):
        if word not in REGISTRY.names() and not is_python and file.is_file():
            raise UserError(f"unknown study {word!r}; did you mean the file {str(file)!r}?")
    return REGISTRY.find(word)


def configured(
    word: str | Path, settings: str | Iterable[str] = (), corpus: str | None = None
) -> Study:
    """A study by its name in `mugrow list studies`, or by its file's path, with settings changed,
    as in ``--set KEY=VALUE``, and on another corpus if one is given, by name or path. Raises
    ``UserError``, in one line, for what is not there or cannot be, and for a vocabulary, which
    follows from the corpus.

    >>> import mugrow
    >>> mugrow.recipe("quick", ["seeds=0,1,2", "methods=scratch,stack"]).seeds
    (0, 1, 2)
    """
    study = recipe(word)
    changed = override(study, [settings] if isinstance(settings, str) else settings)
    if changed.model.vocab_size != study.model.vocab_size:
        raise UserError("model.vocab_size follows from the corpus; set tokenizer=bpe:VOCAB")
    return changed if corpus is None else replace(changed, corpus=corpus)
