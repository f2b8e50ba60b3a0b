"""Weights in PyTorch's pickles into safetensors, value for value; `weights_only` refuses code in a pickle."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.core.artifacts import commit_file, commit_json, committed_folder
from toolkit.core.errors import CheckpointError
from toolkit.models.checkpoint import Checkpoint, inspect, snapshot
from toolkit.models.files import (
    ADAPTER,
    CONFIG,
    PICKLED_INDEX,
    PICKLED_WEIGHTS,
    PREPROCESSOR,
    PROCESSOR,
    TEXT_FILES,
    WEIGHTS,
    WEIGHTS_INDEX,
    check_is_no_pointer,
    is_pickled,
    read_shards,
)

if TYPE_CHECKING:
    import torch


def convert(source: Path, out: Path) -> Checkpoint:
    """Write the checkpoint folder `out` from a transformers folder whose weights are pickled, and return it, checked.

    source: the folder, or a cache of the Hugging Face hub (models--ORGANISATION--NAME); its configuration,
    preprocessor and tokenizer are copied. Where `out` is `source` itself, the weights are written next to the others.
    The result appears whole or not at all.

    Raises CheckpointError where a pickle is damaged, holds more than tensors, or the result is no checkpoint that can
    be used; InputError when `out` is another folder that exists; DiskFullError.
    """
    folder = snapshot(source)
    if not is_pickled(folder):
        raise CheckpointError(
            f"{folder.name}/ has neither {PICKLED_WEIGHTS} nor {PICKLED_INDEX}, or has its weights as safetensors"
        )
    if out.resolve() == folder.resolve():
        made = write_safetensors(folder, folder)
        try:
            return inspect(folder, out.name)
        except CheckpointError:
            for file in made:
                (folder / file).unlink()
            raise
    with committed_folder(out) as new:
        for file in (CONFIG, PREPROCESSOR, PROCESSOR, ADAPTER, *TEXT_FILES):
            if (folder / file).is_file():
                check_is_no_pointer(folder, file)
                shutil.copyfile(folder / file, new / file)
        write_safetensors(folder, new)
        checked = inspect(new, out.name)
    return Checkpoint(checked.name, out, checked.backbone, checked.weights_sha256)


def write_safetensors(source: Path, out: Path) -> list[str]:
    """Write the pickled weights of the folder `source` as safetensors into `out`: the names of what was written.

    Of several shards each becomes one, the index last. Raises CheckpointError, DiskFullError.
    """
    if not (source / PICKLED_INDEX).is_file():
        _convert_file(source, PICKLED_WEIGHTS, out / WEIGHTS)
        return [WEIGHTS]
    owners = read_shards(source, PICKLED_INDEX, ".bin")
    renamed = {file: f"{file.removesuffix('.bin').replace('pytorch_', '')}.safetensors" for file in owners.values()}
    for file, name in sorted(renamed.items()):
        _convert_file(source, file, out / name)
    weight_map = {tensor: renamed[file] for tensor, file in owners.items()}
    commit_json(out / WEIGHTS_INDEX, {"metadata": {}, "weight_map": weight_map})
    return [*renamed.values(), WEIGHTS_INDEX]


def read_pickle(source: Path, file: str, inert: frozenset[str] = frozenset()) -> Any:
    """What a pickle holds, by `weights_only`, which calls nothing but what makes tensors.

    inert: packages whose classes may be named in it, as programs that train leave their settings there: each object is
    an `Inert`, and nothing of the package is imported or run. Raises CheckpointError.
    """
    import pickle  # noqa: TID251 - for the name of its error

    import torch

    check_is_no_pointer(source, file)
    named: set[str] = set()
    while True:
        known = [(Inert, name) for name in sorted(named)]
        try:
            with torch.serialization.safe_globals(known):  # type: ignore[arg-type]
                return torch.load(source / file, map_location="cpu", weights_only=True, mmap=False)  # noqa: TID251 - tensors alone, once
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, AttributeError) as error:
            unknown = re.search(r"GLOBAL ([\w.]+) was not an allowed", str(error))
            name = unknown[1] if unknown else ""
            if name.partition(".")[0] not in inert or name in named:
                raise CheckpointError(
                    f"{file} is damaged or holds more than tensors: {type(error).__name__}"
                ) from error
            named.add(name)


class Inert:
    """An object of a class that is not loaded: its attributes, as far as they are plain."""

    def __init__(self, *given: Any) -> None: ...

    def __new__(cls, *given: Any) -> "Inert":
        return super().__new__(cls)


def tensors_of(found: Any, file: str) -> dict[str, "torch.Tensor"]:
    """A state_dict with its own memory for each tensor. Raises CheckpointError for anything else."""
    import torch

    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in found.items()
    ):
        raise CheckpointError(f"{file} is no state_dict of tensors by name")
    # Tied tensors share memory, which safetensors refuses: every tensor gets its own.
    return {name: tensor.clone().contiguous() for name, tensor in found.items()}


def _convert_file(source: Path, file: str, out: Path) -> None:
    write_tensors(out, tensors_of(read_pickle(source, file), file))


def write_tensors(out: Path, tensors: Mapping[str, "torch.Tensor"]) -> None:
    from safetensors.torch import save_file

    commit_file(out, lambda temporary: save_file(dict(tensors), temporary, metadata={"format": "pt"}))
