"""Tiny random encoders of text, and a Whisper that writes, each with a tokenizer made here."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from tests.models import tiny

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", {}),
    "roberta": ("Roberta", {}),
    "xlm-roberta": ("XLMRoberta", {}),
    "electra": ("Electra", {"embedding_size": 32}),
    "ernie": ("Ernie", {}),
    "qwen2": ("Qwen2", {"num_key_value_heads": 2}),
    "qwen3": ("Qwen3", {"num_key_value_heads": 2, "head_dim": 8}),
}
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
WRITES = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|zh|>", "<|translate|>", "<|transcribe|>",
          "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]  # fmt: skip


def characters() -> Tokenizer:
    """A token a byte, between <s> and </s>."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={one: n for n, one in enumerate([*SPECIAL, *letters])}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(SPECIAL)
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return made


def encoder(folder: Path, kind: str = "bert", seed: int = 0, **config: Any) -> Path:
    """A checkpoint folder of one of KINDS."""
    name, more = KINDS[kind]
    sizes = {**SIZES, "vocab_size": 260, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, **more, **config}
    torch.manual_seed(seed)
    model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**sizes)).eval()
    for weight in model.parameters():
        weight.data.add_(0.1 * torch.randn_like(weight))
    model.save_pretrained(folder)
    special = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token"), SPECIAL))
    transformers.PreTrainedTokenizerFast(tokenizer_object=characters(), **special).save_pretrained(folder)
    return folder


def whisper(folder: Path, seed: int = 0, most: int = 24) -> Path:
    """A Whisper with random weights that writes bytes until it has written `most` tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    end = len(letters)
    tiny.whisper(folder, vocab_size=end + len(WRITES), pad_token_id=end, bos_token_id=end, eos_token_id=end,
                 decoder_start_token_id=end + 1, max_target_positions=most)  # fmt: skip
    model = transformers.WhisperModel(transformers.WhisperConfig.from_pretrained(folder))
    torch.manual_seed(seed)
    spread = {"embed_tokens": 0.1, "encoder.embed": 0.1, "embed_positions": 1.0, "conv": 1.0, "": 0.4}
    for name, weight in model.named_parameters():
        if "layer_norm" not in name:  # so that what is heard decides about each token, and none is said for ever
            weight.data.normal_(std=next(size for part, size in spread.items() if part in name))
    model.save_pretrained(folder)
    made = Tokenizer(models.BPE(vocab={one: n for n, one in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(WRITES)
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token=WRITES[0]).save_pretrained(folder)
    visible = [n for n, one in enumerate(letters) if one.isascii() and one.isalpha()]
    generation = {
        "is_multilingual": True,
        "lang_to_id": {"<|en|>": end + 2, "<|zh|>": end + 3},
        "task_to_id": {"translate": end + 4, "transcribe": end + 5},
        "no_timestamps_token_id": end + 9,
        "decoder_start_token_id": end + 1,
        "bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "max_length": most,
        "suppress_tokens": [n for n in range(end) if n not in visible] + list(range(end + 1, end + 10)),
        "begin_suppress_tokens": [end],
    }  # fmt: skip
    (folder / "generation_config.json").write_text(json.dumps(generation))
    return folder
