"""Checkpoint folders in Hugging Face's layout: found, checked, described and hashed, without loading a weight."""

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from safetensors import SafetensorError, safe_open

from toolkit.errors import CheckpointError, InputError, disk_full_is_named, one_of
from toolkit.models import pins
from toolkit.models.table import BACKBONES, FRAMES_PER_SECOND, Backbone, ConvolutionNorm, Family
from toolkit.runs import make_folder, sha256_of_file, signature, sync_folder

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
WEIGHTS, WEIGHTS_INDEX, PICKLED_WEIGHTS = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
# Keys of the two JSON files that cannot change a hidden state: where a file came from, what wrote it, in which dtype
# it was saved (ours is chosen at loading), and how text would be made from the states.
WITHOUT_EFFECT = frozenset(
    {
        "_commit_hash",
        "_name_or_path",
        "_processor_class",
        "architectures",
        "begin_suppress_tokens",
        "dtype",
        "finetuning_task",
        "forced_decoder_ids",
        "id2label",
        "label2id",
        "max_length",
        "processor_class",
        "problem_type",
        "suppress_tokens",
        "task_specific_params",
        "tokenizer_class",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
# What a checkpoint with a head puts before the names of the backbone itself; the head's own names begin otherwise.
PREFIXES: dict[Family, str] = {
    "wav2vec2": "wav2vec2.",
    "hubert": "hubert.",
    "wavlm": "wavlm.",
    "data2vec-audio": "data2vec_audio.",
    "wav2vec2-bert": "wav2vec2_bert.",
    "whisper": "model.",
}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder that passed every check that needs no tensor.

    name: of the backbone, or of the folder if it is the user's own. folder: where it lies.
    backbone: the table's row with what the folder's own files say, or a row made from them alone.
    weights_sha256: 64 hex digits over the weights and all of config.json and preprocessor_config.json that can change
        a hidden state.
    """

    name: str
    folder: Path
    backbone: Backbone
    weights_sha256: str


def locate(name_or_path: str, models_folder: Path, accept: bool = False) -> Checkpoint:
    """The checkpoint for `--model`: a name of the table, a name of a folder in `models_folder`, or a folder's path.

    accept: it may differ from what it was at its first use, and is what counts from now on.
    Raises InputError for a name that means nothing, CheckpointError for a backbone that is not there, of another
    family than those known, incomplete, pickled, other than its name says, or changed since its first use.
    """
    found = _found(name_or_path, models_folder)
    pins.hold(models_folder, found.name, found.folder, found.weights_sha256, accept)
    return found


def _found(name_or_path: str, models_folder: Path) -> Checkpoint:
    path = Path(name_or_path)
    inside = models_folder / name_or_path
    if name_or_path in BACKBONES:
        if not inside.is_dir():
            raise CheckpointError(
                f"{name_or_path} is not in {models_folder.name}/{name_or_path}; "
                f"`toolkit models fetch {name_or_path}` gets it, or give a folder that has it: --model path/to/folder"
            )
        return inspect(inside, name_or_path)
    folder = inside if _is_plain(name_or_path) and inside.is_dir() else path
    if not (name_or_path and folder.is_dir()):
        raise InputError(
            f"{one_of('model', _printable(name_or_path), list(BACKBONES))}, or the path of a folder with config.json"
        )
    return inspect(folder, folder.resolve().name)


def installed(models_folder: Path) -> dict[str, Path]:
    """The folders in `models_folder` that hold a config.json, by name; nothing in them is read."""
    if not models_folder.is_dir():
        return {}
    folders = sorted(path for path in models_folder.iterdir() if not path.name.startswith("."))
    return {path.name: path for path in folders if (path / CONFIG).is_file()}


def inspect(folder: Path, name: str) -> Checkpoint:
    """Check the folder, describe it and hash it. Raises CheckpointError."""
    config = _read_json(folder, CONFIG)
    files, shapes = _weights(folder)
    preprocessor = _read_json(folder, PREPROCESSOR)
    backbone = _describe(name, folder.name, config, preprocessor, shapes)
    known = BACKBONES.get(name)
    if known is not None:
        backbone = replace(backbone, hub_id=known.hub_id, licence=known.licence)
        for fact in ("family", "layers", "width", "decoder_layers", "mel_bins"):
            found, expected = getattr(backbone, fact), getattr(known, fact)
            if found != expected:
                raise CheckpointError(
                    f"{folder.name}/{CONFIG} is not that of {name}: {fact} {found!r}, expected {expected!r}; "
                    "give the folder another name if it is another model"
                )
    return Checkpoint(name, folder, backbone, _hash(folder, files, config, preprocessor))


@contextmanager
def committed_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` to write into; on leaving it is made durable and renamed to `folder`.

    A failure leaves nothing behind. Raises InputError when `folder` is there already, DiskFullError without space.
    """
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder.parent.name}/{folder.name} is there already; remove it or choose another place")
    parent = make_folder(folder.parent)
    holder = parent / f".{folder.name}.{os.getpid()}.tmp"
    shutil.rmtree(holder, ignore_errors=True)
    temporary = holder / folder.name  # so that errors about what is in it name the folder as it will be
    try:
        with disk_full_is_named(parent):
            temporary.mkdir(parents=True)
            yield temporary
            for path in sorted(temporary.rglob("*")):
                if path.is_dir():
                    sync_folder(path)
                    continue
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            sync_folder(temporary)
            _rename(temporary, folder)
            sync_folder(parent)
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def _rename(temporary: Path, folder: Path) -> None:
    try:
        temporary.rename(folder)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        raise InputError(
            f"{folder.parent.name}/{folder.name} was made by another run meanwhile; that one stays"
        ) from error


def _is_plain(name: str) -> bool:
    return Path(name).name == name and name not in ("", ".", "..")


def _printable(name: str) -> str:
    """An absolute path names the user's home: keep its last part only."""
    return Path(name).name if Path(name).is_absolute() else name


def _read_json(folder: Path, file: str) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        value = json.loads((folder / file).read_bytes(), parse_constant=refuse)
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder.name}/ has no {file}; expected a Hugging Face folder with {CONFIG}, {PREPROCESSOR} and {WEIGHTS}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder.name}/{file} is not valid JSON: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{folder.name}/{file} cannot be read: {error.strerror}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{folder.name}/{file} holds a {type(value).__name__}, expected an object")
    return value


def _weights(folder: Path) -> tuple[list[str], dict[str, tuple[int, ...]]]:
    """The safetensors files that make the checkpoint, in the order of their names, and every tensor's shape."""
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS], _shapes(folder, WEIGHTS)
    if (folder / WEIGHTS_INDEX).is_file():
        return _sharded(folder)
    if (folder / PICKLED_WEIGHTS).is_file():
        raise CheckpointError(
            f"{folder.name}/ has its weights in {PICKLED_WEIGHTS}, a pickle, which could run code and is not read; "
            f"expected {WEIGHTS}. `toolkit models fetch` converts what it gets; for a folder of your own, load it with "
            "transformers where you trust it and call save_pretrained"
        )
    raise CheckpointError(f"{folder.name}/ has no {WEIGHTS} and no {WEIGHTS_INDEX}; the weights are missing")


def _sharded(folder: Path) -> tuple[list[str], dict[str, tuple[int, ...]]]:
    owners = _read_json(folder, WEIGHTS_INDEX).get("weight_map")
    if not isinstance(owners, dict) or not owners or not all(isinstance(file, str) for file in owners.values()):
        raise CheckpointError(f"{folder.name}/{WEIGHTS_INDEX} has no weight_map of tensor names to file names")
    files = sorted(set(owners.values()))
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        if not _is_plain(file) or not file.endswith(".safetensors"):
            raise CheckpointError(
                f"{folder.name}/{WEIGHTS_INDEX} names {file!r}, expected a safetensors file beside it"
            )
        if not (folder / file).is_file():
            raise CheckpointError(
                f"{folder.name}/ has no {file}, which {WEIGHTS_INDEX} names; the download is incomplete"
            )
        shapes |= {name: shape for name, shape in _shapes(folder, file).items() if owners.get(name) == file}
    if lost := sorted(set(owners) - set(shapes)):
        raise CheckpointError(
            f"{folder.name}/{owners[lost[0]]} lacks the tensor {lost[0]!r} that {WEIGHTS_INDEX} names"
        )
    return files, shapes


def _shapes(folder: Path, file: str) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(folder / file, framework="numpy") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        reason = str(error).replace(str(folder), folder.name)
        raise CheckpointError(f"{folder.name}/{file} is not a whole safetensors file: {reason}") from None


def _describe(
    name: str,
    folder: str,
    config: Mapping[str, Any],
    preprocessor: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
) -> Backbone:
    """The row that the folder's own files give."""
    if config.get("model_type") not in get_args(Family):
        raise CheckpointError(f"{folder}/{CONFIG}: {one_of('model_type', config.get('model_type'), get_args(Family))}")
    family: Family = config["model_type"]
    speech = family in ("wav2vec2", "hubert", "wavlm", "data2vec-audio")
    norm: ConvolutionNorm = "none"
    if speech:  # data2vec's configuration has no such key: its convolutions always take the layer norm
        norm = "layer" if family == "data2vec-audio" else config.get("feat_extract_norm", "group")
        if norm not in ("group", "layer"):
            raise CheckpointError(f"{folder}/{CONFIG}: {one_of('feat_extract_norm', norm, ('group', 'layer'))}")
    whisper = family == "whisper"
    rate = preprocessor.get("sampling_rate", 16_000)
    if rate != 16_000:
        raise CheckpointError(f"{folder}/{PREPROCESSOR}: {one_of('sampling_rate', rate, (16_000,))}")
    mel_bins = _whole(folder, config, "num_mel_bins") if whisper else 0
    if family == "wav2vec2-bert":
        mel_bins = _whole(folder, preprocessor, "feature_size", PREPROCESSOR)
    return Backbone(
        name=name,
        hub_id="",
        family=family,
        layers=_whole(folder, config, "encoder_layers" if whisper else "num_hidden_layers"),
        width=_whole(folder, config, "d_model" if whisper else "hidden_size"),
        parameters=_parameters(family, shapes),
        licence="unknown",
        frame_rate=FRAMES_PER_SECOND,
        sample_rate=rate,
        normalises_input=_normalises(family, preprocessor),
        convolution_norm=norm,
        decoder_layers=_whole(folder, config, "decoder_layers") if whisper else 0,
        mel_bins=mel_bins,
    )


def _whole(folder: str, values: Mapping[str, Any], key: str, file: str = CONFIG) -> int:
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CheckpointError(f"{folder}/{file}: {key} is {value!r}, expected a whole number above 0")
    return value


def _normalises(family: Family, preprocessor: Mapping[str, Any]) -> bool:
    if family == "whisper":  # its feature extractor normalises only when a caller asks for it
        return False
    if family == "wav2vec2-bert":  # its feature extractor always does, over each mel bin
        return True
    return bool(preprocessor.get("do_normalize", True))  # transformers' default


def _parameters(family: Family, shapes: Mapping[str, Sequence[int]]) -> int:
    prefix = PREFIXES[family]
    headed = any(name.startswith(prefix) for name in shapes)
    total = 0
    for name, shape in shapes.items():
        if name.startswith(prefix) or not headed:
            count = 1
            for dimension in shape:
                count *= dimension
            total += count
    return total


def _hash(folder: Path, files: Sequence[str], config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> str:
    return signature(
        {
            "weights": [sha256_of_file(folder / file) for file in files],
            "config": {key: value for key, value in config.items() if key not in WITHOUT_EFFECT},
            "preprocessor": {key: value for key, value in preprocessor.items() if key not in WITHOUT_EFFECT},
        }
    )
