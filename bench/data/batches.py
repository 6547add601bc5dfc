"""Batches as a pure function of (seed, step), and validation windows that never change.

The offsets of a batch are words of Philox, a counter-based generator (Salmon et al., SC 2011): its
key is the seed and the step is in the counter. No state is carried from step to step, so a resumed
run sees what it would have seen, and every method and learning rate of a seed sees the same tokens
in the same order. The step goes into the counter's *highest* word: the generator itself counts up
the lowest one, and a step put there would repeat most of its neighbour's offsets.

Validation windows are spread evenly over the held-out documents, so that they stand for all of
them: at the default size, the first tokens would be those of a few files, or of half a novel.
"""

import functools
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mugrow.bench.checkpoints.imported import OWN, tokenizer_file, tokenizer_name
from mugrow.bench.data.corpora import Corpus, read_corpus
from mugrow.bench.data.tokenizers import encode
from mugrow.bench.spec import DataSpec, ModelSpec, UserError

Tokens = npt.NDArray[np.unsignedinteger]


@dataclass(frozen=True, eq=False)
class TokenData:
    """Token ids of the training (n,) and the held-out (m,) documents, each in one stream.

    ``token_bytes`` has shape (vocab_size,): how many bytes of text each id stands for; ``None``
    where that is not known, as for a corpus that is token ids already, whose tokenizer is ``none``.
    ``left_out`` says what of the corpus was not read.
    """

    name: str
    corpus_sha256: str
    train: Tokens
    val: Tokens
    vocab_size: int
    token_bytes: npt.NDArray[np.int64] | None
    tokenizer: str = "none"
    left_out: str = ""

    def bits_per_byte(self, nats_per_token: float, windows: npt.NDArray[np.int64]) -> float:
        """The mean loss over the targets of ``windows``, per byte of text; NaN if not known."""
        if self.token_bytes is None:
            return math.nan
        targets = windows[:, 1:]
        tokens_per_byte = targets.size / int(self.token_bytes[targets].sum())
        return nats_per_token * tokens_per_byte / math.log(2)


def resolve(corpus: str, tokenizer: str = "bytes", val_tokens: int = 32768) -> DataSpec:
    """Read a corpus by name or path and pin it: its name without folders, and its hash.

    A corpus of token ids takes no tokenizer but the default, which its spec records as ``none``.
    Raises ``UserError`` for a corpus or tokenizer that cannot be used, or is too short.
    """
    data = _tokenize(corpus, tokenizer)
    spec = DataSpec(
        corpus=data.name,
        corpus_sha256=data.corpus_sha256,
        tokenizer=data.tokenizer,
        val_tokens=val_tokens,
    )
    load(spec, corpus)
    return spec


def load(spec: DataSpec, path: str | None = None, source: str | None = None) -> TokenData:
    """The tokens of a spec; ``path`` is where its corpus lies on this machine, if it is a file, and
    ``source`` the folder of the imported model whose own tokenizer is asked for.

    A process reads each corpus once. Raises ``UserError`` when the content is not what the spec
    pins, or when there is too little of it for ``val_tokens``.
    """
    corpus = path or spec.corpus
    data = _tokenize(corpus, _found(spec.tokenizer, source))
    if data.corpus_sha256 != spec.corpus_sha256:
        raise UserError(
            f"corpus {corpus!r} is not the text this run is about: its sha256 is "
            f"{data.corpus_sha256[:12]}…, not {spec.corpus_sha256[:12]}…"
        )
    shorter = min(len(data.train), len(data.val))
    for name, least in (("val_tokens", 1), ("final_val_tokens", 0)):
        if not least <= getattr(spec, name) < shorter:
            raise UserError(
                f"{name} {getattr(spec, name)} does not fit corpus {corpus!r}, which has "
                f"{len(data.train)} tokens to train on and {len(data.val)} held out: it must be at "
                f"least {least} and below {shorter}"
            )
    return data


def resolve_own(corpus: str, folder: Path, model: ModelSpec, val_tokens: int) -> DataSpec:
    """``resolve`` for the imported model of a folder: text in the tokens of its own tokenizer, or a
    corpus of its token ids. Raises ``UserError`` also for a vocabulary that is not the model's."""
    if read_corpus(corpus).is_text:
        path = tokenizer_file(folder)
        found = resolve(corpus, f"hf:{path}", val_tokens)
        vocabulary = load(found, corpus).vocab_size
        if vocabulary != model.vocab_size:
            raise UserError(
                f"the tokenizer beside source {str(folder)!r} has {vocabulary} tokens, and the "
                f"checkpoint {model.vocab_size}: it is another's"
            )
        return replace(found, tokenizer=tokenizer_name(path))
    found = resolve(corpus, "none", val_tokens)
    tokens = load(found, corpus)
    largest = max(int(part.max(initial=0)) for part in (tokens.train, tokens.val))
    if largest >= model.vocab_size:
        raise UserError(
            f"corpus {corpus!r} has the token id {largest}, and source {str(folder)!r} "
            f"{model.vocab_size} tokens: it is of another tokenizer"
        )
    return found


def _found(tokenizer: str, source: str | None) -> str:
    """A tokenizer by a name that can be read: an imported model's own by its file."""
    if not tokenizer.startswith(OWN):
        return tokenizer
    if source is None:
        raise UserError(f"tokenizer {tokenizer!r} is that of an imported model; name its folder")
    path = tokenizer_file(Path(source))
    if (found := tokenizer_name(path)) != tokenizer:
        raise UserError(f"tokenizer '{path}' has changed: it is {found}, not {tokenizer}")
    return f"hf:{path}"


def train_batch(
    train: Tokens, seed: int, step: int, sequences: int, context: int
) -> npt.NDArray[np.int64]:
    """Shape (sequences, context + 1): windows at random offsets, the targets shifted by one.

    Windows are drawn with replacement and may cross from one document into the next.
    """
    if len(train) <= context:
        raise UserError(f"context {context} is too long for {len(train)} tokens to train on")
    words = np.random.Philox(key=seed, counter=np.array([0, 0, 0, step])).random_raw(sequences)
    offsets = (words % np.uint64(len(train) - context)).astype(np.int64)
    return _windows(train, offsets, context)


def val_windows(val: Tokens, context: int, tokens: int) -> npt.NDArray[np.int64]:
    """Shape (tokens // context, context + 1): evenly spaced windows; no target is in two."""
    windows = tokens // context
    if not windows:
        raise UserError(f"context {context} is longer than the {tokens} tokens of validation")
    assert windows * context < len(val)
    starts = np.arange(windows) * (len(val) - 1 - context) // max(windows - 1, 1)
    return _windows(val, starts, context)


def _windows(tokens: Tokens, starts: npt.NDArray[np.int64], context: int) -> npt.NDArray[np.int64]:
    windows: Tokens = tokens[starts[:, None] + np.arange(context + 1)]
    return windows.astype(np.int64)


@functools.lru_cache(maxsize=4)
def _tokenize(corpus: str, tokenizer: str) -> TokenData:
    source = read_corpus(corpus)
    if not source.is_text:
        return _token_ids(source, tokenizer)
    train, val, token_bytes = encode(tokenizer, source.train, source.val)
    known = token_bytes if token_bytes.any() else None
    about = (source.name, source.sha256)
    return TokenData(*about, train, val, len(token_bytes), known, tokenizer, source.left_out)


def _token_ids(source: Corpus, tokenizer: str) -> TokenData:
    """Ids as given. The vocabulary is padded to a multiple of 64 (GPT-2's 50257 → 50304)."""
    if tokenizer not in ("bytes", "none"):
        raise UserError(
            f"tokenizer {tokenizer!r} does not fit corpus {source.name!r}, which is token ids "
            "already: use 'none'"
        )
    train, val = (
        np.frombuffer(b"".join(part), source.token_dtype) for part in (source.train, source.val)
    )
    largest = max(int(part.max(initial=0)) for part in (train, val))
    return TokenData(source.name, source.sha256, train, val, (largest // 64 + 1) * 64, None)
