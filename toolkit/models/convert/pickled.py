"""Weights in PyTorch's pickles into safetensors, value for value; `weights_only` refuses code in a pickle."""

import shutil
from pathlib import Path

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


def convert(source: Path, out: Path) -> Checkpoint:
    """Write the checkpoint folder `out` from a transformers folder whose weights are pickled, and return it, checked.

    source: the folder, or a cache of the Hugging Face hub (models--ORGANISATION--NAME); its configuration,
    preprocessor and tokenizer are copied. Where `out` is `source` itself, the weights are written beside the others.
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


def _convert_file(source: Path, file: str, out: Path) -> None:
    import pickle  # noqa: TID251 - for the name of its error

    import torch
    from safetensors.torch import save_file

    check_is_no_pointer(source, file)
    try:
        state = torch.load(source / file, map_location="cpu", weights_only=True, mmap=False)  # noqa: TID251 - tensors alone, once
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(f"{file} is damaged or holds more than tensors: {type(error).__name__}") from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in state.items()
    ):
        raise CheckpointError(f"{file} is no state_dict of tensors by name")
    # Tied tensors share memory, which safetensors refuses: every tensor gets its own.
    tensors = {name: tensor.clone().contiguous() for name, tensor in state.items()}
    commit_file(out, lambda temporary: save_file(tensors, temporary, metadata={"format": "pt"}))
