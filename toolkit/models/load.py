"""From a checkpoint's folder to an Encoder on a device; and the one place that decides about the device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn.utils import parametrize
from transformers import AutoConfig
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, get_model_conversion_mapping
from transformers.core_model_loading import WeightRenaming, apply_renamings
from transformers.initialization import no_init_weights

from toolkit.core.errors import CheckpointError, InputError, MachineError, one_of
from toolkit.core.matmul import allow_tensor_float_32
from toolkit.core.registry import resolve
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.encoder import Encoder
from toolkit.models.files import CONFIG, PREPROCESSOR, prefix_in, read_json, read_preprocessor, weights_of
from toolkit.models.own_code import OwnCheckpoint
from toolkit.models.precision import Precision, known
from toolkit.models.whisper import Context

PLAIN = (torch.float32, torch.float16, torch.bfloat16, torch.float64)  # in which weights may be saved
WEIGHT_NORM_NAMES = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
NEVER_USED = ("masked_spec_embed", "adapter.")  # for training, or after the last hidden state


def choose_device(name: str = "auto") -> torch.device:
    """ "auto" (a CUDA device if there is one), "cpu", "cuda", "cuda:1" or "mps", Apple's, on which nothing is tested.

    Raises InputError, MachineError.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise InputError(one_of("device", name, ["auto", "cpu", "cuda", "cuda:1", "mps"]))
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise MachineError("No device mps here: PyTorch finds no Metal; `--device cpu` works everywhere")
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise MachineError(f"No device {name} here: {count} CUDA devices can be used; `--device cpu` works everywhere")
    return device


def load(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: Precision | torch.dtype,
    *,
    context: Context = "full",
    decoder: bool = False,
    last_layer: int | None = None,
    mode: str | None = None,
) -> Encoder:
    """Load a checkpoint's weights (safetensors only, nothing from a network, no code from the folder), or what code of
    the user's own makes.

    dtype: the precision, or the torch dtype of its name. context, decoder: for Whisper, see `whisper.WhisperEncoder`.
    last_layer: the encoder's last layer that is computed; all by default. mode: of `generic.MODES`, to be taken if it
    is exact here. Raises InputError for options that the family does not have, CheckpointError for a folder that lacks
    weights or holds damaged ones, by name.
    """
    family = checkpoint.family
    if not family.fixed_context and (decoder or context != "full"):
        raise InputError(f"{checkpoint.name} is no Whisper: it has no decoder and no other context than the clip")
    if context not in ("full", "clip"):
        raise InputError(one_of("context", context, ["full", "clip"]))
    layers = checkpoint.backbone.layers
    last = layers if last_layer is None else last_layer
    first = family.feed.first if family.feed else 0
    if not first <= last <= layers:
        raise InputError(f"Bad last layer {last_layer}, expected {first} to {layers} for {checkpoint.name}")
    if decoder and last < layers:
        raise InputError(f"The decoder listens to the encoder's last layer, {layers}; it cannot stop at {last}")
    precision = known(dtype)
    allow_tensor_float_32(precision.tensor_float_32)
    feature_extractor: Any
    if isinstance(checkpoint, OwnCheckpoint):
        feature_extractor = checkpoint.built()
        model = feature_extractor.module
    else:
        config = config_of(checkpoint)
        feature_extractor = feature_extractor_of(checkpoint, config)
        model = model_of(checkpoint, config, decoder=decoder, last_layer=last)
    more: dict[str, Any] = {"context": context, "decoder": decoder} if family.fixed_context else {}
    if family.feed:
        feed = replace(family.feed, rates=(checkpoint.backbone.sample_rate,))
        more = {"feed": feed, "width": checkpoint.backbone.width, "mode": mode}
    try:
        encoder: Encoder = resolve(family.encoder)(model, feature_extractor, device, precision, last, **more)
    except (CheckpointError, InputError) as error:
        raise type(error)(f"{checkpoint.name}: {error}") from error
    return encoder


def config_of(checkpoint: Checkpoint) -> Any:
    """The checkpoint's config.json as transformers reads it. Raises CheckpointError for values that mean nothing."""
    with _named(checkpoint, CONFIG):
        kind = resolve(checkpoint.family.model).config_class
        if checkpoint.family.section:
            kind = AutoConfig
        if kind is AutoConfig or kind.model_type == checkpoint.backbone.family:
            config = kind.from_pretrained(str(checkpoint.folder), local_files_only=True)
        else:  # of a part (Mimi's encoder) that shares the whole's config.json
            config = kind.from_dict(read_json(checkpoint.folder, CONFIG))
        for part in filter(None, checkpoint.family.section.split(".")):
            config = getattr(config, part)
    if defect := checkpoint.family.config_defect(config):
        raise CheckpointError(f"{checkpoint.name}: {CONFIG} {defect}")
    return config


def feature_extractor_of(checkpoint: Checkpoint, config: Any) -> Any:
    """The checkpoint's own feature extractor.

    Raises CheckpointError for one of another family, and for a Whisper's that adds noise, pads
    with other than zeros, or gives other spectrograms than a Whisper of this config takes.
    """
    family = checkpoint.family
    kind = resolve(family.feature_extractor)
    values = read_preprocessor(checkpoint.folder)
    rate = checkpoint.backbone.sample_rate
    wanted = {"feature_extractor_type": kind.__name__, "sampling_rate": rate, **family.preprocessor}
    for key, expected in wanted.items():
        if (found := values.get(key, expected)) != expected:
            raise CheckpointError(f"{checkpoint.name}: {PREPROCESSOR}: {one_of(key, found, [expected])}")
    with _named(checkpoint, PREPROCESSOR):
        extractor = kind.from_dict(values)
    if defect := family.preprocessor_defect(extractor, config):
        raise CheckpointError(f"{checkpoint.name}: {PREPROCESSOR} {defect}")
    return extractor


@contextmanager
def _named(checkpoint: Checkpoint, file: str) -> Iterator[None]:
    """Whatever transformers makes of values that do not go together, as a CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{checkpoint.name}: {file} describes nothing that can be built: {type(error).__name__} {error}"
        ) from error


def model_of(checkpoint: Checkpoint, config: Any, *, decoder: bool, last_layer: int) -> Any:
    """The Hugging Face base model with its weights in float32, less the parts that are not wanted.

    transformers only warns of missing weights and uses random ones; here they are refused.
    """
    family = checkpoint.family
    # transformers' own forward needs its tables, which are no weights, and all that it runs through
    by_its_own = family.feed is not None or family.reads
    place = no_init_weights() if by_its_own else torch.device("meta")
    with place, _named(checkpoint, CONFIG):
        model: Any = resolve(family.model)(config)
    if family.reads:
        model.pooler = None  # after the last hidden state; many checkpoints have none
    if not by_its_own:
        model.encoder.layers = model.encoder.layers[:last_layer]
    if family.fixed_context and not decoder:
        model.decoder = None
    kinds = {name: weight.dtype for name, weight in model.state_dict().items()}
    expected = set(kinds)
    try:
        found: dict[str, Tensor] = {}
        for name, weight in _weights(
            checkpoint.folder,
            family.prefix,
            expected,
            _renamed(model, checkpoint.backbone.family) if by_its_own else str,
        ):
            if name in found:
                raise CheckpointError(f"{checkpoint.name}: two of its tensors are {name!r}, expected one")
            if weight.dtype not in (*PLAIN, kinds[name]):  # of whole numbers: a table of places, a count
                raise CheckpointError(
                    f"{checkpoint.name}: {name!r} is {weight.dtype}, of a quantised checkpoint; expected plain weights"
                )
            found[name] = weight.float() if weight.is_floating_point() else weight
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error).replace(str(checkpoint.folder), "the folder")
        raise CheckpointError(f"{checkpoint.name}: its safetensors cannot be read: {reason}") from None
    missing = sorted(name for name in expected - set(found) if not name.startswith(NEVER_USED))
    if missing:
        raise CheckpointError(
            f"{checkpoint.name}: {len(missing)} of {len(expected)} weights are missing, the first is {missing[0]!r}"
        )
    limits = {name for name, _ in model.named_buffers()} if family.feed else ()  # of a clamp, which may be infinite
    if spoilt := [
        name
        for name, weight in found.items()
        if weight.isnan().any() or (name not in limits and not weight.isfinite().all())
    ]:
        raise CheckpointError(f"{checkpoint.name}: the weight {spoilt[0]!r} holds values that are not finite numbers")
    try:
        model.load_state_dict(found, strict=False, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"{checkpoint.name}: its weights do not fit config.json: {error}") from None
    for module in model.modules():
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight")
    return model.requires_grad_(False).eval()


def _weights(
    folder: Path, prefix: str, expected: set[str], renamed: Callable[[str], str]
) -> Iterator[tuple[str, Tensor]]:
    """The expected tensors as saved, whether from the base model, under a head, or with the old weight norm.

    renamed: today's name of a tensor that has an older one.
    """
    files, shapes = weights_of(folder)
    prefix = prefix_in(prefix, shapes)
    for file in files:
        with safe_open(str(folder / file), framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - it is no mapping
                plain = name.removeprefix(prefix)
                stem, _, last = plain.rpartition(".")
                plain = f"{stem}.{WEIGHT_NORM_NAMES[last]}" if last in WEIGHT_NORM_NAMES else plain
                for today in (plain, renamed(plain), renamed(name).removeprefix(prefix)):
                    if today in expected:
                        yield today, weights.get_tensor(name)
                        break


def _renamed(model: Any, kind: str) -> Callable[[str], str]:
    """By transformers' own table of the names that weights had before: of the model, and of what it is a part of."""
    known = [*get_model_conversion_mapping(model), *(get_checkpoint_conversion_mapping(kind) or ())]
    renamings = [one for one in known if isinstance(one, WeightRenaming)]
    return lambda name: apply_renamings(name, renamings)
