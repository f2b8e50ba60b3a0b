"""wav2vec 2.0, HuBERT and WavLM as fairseq and torchaudio save them, into a checkpoint folder of transformers' names.

What the file does not say is what all published checkpoints have: strides, heads by width, and, where the convolutions
have layer norms, layers whose norms come first and samples of mean 0 and variance 1.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.core.errors import CheckpointError, one_of
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.convert.emotion2vec import convolutions
from toolkit.models.convert.funasr import TRAINERS, state_in, write
from toolkit.models.convert.pickled import Inert, read_pickle

if TYPE_CHECKING:
    import torch

SUFFIXES = (".pt", ".pth")
SCOPES = ("w2v_encoder.w2v_model.", "w2v_model.", "wav2vec2.", "model.", "")  # what comes before the names
KERNELS, STRIDES = [10, 3, 3, 3, 3, 2, 2], [5, 2, 2, 2, 2, 2, 2]
HEADS = {768: 12, 1024: 16, 1280: 16, 1920: 16}
CONVOLUTION = r"feature_extractor\.conv_layers\.(\d+)\."
LAYER, OURS = r"encoder\.(?:transformer\.)?layers\.(\d+)\.", r"encoder.layers.\1."
# Of both formats, tried in turn; torchaudio's are transformers' but for where they are.
NAMES = (
    (CONVOLUTION + r"(?:0|conv)\.", r"feature_extractor.conv_layers.\1.conv."),
    (CONVOLUTION + r"(?:2\.1|2|layer_norm)\.", r"feature_extractor.conv_layers.\1.layer_norm."),
    (r"(?:encoder\.feature_projection\.)?layer_norm\.", "feature_projection.layer_norm."),
    (r"(?:post_extract_proj|encoder\.feature_projection\.projection)\.", "feature_projection.projection."),
    (r"encoder\.(?:pos_conv\.0|transformer\.pos_conv_embed\.conv)\.", "encoder.pos_conv_embed.conv."),
    (r"encoder\.(?:transformer\.)?layer_norm\.", "encoder.layer_norm."),
    (LAYER + r"(?:self_attn|attention\.attention|attention)\.(?=[kvq]_proj|out_proj|in_proj)", OURS + "attention."),
    (LAYER + r"(?:self_attn\.grep_linear|attention\.gru_rel_pos_linear)\.", OURS + "attention.gru_rel_pos_linear."),
    (LAYER + r"(?:self_attn\.grep_a|attention\.gru_rel_pos_const)", OURS + "attention.gru_rel_pos_const"),
    (LAYER + r"(?:self_attn\.relative_attention_bias|attention\.rel_attn_embed)\.", OURS + "attention.rel_attn_embed."),
    (LAYER + r"(?:self_attn_layer_norm|layer_norm)\.", OURS + "layer_norm."),
    (LAYER + r"(?:fc1|feed_forward\.intermediate_dense)\.", OURS + "feed_forward.intermediate_dense."),
    (LAYER + r"(?:fc2|feed_forward\.output_dense)\.", OURS + "feed_forward.output_dense."),
    (LAYER + r"final_layer_norm\.", OURS + "final_layer_norm."),
)  # fmt: skip


def convert(file: Path, out: Path) -> Checkpoint:
    """Write the checkpoint folder `out` from one .pt or .pth file, and return it, checked.

    Raises CheckpointError where the file is damaged, or of another model or shape than those published; InputError when
    `out` exists; DiskFullError.
    """
    if not file.is_file():
        raise CheckpointError(f"There is no file {file.name}, expected fairseq's or torchaudio's weights")
    found = read_pickle(file.parent, file.name, TRAINERS)
    state = state_in(found, file.name)
    anchor = "feature_extractor.conv_layers.0."
    scope = next((one for one in SCOPES if any(name.startswith(one + anchor) for name in state)), None)
    if scope is None:
        raise CheckpointError(f"{file.name} has no weight {anchor}*, expected a wav2vec 2.0, HuBERT or WavLM")
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        weights |= _renamed(file.name, name.removeprefix(scope), tensor)
    try:
        config, normalises = _config(file.name, weights, set(state), found)
    except KeyError as error:
        raise CheckpointError(f"{file.name} has no weight that becomes {error.args[0]!r}") from None
    preprocessor = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": normalises,
        "feature_size": 1,
        "padding_value": 0.0,
        "return_attention_mask": config["feat_extract_norm"] == "layer",
        "sampling_rate": 16_000,
    }
    return write(out, config, preprocessor, weights)


def _renamed(file: str, name: str, tensor: "torch.Tensor") -> dict[str, "torch.Tensor"]:
    """Under transformers' name; nothing for a head. Raises CheckpointError for an encoder's weight without a place."""
    for theirs, ours in NAMES:
        if match := re.match(theirs, name):
            stem, _, kind = (match.expand(ours) + name[match.end() :]).rpartition("in_proj_")
            if not stem:
                return {kind: tensor}
            return {f"{stem}{part}_proj.{kind}": rows for part, rows in zip("qkv", tensor.chunk(3))}
    if name.startswith(("encoder.", "feature_extractor.")):
        raise CheckpointError(f"{file}: the weight {name!r} has no place in a wav2vec 2.0, HuBERT or WavLM")
    return {}


def _config(
    file: str, weights: Mapping[str, "torch.Tensor"], names: set[str], found: Any
) -> tuple[dict[str, Any], bool]:
    """config.json, and whether samples are normalised. found: all that the file holds."""
    count = sum(
        re.fullmatch(r"feature_extractor\.conv_layers\.\d+\.conv\.weight", name) is not None for name in weights
    )
    shapes = [tuple(weights[f"feature_extractor.conv_layers.{n}.conv.weight"].shape) for n in range(count)]
    kernels = [shape[2] for shape in shapes]
    spec = _setting(found, "conv_feature_layers")
    strides = [stride for _, _, stride in convolutions(spec)] if isinstance(spec, str) else STRIDES
    if len(strides) != count or (spec is None and kernels != KERNELS):
        raise CheckpointError(f"{file}: {one_of('kernels of the convolutions', kernels, [KERNELS])}")
    width = len(weights["feature_projection.projection.bias"])
    place = weights.get("encoder.pos_conv_embed.conv.weight_v")
    if place is None:
        place = weights["encoder.pos_conv_embed.conv.parametrizations.weight.original1"]
    buckets = weights.get("encoder.layers.0.attention.rel_attn_embed.weight")
    heads = _setting(found, "encoder_attention_heads") or (HEADS.get(width) if buckets is None else buckets.shape[1])
    if heads is None:
        raise CheckpointError(f"{file}: its width is {width}, expected one of {list(HEADS)}: the file says no heads")
    layered = "feature_extractor.conv_layers.1.layer_norm.weight" in weights
    kind = "wavlm" if buckets is not None else "wav2vec2"
    if kind == "wav2vec2" and any(name.endswith(("label_embs_concat", "final_proj.0.weight")) for name in names):
        kind = "hubert"
    config: dict[str, Any] = {
        "model_type": kind,
        "hidden_size": width,
        "num_hidden_layers": sum(name.endswith("feed_forward.output_dense.bias") for name in weights),
        "num_attention_heads": int(heads),
        "intermediate_size": len(weights["encoder.layers.0.feed_forward.intermediate_dense.bias"]),
        "conv_dim": [shape[0] for shape in shapes],
        "conv_kernel": kernels,
        "conv_stride": strides,
        "conv_bias": "feature_extractor.conv_layers.0.conv.bias" in weights,
        "num_feat_extract_layers": count,
        "feat_extract_norm": "layer" if layered else "group",
        "do_stable_layer_norm": _flag(found, "layer_norm_first", layered),
        "num_conv_pos_embeddings": place.shape[2],
        "num_conv_pos_embedding_groups": width // place.shape[1],
    }
    if buckets is not None:
        config |= {"num_buckets": len(buckets), "max_bucket_distance": int(_setting(found, "max_distance") or 800)}
    return config, _flag(found, "normalize", layered)


def _flag(found: Any, key: str, otherwise: bool) -> bool:
    value = _setting(found, key)
    return value if isinstance(value, bool) else otherwise


def _setting(found: Any, key: str, depth: int = 0) -> Any:
    """A plain value of that name among the settings next to the weights, however deep; None without."""
    inside = found.__dict__ if isinstance(found, Inert) else found
    if not isinstance(inside, dict) or depth > 8:
        return None
    value = inside.get(key)
    value = value.__dict__.get("_val") if isinstance(value, Inert) else value  # omegaconf's
    if isinstance(value, str | int | float):
        return value
    deeper = (_setting(each, key, depth + 1) for name, each in inside.items() if name != "optimizer_history")
    return next((each for each in deeper if each is not None), None)
