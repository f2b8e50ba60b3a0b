"""The files of a checkpoint folder, none of them trusted: JSON, and the headers of safetensors."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from toolkit.core.artifacts import sha256_of_file
from toolkit.core.errors import CheckpointError
from toolkit.core.git_lfs import is_pointer

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
PROCESSOR = "processor_config.json"  # where a processor saved by transformers 5 holds what PREPROCESSOR held
ADAPTER = "adapter_config.json"
WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED_WEIGHTS, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
GENERATION = "generation_config.json"  # how a Whisper writes
TEXT_FILES = (
    "added_tokens.json",
    GENERATION,
    "merges.txt",
    "normalizer.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "sentencepiece.bpe.model")  # any of which makes one
PULL = "run `git lfs pull` in its repository"


def is_plain(name: str) -> bool:
    """Whether it names something in the folder itself, and leads nowhere else."""
    return Path(name).name == name and name not in ("", ".", "..")


def read_json(folder: Path, file: str) -> dict[str, Any]:
    """The object that a JSON file of a Hugging Face folder holds. Raises CheckpointError where there is none."""
    named, expected = f"{folder.name}/{file}", f"a Hugging Face folder with {CONFIG}, {PREPROCESSOR} and {WEIGHTS}"
    return read_object(folder / file, named, f"{folder.name}/ has no {file}; expected {expected}")


def read_preprocessor(folder: Path) -> dict[str, Any]:
    """What makes the feature extractor, from the file that transformers would take it from. Raises CheckpointError."""
    nested = read_json(folder, PROCESSOR) if (folder / PROCESSOR).is_file() else {}
    found = nested.get("feature_extractor", nested.get("audio_processor"))
    if found is None:
        return read_json(folder, PREPROCESSOR)
    if not isinstance(found, dict):
        raise CheckpointError(
            f"{folder.name}/{PROCESSOR}: feature_extractor is a {type(found).__name__}, expected an object"
        )
    return found


def tokenizer_files(folder: Path) -> dict[str, Any]:
    """SHA-256 of each file that makes the tokenizer of an encoder of text. Raises CheckpointError where none does."""
    files = (file for file in TEXT_FILES if file != GENERATION)
    found = {file: sha256_of_file(folder / file) for file in files if (folder / file).is_file()}
    if not set(found) & set(TOKENIZERS):
        raise CheckpointError(
            f"{folder.name}/ has no tokenizer, expected one of {list(TOKENIZERS)} next to its weights"
        )
    return found


def read_object(path: Path, named: str, missing: str) -> dict[str, Any]:
    """The object that a JSON file holds. named: the file, in sentences; missing: the sentence where it is not there.

    Raises CheckpointError.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        if is_pointer(path):
            raise CheckpointError(f"{named} is a Git LFS pointer, not the file; {PULL}")
        value = json.loads(path.read_bytes(), parse_constant=refuse)
    except FileNotFoundError:
        raise CheckpointError(missing) from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{named} is not valid JSON: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{named} cannot be read: {error.strerror}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{named} holds a {type(value).__name__}, expected an object")
    return value


def weights_of(folder: Path) -> tuple[list[str], dict[str, tuple[int, ...]]]:
    """The safetensors files that make the checkpoint, in the order of their names, and every tensor's shape.

    Raises CheckpointError where one is missing, cut, pickled or named from elsewhere.
    """
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS], _shapes(folder, WEIGHTS)
    if (folder / WEIGHTS_INDEX).is_file():
        return _sharded(folder)
    if is_pickled(folder):
        pickled = PICKLED_INDEX if (folder / PICKLED_INDEX).is_file() else PICKLED_WEIGHTS
        check_is_no_pointer(folder, pickled)
        raise CheckpointError(
            f"{folder.name}/ has its weights in {pickled}, a pickle, which is not read, since it could run code; "
            f"`toolkit models convert path/to/{folder.name} models/NAME` takes the tensors alone out of it, and writes "
            f"{WEIGHTS} (into the same folder where that is given twice)"
        )
    raise CheckpointError(f"{folder.name}/ has no {WEIGHTS} and no {WEIGHTS_INDEX}; the weights are missing")


def is_pickled(folder: Path) -> bool:
    """Whether the folder's weights are PyTorch's pickles alone."""
    return not any((folder / file).is_file() for file in (WEIGHTS, WEIGHTS_INDEX)) and any(
        (folder / file).is_file() for file in (PICKLED_WEIGHTS, PICKLED_INDEX)
    )


def check_is_no_pointer(folder: Path, file: str) -> None:
    """Raise CheckpointError where git left a pointer in the place of a large file."""
    if is_pointer(folder / file):
        raise CheckpointError(f"{folder.name}/{file} is a Git LFS pointer, not the weights; {PULL}")


def read_shards(folder: Path, index: str, suffix: str) -> dict[str, str]:
    """The file next to it that holds each tensor, by the index of a checkpoint in several files.

    suffix: how a shard's name ends. Raises CheckpointError where a file is missing or named from elsewhere.
    """
    owners = read_json(folder, index).get("weight_map")
    if not isinstance(owners, dict) or not owners or not all(isinstance(file, str) for file in owners.values()):
        raise CheckpointError(f"{folder.name}/{index} has no weight_map of tensor names to file names")
    for file in sorted(set(owners.values())):
        if not is_plain(file) or not file.endswith(suffix):
            kind = suffix.removeprefix(".")
            raise CheckpointError(f"{folder.name}/{index} names {file!r}, expected a {kind} file next to it")
        if not (folder / file).is_file():
            raise CheckpointError(f"{folder.name}/ has no {file}, which {index} names; the download is incomplete")
    return owners


def _sharded(folder: Path) -> tuple[list[str], dict[str, tuple[int, ...]]]:
    owners = read_shards(folder, WEIGHTS_INDEX, ".safetensors")
    files = sorted(set(owners.values()))
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        shapes |= {name: shape for name, shape in _shapes(folder, file).items() if owners.get(name) == file}
    if lost := sorted(set(owners) - set(shapes)):
        raise CheckpointError(
            f"{folder.name}/{owners[lost[0]]} lacks the tensor {lost[0]!r} that {WEIGHTS_INDEX} names"
        )
    return files, shapes


def _shapes(folder: Path, file: str) -> dict[str, tuple[int, ...]]:
    check_is_no_pointer(folder, file)
    try:
        with safe_open(folder / file, framework="numpy") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        reason = str(error).replace(str(folder), folder.name)
        raise CheckpointError(f"{folder.name}/{file} is not a whole safetensors file: {reason}") from None


def prefix_in(prefix: str, names: Iterable[str]) -> str:
    """What a checkpoint puts before the names of a model's weights.

    prefix: what it puts there with every head, "model.audio_tower."; without the outer ones it is shorter.

    >>> prefix_in("model.audio_tower.", ["audio_tower.conv1.weight", "language_model.norm.weight"])
    'audio_tower.'
    """
    parts = prefix.split(".")[:-1]
    shorter = [".".join((*parts[start:], "")) for start in range(len(parts))]
    known = tuple(names)
    return next((one for one in shorter if any(name.startswith(one) for name in known)), "")


def heads_in(prefix: str, names: Iterable[str]) -> list[str]:
    """What a checkpoint holds besides the model itself, by the first parts of its weights' names: it is not used.

    >>> heads_in("wav2vec2.", ["wav2vec2.masked_spec_embed", "classifier.dense.weight", "classifier.dense.bias"])
    ['classifier']
    """
    known = tuple(names)
    found = prefix_in(prefix, known)
    return sorted({name.partition(".")[0] for name in known if not name.startswith(found)})
