"""`toolkit models fetch`: the only code that opens a socket. It brings one backbone from the Hugging Face hub."""

import errno
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from toolkit.core.artifacts import commit_json, committed_folder, make_folder, sha256_of_file
from toolkit.core.errors import CheckpointError, DiskFullError, InputError, MachineError
from toolkit.models.checkpoint import Checkpoint, inspect
from toolkit.models.families import FAMILIES
from toolkit.models.files import (
    CONFIG,
    PICKLED_WEIGHTS,
    PREPROCESSOR,
    PROCESSOR,
    WEIGHTS,
    WEIGHTS_INDEX,
    prefix_in,
    read_json,
)
from toolkit.models.registry import Backbone

RECORD = "fetched.json"
TEXT_FILES = (
    "added_tokens.json",
    "generation_config.json",
    "merges.txt",
    "normalizer.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)


def fetch(backbone: Backbone, models_folder: Path, progress: Callable[[str], None]) -> Checkpoint:
    """Download a backbone into `models_folder`/NAME, check it, and return it.

    The hub's current commit is resolved first, every file is taken from that commit, and `fetched.json` keeps it with
    each file's size and SHA-256. Of a large model the shards that hold the part that hears are taken, and named by the
    index. Weights that the hub has only as a pickle are read with `weights_only` and written as
    safetensors. The folder appears whole or not at all. progress: gets sentences to show.

    Raises MachineError when the hub cannot be reached, CheckpointError when it has something else than expected,
    InputError when the folder is there already, DiskFullError.
    """
    target = models_folder / backbone.name
    place = f"{models_folder.name}/{backbone.name}"
    if not backbone.hub_id:
        raise InputError(f"{backbone.name} is a folder of your own; there is no place to fetch it from")
    if target.exists():
        raise InputError(f"{place} is there already; remove it to fetch it again")
    commit, sizes = _ask_the_hub(backbone, place)
    chosen = _choose(backbone, sizes)
    make_folder(models_folder)
    with committed_folder(target) as folder:
        if WEIGHTS_INDEX in chosen:
            _download(backbone, commit, [WEIGHTS_INDEX], folder, place)
            chosen = [file for file in chosen if file not in _others(folder, backbone)]
        total = sum(sizes[file] for file in chosen)
        _check_space(models_folder, total * (2 if PICKLED_WEIGHTS in chosen else 1), place)
        progress(f"{backbone.hub_id} at commit {commit[:12]}: {len(chosen)} files, {total / 1e6:,.0f} MB, to {place}")
        _download(backbone, commit, [file for file in chosen if not (folder / file).exists()], folder, place)
        for file in chosen:
            if not (folder / file).is_file() or (folder / file).stat().st_size != sizes[file]:
                raise MachineError(f"{file} of {backbone.hub_id} came incomplete; start the same command again")
        if WEIGHTS_INDEX in chosen and (others := _others(folder, backbone)):
            index = read_json(folder, WEIGHTS_INDEX)
            kept = {name: file for name, file in index["weight_map"].items() if file not in others}
            (folder / WEIGHTS_INDEX).unlink()
            commit_json(folder / WEIGHTS_INDEX, {**index, "weight_map": kept})
        if PICKLED_WEIGHTS in chosen:
            progress(f"{PICKLED_WEIGHTS} -> {WEIGHTS}")
            _unpickle(folder / PICKLED_WEIGHTS, folder / WEIGHTS)
            (folder / PICKLED_WEIGHTS).unlink()
        files = {
            path.name: {"bytes": path.stat().st_size, "sha256": sha256_of_file(path)}
            for path in sorted(folder.iterdir())
        }
        record = {"hub_id": backbone.hub_id, "commit": commit, "files": files}
        if PICKLED_WEIGHTS in chosen:
            record["converted_from"] = PICKLED_WEIGHTS
        commit_json(folder / RECORD, record)
        checked = inspect(folder, backbone.name)
    return Checkpoint(checked.name, target, checked.backbone, checked.weights_sha256)


def _ask_the_hub(backbone: Backbone, place: str) -> tuple[str, dict[str, int]]:
    """The commit that the hub's main branch stands at, and the size in bytes of every file there."""
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(backbone.hub_id, files_metadata=True)
    except Exception as error:
        raise _unreached(backbone, place, error) from error
    if not info.sha:
        raise CheckpointError(f"The hub names no commit of {backbone.hub_id}")
    return info.sha, {file.rfilename: file.size or 0 for file in info.siblings or []}


def _choose(backbone: Backbone, sizes: Mapping[str, int]) -> list[str]:
    """The files to take: the two configurations, the tokenizer's, and the weights in one form only."""
    plain = [file for file in sizes if PurePosixPath(file).name == file]
    for files in ((CONFIG,), (PREPROCESSOR, PROCESSOR)):
        if not set(files) & set(plain):
            raise CheckpointError(f"{backbone.hub_id} has no {files[0]} on the hub; expected a transformers checkpoint")
    chosen = [file for file in (CONFIG, PREPROCESSOR, PROCESSOR, *TEXT_FILES) if file in plain]
    if WEIGHTS in plain:
        return [*chosen, WEIGHTS]
    if WEIGHTS_INDEX in plain:
        return [
            *chosen,
            WEIGHTS_INDEX,
            *(file for file in plain if PurePosixPath(file).match("model-*-of-*.safetensors")),
        ]
    if PICKLED_WEIGHTS in plain:
        return [*chosen, PICKLED_WEIGHTS]
    raise CheckpointError(f"{backbone.hub_id} has neither {WEIGHTS} nor {PICKLED_WEIGHTS} on the hub")


def _others(folder: Path, backbone: Backbone) -> set[str]:
    """The files of the index without a weight of the part that hears: of seven billion a tenth does."""
    owners = read_json(folder, WEIGHTS_INDEX).get("weight_map")
    if not isinstance(owners, dict):
        return set()  # `inspect` says what is wrong
    prefix = prefix_in(FAMILIES[backbone.family].prefix, owners)
    return set(owners.values()) - {file for name, file in owners.items() if name.startswith(prefix)}


def _check_space(models_folder: Path, needed: int, place: str) -> None:
    free = shutil.disk_usage(models_folder).free
    if free < needed:
        raise DiskFullError(f"{place} needs {needed:,} bytes, but {free:,} are free there")


def _download(backbone: Backbone, commit: str, chosen: list[str], folder: Path, place: str) -> None:
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(backbone.hub_id, revision=commit, allow_patterns=chosen, local_dir=folder)
    except Exception as error:
        raise _unreached(backbone, place, error) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the hub client's own notes


def _unreached(backbone: Backbone, place: str, error: Exception) -> Exception:
    """The error to raise for what the client raised; a full disk, or what is no network's error, stays as it is."""
    from huggingface_hub.errors import HfHubHTTPError

    # The client lets its HTTP library's errors through, and that library has changed; this is their common root.
    http_error = HfHubHTTPError.__bases__[0]
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or not isinstance(error, OSError | http_error):
        return error
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return MachineError(
        f"{backbone.hub_id} was not fetched: the Hugging Face hub could not be reached or refused ({reason}). On a "
        f"machine with a network, download the repository's {CONFIG}, {PREPROCESSOR} and {WEIGHTS}, and put them into "
        f"{place}/; nothing else needs a network."
    )


def _unpickle(source: Path, out: Path) -> None:
    """Write a pickled state_dict as safetensors, value for value; `weights_only` refuses code in the pickle."""
    import pickle  # noqa: TID251 - for the name of its error

    import torch
    from safetensors.torch import save_file

    try:
        state = torch.load(source, map_location="cpu", weights_only=True, mmap=False)  # noqa: TID251 - tensors alone, once
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(f"{source.name} is damaged or holds more than tensors: {type(error).__name__}") from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in state.items()
    ):
        raise CheckpointError(f"{source.name} is no state_dict of tensors by name")
    # Tied tensors share memory, which safetensors refuses: every tensor gets its own.
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, out, metadata={"format": "pt"})
