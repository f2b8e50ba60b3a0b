"""Checkpoint folders in Hugging Face's layout: found, described and hashed, without loading a weight."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.audio.decode import SAMPLE_RATE
from toolkit.core.artifacts import code_file, make_folder, model_name, sha256_of_file, signature
from toolkit.core.errors import CheckpointError, InputError, one_of
from toolkit.core.options import last_part
from toolkit.core.registry import resolve
from toolkit.models import weight_pins
from toolkit.models.families import FAMILIES, TEXTS, Family
from toolkit.models.files import (
    ADAPTER,
    CONFIG,
    PREPROCESSOR,
    is_plain,
    prefix_in,
    read_json,
    read_preprocessor,
    tokenizer_files,
    weights_of,
)
from toolkit.models.registry import BACKBONES, FACTORIES, Backbone

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
# Keys of config.json by which transformers takes other files, other numbers or another last state than are read here.
NOT_PLAIN = ("configuration_files", "quantization_config", "tie_last_hidden_states", "transformers_weights")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder that passed every check that needs no tensor.

    name: of the backbone, or of the folder if it is the user's own. folder: where it is.
    backbone: the table's row with what the folder's own files say, or a row made from them alone.
    weights_sha256: 64 hex digits over the weights and all of config.json and preprocessor_config.json that can change
        a hidden state.
    """

    name: str
    folder: Path
    backbone: Backbone
    weights_sha256: str

    @property
    def family(self) -> Family:
        """The row of its architecture."""
        return TEXTS.get(self.backbone.family) or FAMILIES[self.backbone.family]

    @property
    def stated(self) -> Mapping[str, Mapping[str, str]]:
        """What a store's settings say of code that is not the toolkit's."""
        return FAMILIES.stated(self.backbone.family)


def locate(name_or_path: str, models_folder: Path, accept: bool = False, text: bool = False) -> Checkpoint:
    """The checkpoint for `--model`: a name of the table, a name of a folder in `models_folder`, or a folder's path.

    A folder elsewhere gets a link in `models_folder`, so that every command finds it by one name from then on; of a
    cache of the Hugging Face hub (models--ORGANISATION--NAME) the snapshot of its main branch.
    accept: it may differ from what it was at its first use, and is what counts from now on. text: it may read text.
    Raises InputError for a name that means nothing or is that of code (`own_code`), CheckpointError for a backbone that
    is not there, of another family than those known, incomplete, pickled, other than its name says, or changed since
    its first use.
    """
    found = _linked(_found(name_or_path, models_folder), models_folder)
    if found.family.reads and not text:
        raise InputError(f"{found.name} reads text: `toolkit extract` takes it, and `toolkit probe` its store")
    weight_pins.hold(models_folder, found.name, found.folder, found.weights_sha256, accept)
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
    folder = inside if is_plain(name_or_path) and inside.is_dir() else path
    if code_file(name_or_path) or (name_or_path in FACTORIES and not folder.is_dir()):
        raise InputError(
            f"{last_part(name_or_path)} is code of your own, no checkpoint: `toolkit extract` and `toolkit models "
            "check` take it, `toolkit probe` its store"
        )
    if not (name_or_path and folder.is_dir()):
        raise InputError(
            one_of("model", last_part(name_or_path), list(FACTORIES), ", or the path of a folder with config.json")
        )
    is_ours = folder.parent.resolve() == models_folder.resolve()
    return inspect(snapshot(folder), folder.name if is_ours else model_name(folder))


def snapshot(folder: Path) -> Path:
    """The folder with the checkpoint: of a hub's cache the one of its main branch, or its only one."""
    snapshots = folder / "snapshots"
    if (folder / CONFIG).is_file() or not snapshots.is_dir():
        return folder
    main = folder / "refs" / "main"
    if main.is_file() and is_plain(commit := main.read_text(encoding="utf-8").strip()):
        return snapshots / commit
    found = sorted(path for path in snapshots.iterdir() if path.is_dir())
    if len(found) != 1:
        raise CheckpointError(f"{folder.name}/snapshots/ has {len(found)} folders; give the path of one of them")
    return found[0]


def _linked(found: Checkpoint, models_folder: Path) -> Checkpoint:
    """A checkpoint elsewhere as it is found by its name; itself where no link can be made."""
    inside = models_folder / found.name
    if found.folder.resolve() == inside.resolve():
        return replace(found, folder=inside)
    if inside.exists() or inside.is_symlink():
        raise InputError(
            f"{models_folder.name}/{found.name} is another checkpoint than the folder {found.folder.name} that was "
            "given; rename one of the two, for every command finds a backbone by its name"
        )
    try:
        make_folder(models_folder)
        inside.symlink_to(os.path.relpath(found.folder.resolve(), models_folder.resolve()), target_is_directory=True)
    except OSError:  # read-only, or a system without links
        return found
    return replace(found, folder=inside)


def installed(models_folder: Path) -> dict[str, Path]:
    """The folders in `models_folder` that hold a config.json, by name; nothing in them is read."""
    if not models_folder.is_dir():
        return {}
    folders = sorted(path for path in models_folder.iterdir() if not path.name.startswith("."))
    return {path.name: path for path in folders if (path / CONFIG).is_file()}


def inspect(folder: Path, name: str) -> Checkpoint:
    """Check the folder, describe it and hash it. Raises CheckpointError."""
    config = read_json(folder, CONFIG)
    for key in NOT_PLAIN:
        if config.get(key) is not None:
            raise CheckpointError(f"{folder.name}/{CONFIG} has {key!r}, expected a checkpoint of plain weights without")
    if (folder / ADAPTER).is_file():
        raise CheckpointError(
            f"{folder.name}/ has {ADAPTER} next to its weights, expected weights that the adapter is merged into"
        )
    files, shapes = weights_of(folder)
    preprocessor = (tokenizer_files if family_of(folder.name, config).reads else read_preprocessor)(folder)
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


def family_of(folder: str, config: Mapping[str, Any]) -> Family:
    """The architecture that a config.json names. folder: its name, in the sentence. Raises CheckpointError."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in (*FAMILIES, *TEXTS):
        raise CheckpointError(f"{folder}/{CONFIG}: {one_of('model_type', kind, [*FAMILIES, *TEXTS])}")
    return TEXTS.get(kind) or FAMILIES[kind]


def _describe(
    name: str,
    folder: str,
    config: Mapping[str, Any],
    preprocessor: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
) -> Backbone:
    """The row that the folder's own files give."""
    family = family_of(folder, config)
    kind = str(config["model_type"])
    norm = family.convolution_norm or config.get("feat_extract_norm", "group")
    if norm not in ("group", "layer", family.convolution_norm):
        raise CheckpointError(f"{folder}/{CONFIG}: {one_of('feat_extract_norm', norm, ('group', 'layer'))}")
    rates = family.feed.rates if family.feed else (SAMPLE_RATE,)
    rate = preprocessor.get("sampling_rate", rates[0])
    if rate not in rates:
        raise CheckpointError(f"{folder}/{PREPROCESSOR}: {one_of('sampling_rate', rate, rates)}")
    mel_bins = 0
    if family.mel_bins:
        file, key = family.mel_bins
        mel_bins = _whole(folder, preprocessor if file == PREPROCESSOR else config, key, file)
    normalises = family.normalises_input
    section = _section(folder, config, family.section)
    return Backbone(
        name=name,
        hub_id="",
        family=kind,
        layers=family.layers(section) if callable(family.layers) else _size(folder, family, section, family.layers),
        width=_size(folder, family, section, family.width),
        parameters=_parameters(family.prefix, shapes),
        licence="unknown",
        frame_rate=family.frame_rate,
        sample_rate=rate,
        normalises_input=bool(preprocessor.get("do_normalize", True)) if normalises is None else normalises,
        convolution_norm=norm,
        decoder_layers=_whole(folder, config, family.decoder_layers) if family.decoder_layers else 0,
        mel_bins=mel_bins,
    )


def _size(folder: str, family: Family, config: Mapping[str, Any], key: str) -> int:
    """Of a model by transformers' own forward, what config.json leaves out is transformers' own default."""
    if family.feed and key not in config:
        return int(getattr(resolve(family.model).config_class(), key))
    return _whole(folder, config, key)


def _section(folder: str, config: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    """The part of config.json that is the model's own. section: dotted; "" for all of it."""
    for part in filter(None, section.split(".")):
        found = config.get(part)
        if not isinstance(found, dict):
            raise CheckpointError(f"{folder}/{CONFIG}: {part} is a {type(found).__name__}, expected an object")
        config = found
    return config


def _whole(folder: str, values: Mapping[str, Any], key: str, file: str = CONFIG) -> int:
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CheckpointError(f"{folder}/{file}: {key} is {value!r}, expected a whole number above 0")
    return value


def _parameters(prefix: str, shapes: Mapping[str, Sequence[int]]) -> int:
    prefix = prefix_in(prefix, shapes)
    total = 0
    for name, shape in shapes.items():
        if name.startswith(prefix):
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
