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
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mugrow.bench.checkpoints.imported import OWN, tokenizer_name
from mugrow.bench.checkpoints.imported import tokenizer_file as own_tokenizer
from mugrow.bench.data import kept_ids
from mugrow.bench.data.corpora import read_corpus
from mugrow.bench.data.kept_ids import Encoded
from mugrow.bench.data.stamps import changed
from mugrow.bench.data.tokenizers import encode, given, key_of
from mugrow.bench.data.tokens import TokenData as TokenData  # where it was before
from mugrow.bench.data.tokens import Tokens as Tokens
from mugrow.bench.spec import DataSpec, ModelSpec, UserError


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
    tokenizer = _found(spec.tokenizer, source)
    data = _tokenize(corpus, tokenizer)
    if changed(data.stamps) is not None:
        _tokenize.cache_clear()
        data = _tokenize(corpus, tokenizer)
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


def load_again(spec: DataSpec, path: str | None = None, source: str | None = None) -> TokenData:
    """``load`` for a worker, after the program that it works for has done so: ids that are kept are
    mapped, and their text is not read."""
    tokenizer = _found(spec.tokenizer, source)
    kept = kept_ids.load(key_of(tokenizer, spec.corpus_sha256), check=False)
    if kept is None:
        return load(spec, path, source)
    return _of_text(spec.corpus, spec.corpus_sha256, tokenizer, kept)


def resolve_own(corpus: str, folder: Path, model: ModelSpec, val_tokens: int) -> DataSpec:
    """``resolve`` for the imported model of a folder: text in the tokens of its own tokenizer, or a
    file of its token ids. Raises ``UserError`` also for a vocabulary that is not the model's."""
    ids = read_corpus(corpus)
    if isinstance(ids, TokenData):
        if ids.sidecar is not None and ids.sidecar.vocab_size is not None:
            return resolve(corpus, f"hf:{own_tokenizer(folder)}", val_tokens)
        if (ids.largest_id or 0) >= model.vocab_size:
            raise UserError(
                f"corpus {corpus!r} has the token id {ids.largest_id}, and source {str(folder)!r} "
                f"{model.vocab_size} tokens: it is of another tokenizer"
            )
        return resolve(corpus, "none", val_tokens)
    path = own_tokenizer(folder)
    found = resolve(corpus, f"hf:{path}", val_tokens)
    vocabulary = load(found, corpus).vocab_size
    if vocabulary != model.vocab_size:
        raise UserError(
            f"the tokenizer beside source {str(folder)!r} has {vocabulary} tokens, and the "
            f"checkpoint {model.vocab_size}: it is another's"
        )
    return replace(found, tokenizer=tokenizer_name(path))


def _found(tokenizer: str, source: str | None) -> str:
    """A tokenizer by a name that can be read: an imported model's own by its file."""
    if not tokenizer.startswith(OWN):
        return tokenizer
    if source is None:
        raise UserError(f"tokenizer {tokenizer!r} is that of an imported model; name its folder")
    path = own_tokenizer(Path(source))
    if (found := tokenizer_name(path)) != tokenizer:
        raise UserError(f"tokenizer '{path}' has changed: it is {found}, not {tokenizer}")
    return f"hf:{path}"


def train_batch(
    train: Tokens, seed: int, step: int, sequences: int, context: int
) -> npt.NDArray[np.int64]:
    """Shape (sequences, context + 1): windows at random offsets, the targets shifted by one.

    Windows are drawn with replacement and may cross from one document into the next.
    """
    return windows(train, begins(len(train), seed, step, sequences, context), context)


def begins(
    tokens: int, seed: int, step: int, sequences: int, context: int
) -> npt.NDArray[np.int64]:
    """Where each of a batch's sequences begins in a stream of so many tokens, (sequences,)."""
    if tokens <= context:
        raise UserError(f"context {context} is too long for {tokens} tokens to train on")
    words = np.random.Philox(key=seed, counter=np.array([0, 0, 0, step])).random_raw(sequences)
    return (words % np.uint64(tokens - context)).astype(np.int64)


def val_windows(val: Tokens, context: int, tokens: int) -> npt.NDArray[np.int64]:
    """Shape (tokens // context, context + 1): evenly spaced windows; no target is in two."""
    count = tokens // context
    if not count:
        raise UserError(f"context {context} is longer than the {tokens} tokens of validation")
    assert count * context < len(val)
    starts = np.arange(count) * (len(val) - 1 - context) // max(count - 1, 1)
    return windows(val, starts, context)


def windows(tokens: Tokens, starts: npt.NDArray[np.int64], context: int) -> npt.NDArray[np.int64]:
    """What begins at these places of a stream, (..., context + 1)."""
    return tokens[starts[..., None] + np.arange(context + 1)].astype(np.int64)


@functools.lru_cache(maxsize=4)
def _tokenize(corpus: str, tokenizer: str) -> TokenData:
    source = read_corpus(corpus)
    if isinstance(source, TokenData):
        _check_tokenizer(source, tokenizer)
        return source
    encoded = encode(tokenizer, source.train, source.val)
    data = _of_text(source.name, source.sha256, tokenizer, encoded)
    return replace(data, left_out=source.left_out)


def _of_text(name: str, corpus_sha256: str, tokenizer: str, encoded: Encoded) -> TokenData:
    train, val, token_bytes = encoded
    known = token_bytes if token_bytes.any() else None
    return TokenData(name, corpus_sha256, train, val, len(token_bytes), known, tokenizer)


def _check_tokenizer(data: TokenData, tokenizer: str) -> None:
    """Token ids take no tokenizer but the one that made them."""
    if tokenizer in ("bytes", "none"):
        return
    made_with = data.sidecar
    if made_with is None or made_with.vocab_size is None or not tokenizer.startswith("hf:"):
        raise UserError(
            f"tokenizer {tokenizer!r} does not fit corpus {data.name!r}, which is token ids "
            "already: use 'none'"
        )
    asked = given(tokenizer.removeprefix("hf:"))
    theirs = made_with.tokenizer or "another tokenizer"
    if len(asked.token_bytes) != made_with.vocab_size:
        raise UserError(
            f"corpus {data.name!r} is ids of {theirs} with a vocabulary of {made_with.vocab_size}, "
            f"not of {tokenizer} with {len(asked.token_bytes)}"
        )
    if made_with.tokenizer_sha256 not in (None, asked.sha256):
        raise UserError(f"corpus {data.name!r} is ids of {theirs}, which is not {tokenizer}")
