"""SenseVoice-Small's weights, settings and am.mvn under the names of `models.sensevoice`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.core.errors import CheckpointError

if TYPE_CHECKING:
    import torch

CMVN = "am.mvn"
PARTS = {
    "self_attn.o_proj": "self_attn.linear_out",
    "mlp.fc1": "feed_forward.w_1",
    "mlp.fc2": "feed_forward.w_2",
    "input_layernorm": "norm1",
    "post_attention_layernorm": "norm2",
}
FRONTEND = {"fs": 16_000, "frame_length": 25, "frame_shift": 10, "lfr_m": 7, "lfr_n": 6, "n_mels": 80}


def converted(
    folder: Path, settings: Mapping[str, Any], state: Mapping[str, "torch.Tensor"]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, "torch.Tensor"]]:
    """config.json, preprocessor_config.json and weights. Raises CheckpointError, KeyError for what is missing."""
    import torch

    from toolkit.models.sensevoice import QUERIES

    conf, frontend = settings["encoder_conf"], {**FRONTEND, **settings["frontend_conf"]}
    if conf.get("normalize_before", True) is not True or conf.get("sanm_shfit", 0):
        raise CheckpointError(f"{folder.name}/config.yaml: expected norms before each part, and no sanm_shfit")
    size, width = frontend["n_mels"] * frontend["lfr_m"], conf["output_size"]
    first, last = conf["num_blocks"], conf["tp_blocks"]
    config = {
        "model_type": "sensevoice",
        "num_mel_bins": frontend["n_mels"],
        "num_stacked_frames": frontend["lfr_m"],
        "hidden_size": width,
        "num_hidden_layers": first + last,
        "num_timestamp_prediction_layers": last,
        "num_attention_heads": conf["attention_heads"],
        "intermediate_size": conf["linear_units"],
        "fsmn_kernel_size": conf["kernel_size"],
        "hidden_act": "relu",
        "layer_norm_eps": 1e-5,
    }
    preprocessor = {
        "feature_extractor_type": "SenseVoiceFeatureExtractor",
        "sampling_rate": frontend["fs"],
        "feature_size": frontend["n_mels"],
        "frame_length": frontend["frame_length"],
        "frame_shift": frontend["frame_shift"],
        "num_frames_lfr": frontend["lfr_m"],
        "stride_lfr": frontend["lfr_n"],
        "window": frontend.get("window", "hamming"),
    }
    weights = {"queries": state["embed.weight"][list(QUERIES)]}
    weights["shift"], weights["scale"] = (torch.tensor(each) for each in read_cmvn(folder, size))
    blocks = ["encoders0.0", *(f"encoders.{n}" for n in range(first - 1)), *(f"tp_encoders.{n}" for n in range(last))]
    for number, block in enumerate(blocks):
        ours, theirs = f"layers.{number}", f"encoder.{block}"
        for kind in ("weight", "bias"):
            fused = state[f"{theirs}.self_attn.linear_q_k_v.{kind}"].chunk(3)
            weights |= {f"{ours}.self_attn.{name}_proj.{kind}": part for name, part in zip("qkv", fused)}
            weights |= {f"{ours}.{name}.{kind}": state[f"{theirs}.{part}.{kind}"] for name, part in PARTS.items()}
        weights[f"{ours}.self_attn.fsmn.conv.weight"] = state[f"{theirs}.self_attn.fsmn_block.weight"]
    for number, norm in ((first - 1, "after_norm"), (first + last - 1, "tp_norm")):
        for kind in ("weight", "bias"):
            weights[f"layers.{number}.final_layernorm.{kind}"] = state[f"encoder.{norm}.{kind}"]
    return config, preprocessor, weights


def read_cmvn(folder: Path, size: int) -> tuple[list[float], list[float]]:
    """What is added to each feature, and what it is multiplied by, of Kaldi's text. Raises CheckpointError."""
    try:
        text = (folder / CMVN).read_text(encoding="utf-8")
        rows = [re.search(rf"<{tag}>[^\[]*\[([^\]]*)\]", text) for tag in ("AddShift", "Rescale")]
        shift, scale = ([float(value) for value in row[1].split()] if row else [] for row in rows)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder.name}/{CMVN} cannot be read: {type(error).__name__}") from None
    if len(shift) != size or len(scale) != size:
        raise CheckpointError(
            f"{folder.name}/{CMVN} shifts {len(shift)} features and scales {len(scale)}, expected {size} of both"
        )
    return shift, scale
