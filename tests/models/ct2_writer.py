"""A small writer of CTranslate2's container, and of a Whisper as CTranslate2 would convert it; the tests' own."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

NUMBERS = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4, "bfloat16": 5}
Stored = tuple[str, np.ndarray]  # the stored type, and the values in a numpy type of that size


def string(text: str) -> bytes:
    raw = text.encode() + b"\0"
    return struct.pack("<H", len(raw)) + raw


def variable(name: str, stored: str, values: np.ndarray) -> bytes:
    dims = b"".join(struct.pack("<I", size) for size in values.shape)
    raw = np.ascontiguousarray(values).tobytes()
    return string(name) + struct.pack("<B", values.ndim) + dims + struct.pack("<BI", NUMBERS[stored], len(raw)) + raw


def container(
    variables: Mapping[str, Stored],
    aliases: Mapping[str, str] | None = None,
    *,
    specification: str = "WhisperSpec",
    version: int = 6,
) -> bytes:
    aliases = aliases or {}
    out = struct.pack("<I", version) + string(specification) + struct.pack("<I", 3)
    out += struct.pack("<I", len(variables))
    out += b"".join(variable(name, stored, values) for name, (stored, values) in variables.items())
    out += struct.pack("<I", len(aliases))
    return out + b"".join(string(alias) + string(name) for alias, name in aliases.items())


def float32(values: np.ndarray) -> Stored:
    return "float32", values.astype("<f4")


def float16(values: np.ndarray) -> Stored:
    return "float16", values.astype("<f2")


def bfloat16(values: np.ndarray) -> Stored:
    """Rounded towards zero: the upper half of a float32."""
    return "bfloat16", (values.astype("<f4").view("<u4") >> 16).astype("<u2")


def whisper_variables(state: Mapping[str, np.ndarray], layers: int, heads: int) -> dict[str, np.ndarray]:
    """The float variables of a Hugging Face Whisper under CTranslate2's names; the inverse of what is tested."""
    out: dict[str, np.ndarray] = {"decoder/embeddings/weight": state["model.decoder.embed_tokens.weight"]}

    def linear(to: str, *names: str) -> None:
        weights = [state[f"{name}.weight"] for name in names]
        biases = [state.get(f"{name}.bias", np.zeros(len(weight), np.float32)) for name, weight in zip(names, weights)]
        out[f"{to}/weight"], out[f"{to}/bias"] = np.concatenate(weights), np.concatenate(biases)

    def norm(to: str, name: str) -> None:
        out[f"{to}/gamma"], out[f"{to}/beta"] = state[f"{name}.weight"], state[f"{name}.bias"]

    for number in (1, 2):
        linear(f"encoder/conv{number}", f"model.encoder.conv{number}")
    for side in ("encoder", "decoder"):
        out[f"{side}/position_encodings/encodings"] = state[f"model.{side}.embed_positions.weight"]
        norm(f"{side}/layer_norm", f"model.{side}.layer_norm")
        for layer in range(layers):
            to, name = f"{side}/layer_{layer}", f"model.{side}.layers.{layer}"
            norm(f"{to}/self_attention/layer_norm", f"{name}.self_attn_layer_norm")
            linear(f"{to}/self_attention/linear_0", *(f"{name}.self_attn.{part}_proj" for part in "qkv"))
            linear(f"{to}/self_attention/linear_1", f"{name}.self_attn.out_proj")
            if side == "decoder":
                norm(f"{to}/attention/layer_norm", f"{name}.encoder_attn_layer_norm")
                linear(f"{to}/attention/linear_0", f"{name}.encoder_attn.q_proj")
                linear(f"{to}/attention/linear_1", *(f"{name}.encoder_attn.{part}_proj" for part in "kv"))
                linear(f"{to}/attention/linear_2", f"{name}.encoder_attn.out_proj")
            norm(f"{to}/ffn/layer_norm", f"{name}.final_layer_norm")
            linear(f"{to}/ffn/linear_0", f"{name}.fc1")
            linear(f"{to}/ffn/linear_1", f"{name}.fc2")
    return out


SCALARS: dict[str, tuple[str, int]] = {
    "encoder/num_heads": ("int16", 2),
    "decoder/num_heads": ("int16", 2),
    "decoder/pre_norm": ("int8", 1),
    "decoder/activation": ("int8", 3),
    "decoder/alibi": ("int8", 0),
    "decoder/scale_embeddings": ("int8", 0),
    "decoder/start_from_zero_embedding": ("int8", 0),
    "decoder/alignment_layer": ("int16", -1),
    "decoder/alignment_heads": ("int16", 1),
}


def scalars() -> dict[str, Stored]:
    return {name: (kind, np.array(value, dtype=kind)) for name, (kind, value) in SCALARS.items()}


TOKENS = {"<|endoftext|>": 30, "<|startoftranscript|>": 31, "<|notimestamps|>": 32, "<|startofprev|>": 33}


def write_folder(folder: Path, data: bytes) -> Path:
    """model.bin with the two JSON files that faster-whisper's folders have next to it."""
    folder.mkdir()
    (folder / "model.bin").write_bytes(data)
    tokens: list[dict[str, Any]] = [{"content": text, "id": number, "special": True} for text, number in TOKENS.items()]
    tokenizer = {"added_tokens": tokens, "model": {"type": "BPE", "vocab": {}, "merges": []}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "config.json").write_text(json.dumps({"suppress_ids": [1, 2], "suppress_ids_begin": [3]}))
    return folder
