"""A checkpoint as it is found: what it says of itself, its tensors one by one, the files beside it.

A folder as ``transformers`` writes it has ``config.json`` and its tensors in ``model.safetensors``,
or in several files that ``model.safetensors.index.json`` lists. ``hf:NAME`` is such a folder of the
Hugging Face hub, downloaded by ``huggingface_hub`` into its cache, or found there when offline. A
file that ends in ``.gguf`` is read by ``mugrow.bench.checkpoints.gguf``.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from torch import Tensor

from mugrow.bench.checkpoints.config import Config
from mugrow.bench.spec import UserError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
BESIDE = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "tokenizer.model", "spiece.model", "vocab.txt", "tekken.json"),
    "chat_template.jinja",
    "generation_config.json",
)
"""Files that say nothing of the weights, and that a model is of no use without."""
SAFER = (
    "from transformers import AutoModelForCausalLM as M; "
    "M.from_pretrained('{0}').save_pretrained('{0}-safe')"
)


class Found(NamedTuple):
    """A tensor that is there: its name and shape, and how to read it."""

    name: str
    shape: tuple[int, ...]
    read: Callable[[], Tensor]


@dataclass(frozen=True)
class Published:
    """A checkpoint; ``tensors`` walks through them, one file open at a time. ``beside`` are the
    texts of the files of its tokenizer and of generation, by name; ``tokens`` is how many a
    tokenizer has that is in no such file."""

    where: str
    config: Config
    tensors: Callable[[], Iterator[Found]]
    beside: Mapping[str, bytes] = field(default_factory=dict)
    tokens: int | None = None


def opened(source: str) -> Published:
    """A checkpoint by its folder, ``hf:NAME`` or ``.gguf`` file. Raises ``UserError``."""
    if source.startswith("hf:"):
        return _of_folder(_downloaded(source.removeprefix("hf:")), source)
    path = Path(source)
    if path.suffix == ".gguf" and path.is_file():
        from mugrow.bench.checkpoints.gguf import read_gguf  # an extra

        return read_gguf(path)
    if not path.is_dir():
        raise UserError(f"{source} is no folder with a config.json, no .gguf file and no hf:NAME")
    return _of_folder(path, source)


def _downloaded(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = ["config.json", ADAPTER, "*.safetensors", INDEX, "pytorch_model*.json", *BESIDE]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"hf:{name} cannot be downloaded: {reason}") from error


def _of_folder(folder: Path, where: str) -> Published:
    if (folder / ADAPTER).is_file():
        raise UserError(f"{where} holds an adapter, {ADAPTER}: merge it into its model first")
    config = Config(read_json(folder / "config.json"), f"{where}: config.json")
    files = _files(folder, where)
    beside = {name: (folder / name).read_bytes() for name in BESIDE if (folder / name).is_file()}

    def tensors() -> Iterator[Found]:
        for path in files:
            with _reading(path) as file:
                for name in file.keys():  # noqa: SIM118  # safe_open is no mapping
                    shape = tuple(file.get_slice(name).get_shape())
                    yield Found(name, shape, partial(file.get_tensor, name))

    return Published(where, config, tensors, beside)


def _files(folder: Path, where: str) -> list[Path]:
    """The files that hold tensors, all of which are there. Of one file and an index, the file is
    taken, as ``transformers`` does."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        weight_map = read_json(folder / INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise UserError(f"{where}: {INDEX} has no weight_map")
        names = sorted(set(map(str, weight_map.values())))
        if outside := [name for name in names if Path(name).name != name]:
            raise UserError(f"{where}: {INDEX} names {outside[0]!r}, which is no file beside it")
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise UserError(
                f"{where}: {missing[0]} is missing, {len(missing)} of {len(names)} files"
            )
        _check_index(folder, where, weight_map, names)
        return [folder / name for name in names]
    if pickled := sorted(folder.glob("*.bin")) + sorted(folder.glob("*.pt*")):
        raise UserError(
            f"{where}: {pickled[0].name} is a pickle, which may run anything; make it safetensors: "
            f'python -c "{SAFER.format(where.removeprefix("hf:"))}"'
        )
    raise UserError(f"{where} has no {WEIGHTS} and no {INDEX}")


def _check_index(folder: Path, where: str, listed: Mapping[str, object], files: list[str]) -> None:
    """Raise ``UserError`` where the index says other than its files hold."""
    held: dict[str, str] = {}
    for file in files:
        with _reading(folder / file) as opened:
            for name in opened.keys():  # noqa: SIM118  # safe_open is no mapping
                if name in held:
                    raise UserError(f"{where}: tensor {name} is in {held[name]} and in {file}")
                if name not in listed:
                    raise UserError(f"{where}: {file} holds {name}, which {INDEX} does not list")
                held[name] = file
    for name, said in listed.items():
        if (found := held.get(name)) != said:
            raise UserError(
                f"{where}: {INDEX} says that {name} is in {said}, and it is in {found or 'none'}"
            )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ``UserError`` where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.parent} has no {path.name}") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} is not a JSON object")
    return value


@contextmanager
def _reading(path: Path) -> Iterator[Any]:  # safe_open is untyped
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
