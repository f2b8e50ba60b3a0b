"""A folder of FunASR's (ModelScope's layout: config.yaml and a .pt file) into a checkpoint folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.core.artifacts import commit_json, committed_folder
from toolkit.core.errors import CheckpointError, one_of
from toolkit.models.checkpoint import Checkpoint, inspect, snapshot
from toolkit.models.convert import emotion2vec, sensevoice
from toolkit.models.convert.pickled import read_pickle, tensors_of, write_tensors
from toolkit.models.files import CONFIG, PREPROCESSOR, WEIGHTS

if TYPE_CHECKING:
    import torch

SETTINGS = "config.yaml"
WRAPPERS = ("model", "state_dict", "model_state_dict")  # under which programs that train save weights
# Packages whose objects are next to the weights: settings, none of which is read.
TRAINERS = frozenset(("argparse", "collections", "enum", "fairseq", "numpy", "omegaconf", "pathlib", "typing"))
KINDS: dict[str, Callable[..., "Converted"]] = {
    "Emotion2vec": emotion2vec.converted,
    "SenseVoiceSmall": sensevoice.converted,
}
Converted = tuple[dict[str, Any], dict[str, Any], dict[str, "torch.Tensor"]]  # two JSON files, and weights


def is_funasr(folder: Path) -> bool:
    return (snapshot(folder) / SETTINGS).is_file()


def convert(source: Path, out: Path) -> Checkpoint:
    """Write the checkpoint folder `out` from emotion2vec's or SenseVoice's folder, and return it, checked.

    Raises CheckpointError where a file is missing, damaged or of another model, InputError when `out` exists,
    DiskFullError.
    """
    folder = snapshot(source)
    settings = _settings(folder)
    kind = settings.get("model")
    if kind not in KINDS:
        raise CheckpointError(f"{folder.name}/{SETTINGS}: {one_of('model', kind, list(KINDS))}")
    file = weights_file(folder)
    state = state_in(read_pickle(folder, file, TRAINERS), file)
    try:
        made = KINDS[str(kind)](folder, settings, state)
    except KeyError as error:
        raise CheckpointError(
            f"{folder.name}/ lacks {error.args[0]!r}: {SETTINGS} and {file} are not whole, or of another {kind}"
        ) from None
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{folder.name}/{SETTINGS} does not describe {file}: {error}") from None
    return write(out, *made)


def write(
    out: Path, config: Mapping[str, Any], preprocessor: Mapping[str, Any], tensors: Mapping[str, "torch.Tensor"]
) -> Checkpoint:
    """The checkpoint folder `out`, whole or not at all; built once, so that weights which do not fit are refused."""
    from toolkit.models.load import config_of, model_of

    with committed_folder(out) as new:
        write_tensors(new / WEIGHTS, {name: tensor.clone().contiguous() for name, tensor in tensors.items()})
        commit_json(new / CONFIG, config)
        commit_json(new / PREPROCESSOR, preprocessor)
        checked = inspect(new, out.name)
        model_of(checked, config_of(checked), decoder=False, last_layer=checked.backbone.layers)
    return Checkpoint(checked.name, out, checked.backbone, checked.weights_sha256)


def weights_file(folder: Path) -> str:
    """model.pt, or the only .pt file. Raises CheckpointError."""
    found = sorted(path.name for path in folder.glob("*.pt"))
    if "model.pt" in found:
        return "model.pt"
    if len(found) != 1:
        raise CheckpointError(f"{folder.name}/ has {len(found)} .pt files, expected model.pt or only one")
    return found[0]


def state_in(found: Any, file: str) -> dict[str, "torch.Tensor"]:
    """The weights in what a program that trains has saved. Raises CheckpointError where there are none."""
    for wrapper in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    return tensors_of(found, file)


def _settings(folder: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise CheckpointError(f"{folder.name}/{SETTINGS} cannot be read as YAML: {type(error).__name__}") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{folder.name}/{SETTINGS} holds a {type(found).__name__}, expected settings by name")
    return found
