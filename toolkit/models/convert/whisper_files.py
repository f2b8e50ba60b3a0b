"""The small files of a Hugging Face Whisper folder: made from the weights' shapes and CTranslate2's own JSON files."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.audio.decode import SAMPLE_RATE
from toolkit.core.errors import CheckpointError
from toolkit.models.files import read_object

WINDOW, HOP = 400, 160  # samples of Whisper's spectrogram
SAMPLES_PER_POSITION = 2 * HOP  # the second convolution takes every other frame
MULTILINGUAL_VOCABULARY = 51_865  # tokens; the English-only models have one less, large-v3 one more
END_OF_TEXT, START = "<|endoftext|>", "<|startoftranscript|>"


def configuration(
    shapes: Mapping[str, tuple[int, ...]], heads: Mapping[str, int], tokens: Mapping[str, int], dtype: str
) -> dict[str, Any]:
    """config.json. shapes: of every tensor of the checkpoint; heads: of the attention, by "encoder" and "decoder"."""
    width, mel_bins, _ = shapes["model.encoder.conv1.weight"]
    end = tokens[END_OF_TEXT]
    config: dict[str, Any] = {
        "activation_function": "gelu",
        "architectures": ["WhisperForConditionalGeneration"],
        "bos_token_id": end,
        "d_model": width,
        "decoder_start_token_id": tokens[START],
        "dtype": dtype,
        "eos_token_id": end,
        "is_encoder_decoder": True,
        "max_source_positions": shapes["model.encoder.embed_positions.weight"][0],
        "max_target_positions": shapes["model.decoder.embed_positions.weight"][0],
        "model_type": "whisper",
        "num_mel_bins": mel_bins,
        "pad_token_id": end,
        "scale_embedding": False,
        "tie_word_embeddings": True,
        "vocab_size": shapes["model.decoder.embed_tokens.weight"][0],
    }
    for side in ("encoder", "decoder"):
        config[f"{side}_attention_heads"] = heads[side]
        config[f"{side}_ffn_dim"] = shapes[f"model.{side}.layers.0.fc1.weight"][0]
        config[f"{side}_layers"] = sum(
            re.fullmatch(rf"model\.{side}\.layers\.\d+\.fc1\.weight", name) is not None for name in shapes
        )
    if tokens[START] >= config["vocab_size"] or end >= config["vocab_size"]:
        raise CheckpointError(
            f"tokenizer.json numbers {START} {tokens[START]}, but model.bin has {config['vocab_size']} tokens"
        )
    return config


def preprocessor(config: Mapping[str, Any]) -> dict[str, Any]:
    """preprocessor_config.json, for transformers' WhisperFeatureExtractor."""
    seconds, rest = divmod(config["max_source_positions"] * SAMPLES_PER_POSITION, SAMPLE_RATE)
    if rest or not seconds:
        raise CheckpointError(
            f"model.bin: {config['max_source_positions']} positions are no whole seconds of audio; 1500 are 30"
        )
    return {
        "chunk_length": seconds,
        "dither": 0.0,
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": config["num_mel_bins"],
        "hop_length": HOP,
        "n_fft": WINDOW,
        "n_samples": seconds * SAMPLE_RATE,
        "nb_max_frames": seconds * SAMPLE_RATE // HOP,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
        "sampling_rate": SAMPLE_RATE,
    }


TOKENIZER_CONFIG = {
    "add_prefix_space": False,
    "tokenizer_class": "WhisperTokenizer",
    **{f"{role}_token": END_OF_TEXT for role in ("bos", "eos", "pad", "unk")},
}


def special_tokens(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """The special tokens of tokenizer.json, such as "<|startoftranscript|>", and their numbers."""
    entries = tokenizer.get("added_tokens")
    found = {
        entry["content"]: entry["id"]
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and isinstance(entry.get("content"), str) and type(entry.get("id")) is int
    }
    for token in (END_OF_TEXT, START):
        if token not in found:
            raise CheckpointError(f"tokenizer.json has no special token {token}; is it Whisper's?")
    return found


def generation(config: Mapping[str, Any], hints: Mapping[str, Any], tokens: Mapping[str, int]) -> dict[str, Any]:
    """generation_config.json: what a transcription needs, from CTranslate2's config.json (`hints`) and the tokens."""
    end, multilingual = tokens[END_OF_TEXT], config["vocab_size"] >= MULTILINGUAL_VOCABULARY
    values = {
        "bos_token_id": end,
        "decoder_start_token_id": config["decoder_start_token_id"],
        "eos_token_id": end,
        "is_multilingual": multilingual,
        "max_initial_timestamp_index": 50,  # a first timestamp of at most 1 s
        "max_length": config["max_target_positions"],
        "pad_token_id": end,
        "return_timestamps": False,
        "no_timestamps_token_id": tokens.get("<|notimestamps|>"),
        "prev_sot_token_id": tokens.get("<|startofprev|>"),
        "alignment_heads": hints.get("alignment_heads"),
        "begin_suppress_tokens": hints.get("suppress_ids_begin"),
        "suppress_tokens": hints.get("suppress_ids"),
    }
    if multilingual:
        languages = {name: number for name, number in tokens.items() if re.fullmatch(r"<\|[a-z]{2,3}\|>", name)}
        values["lang_to_id"] = languages
        values["task"] = "transcribe"
        values["task_to_id"] = {
            task: tokens[f"<|{task}|>"] for task in ("transcribe", "translate") if f"<|{task}|>" in tokens
        }
    return {key: value for key, value in values.items() if value is not None}


def read_companion(folder: Path, file: str) -> dict[str, Any]:
    """A JSON object that came next to model.bin. Raises CheckpointError."""
    missing = f"There is no {file} next to model.bin; expected CTranslate2's folder as it came"
    return read_object(folder / file, f"The {file} next to model.bin", missing)


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    """As transformers writes its JSON files: two spaces, sorted keys."""
    file.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
