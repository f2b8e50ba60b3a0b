"""emotion2vec's weights and settings under the names of `models.emotion2vec`."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.core.errors import CheckpointError

if TYPE_CHECKING:
    import torch

AUDIO = "modality_encoders.AUDIO."
# Of data2vec 2.0's settings what all published checkpoints have; with anything else another function is computed.
ALIKE = {"layer_norm_first": False, "norm_affine": True}
ALIKE_AUDIO = {
    "conv_pos_pre_ln": False, "extractor_mode": "layer_norm", "learned_alibi": False, "use_alibi_encoder": True,
}  # fmt: skip
PARTS = {"qkv": "attn.qkv", "proj": "attn.proj", "norm1": "norm1", "norm2": "norm2", "fc1": "mlp.fc1", "fc2": "mlp.fc2"}


def converted(
    folder: Path, settings: Mapping[str, Any], state: Mapping[str, "torch.Tensor"]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, "torch.Tensor"]]:
    """config.json, preprocessor_config.json and weights. Raises CheckpointError, KeyError for what is missing."""
    conf = settings["model_conf"]
    audio = conf["modalities"]["audio"]
    for part, alike in ((conf, ALIKE), (audio, ALIKE_AUDIO)):
        for key, expected in alike.items():
            if (found := part.get(key, expected)) != expected:
                raise CheckpointError(f"{folder.name}/config.yaml: {key} is {found!r}, expected {expected!r}")
    if audio["num_alibi_heads"] != conf["num_heads"]:
        raise CheckpointError(
            f"{folder.name}/config.yaml: num_alibi_heads is {audio['num_alibi_heads']}, expected {conf['num_heads']}"
        )
    spec = convolutions(str(audio["feature_encoder_spec"]))
    first, layers, width = audio["prenet_depth"], audio["prenet_depth"] + conf["depth"], conf["embed_dim"]
    config = {
        "model_type": "emotion2vec",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": conf["num_heads"],
        "intermediate_size": int(width * conf["mlp_ratio"]),
        "layer_norm_eps": float(conf["norm_eps"]),
        **{key: [part[place] for part in spec] for place, key in enumerate(("conv_dim", "conv_kernel", "conv_stride"))},
        "conv_pos_depth": audio["conv_pos_depth"],
        "conv_pos_kernel": max(3, audio["conv_pos_width"] // audio["conv_pos_depth"]),
        "conv_pos_groups": audio["conv_pos_groups"],
        "num_extra_tokens": audio["num_extra_tokens"],
    }
    preprocessor = {
        "feature_extractor_type": "Emotion2vecFeatureExtractor",
        "do_normalize": bool(conf["normalize"]),
        "sampling_rate": 16_000,
    }
    scope = next((name for name in state if name.endswith(AUDIO + "extra_tokens")), AUDIO + "extra_tokens")
    scope = scope.removesuffix(AUDIO + "extra_tokens")  # "d2v_model." where a classifier was trained on it
    names = dict(_names(len(spec), audio["conv_pos_depth"], first, layers))
    weights = {ours: state[scope + theirs] for ours, theirs in names.items()}
    weights["extra_tokens"] = state[f"{scope}{AUDIO}extra_tokens"][0]
    scale = state[f"{scope}{AUDIO}alibi_scale"]  # of each layer or all, of each head or all
    weights["alibi_scale"] = scale.reshape(-1, scale.shape[-3]).expand(layers, conf["num_heads"])
    return config, preprocessor, weights


def _names(convolutions: int, positions: int, first: int, layers: int) -> list[tuple[str, str]]:
    """(ours, theirs) of each weight and bias."""
    modules = [("feature_norm", f"{AUDIO}project_features.1"), ("projection", f"{AUDIO}project_features.2")]
    modules += [(f"convolutions.{n}.norm", f"{AUDIO}local_encoder.conv_layers.{n}.2.1") for n in range(convolutions)]
    modules += [(f"positions.{n}", f"{AUDIO}relative_positional_encoder.{n + 1}.0") for n in range(positions)]
    modules.append(("norm", f"{AUDIO}context_encoder.norm"))
    for number in range(layers):
        block = f"{AUDIO}context_encoder.blocks.{number}" if number < first else f"blocks.{number - first}"
        modules += [(f"layers.{number}.{ours}", f"{block}.{theirs}") for ours, theirs in PARTS.items()]
    bare = [(f"convolutions.{n}.conv", f"{AUDIO}local_encoder.conv_layers.{n}.0") for n in range(convolutions)]
    kinds = [(bare, "weight"), (modules, "weight"), (modules, "bias")]
    return [(f"{ours}.{kind}", f"{theirs}.{kind}") for group, kind in kinds for ours, theirs in group]


def convolutions(text: str) -> list[tuple[int, int, int]]:
    """(channels, kernel, stride) of each, as fairseq writes them; the text is read, not run.

    >>> convolutions("[(512, 10, 5)] + [(512, 3, 2)] * 2")
    [(512, 10, 5), (512, 3, 2), (512, 3, 2)]
    """

    def read(node: ast.expr) -> Any:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return read(node.left) + read(node.right)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            return read(node.left) * min(100, read(node.right))
        return ast.literal_eval(node)

    try:
        found = read(ast.parse(text, mode="eval").body)
        if found and all(len(one) == 3 and all(type(number) is int and number > 0 for number in one) for one in found):
            return [tuple(one) for one in found]
    except (SyntaxError, TypeError, ValueError):
        pass
    raise CheckpointError(f"Bad convolutions {text[:80]!r}, expected such as [(512, 10, 5)] + [(512, 3, 2)] * 4")
