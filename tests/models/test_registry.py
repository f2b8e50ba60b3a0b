"""The table's facts agree with each other and with what transformers builds from the configurations."""

import subprocess
import sys

import pytest
import torch
import transformers

from toolkit.core.registry import resolve
from toolkit.models.families import FAMILIES
from toolkit.models.registry import BACKBONES, Backbone

SIX = (
    "hubert-base-ls960",
    "wav2vec2-large-xlsr-53-chinese-zh-cn",
    "whisper-small-chinese-base",
    "whisper-small",
    "whisper-medium",
    "whisper-large-v3",
)
CONFIGS = {
    "wav2vec2": transformers.Wav2Vec2Config,
    "hubert": transformers.HubertConfig,
    "wavlm": transformers.WavLMConfig,
    "data2vec-audio": transformers.Data2VecAudioConfig,
    "wav2vec2-conformer": transformers.Wav2Vec2ConformerConfig,
    "wav2vec2-bert": transformers.Wav2Vec2BertConfig,
    "whisper": transformers.WhisperConfig,
}


def test_the_six_come_first_and_names_are_folder_names() -> None:
    assert tuple(BACKBONES)[:6] == SIX
    for name, row in BACKBONES.items():
        assert name == row.name and "/" not in name and row.hub_id.count("/") == 1
    assert len({row.hub_id for row in BACKBONES.values()}) == len(BACKBONES)


def test_the_table_loads_neither_torch_nor_numpy() -> None:
    code = "import sys, toolkit.models.registry; sys.exit(bool({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def configuration(row: Backbone) -> transformers.PreTrainedConfig:
    if row.family == "whisper":
        vocabulary = {"whisper-tiny.en": 51_864}.get(row.name, 51_866 if row.mel_bins == 128 else 51_865)
        sides = {"attention_heads": row.width // 64, "ffn_dim": 4 * row.width}
        sizes = {f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in sides.items()}
        return transformers.WhisperConfig(
            d_model=row.width,
            encoder_layers=row.layers,
            decoder_layers=row.decoder_layers,
            num_mel_bins=row.mel_bins,
            vocab_size=vocabulary,
            **sizes,
        )
    sizes = {
        "hidden_size": row.width,
        "num_hidden_layers": row.layers,
        "num_attention_heads": row.width // 64,
        "intermediate_size": 4 * row.width,
    }
    if row.family == "wav2vec2-conformer":
        sizes |= {"feat_extract_norm": "layer", "conv_bias": True, "position_embeddings_type": "relative"}
    if row.family in ("wav2vec2", "hubert", "wavlm"):
        large = row.convolution_norm == "layer"
        sizes |= {"feat_extract_norm": row.convolution_norm, "do_stable_layer_norm": large}
        sizes |= {"conv_bias": large and row.family != "wavlm"}
    if row.family in CONFIGS:
        return CONFIGS[row.family](**sizes)
    whole = transformers.AutoConfig.for_model(row.family)  # as it is for the checkpoint that is listed
    for part in filter(None, FAMILIES[row.family].section.split(".")):
        whole = getattr(whole, part)
    setattr(whole, FAMILIES[row.family].layers, row.layers)
    assert getattr(whole, FAMILIES[row.family].width) == row.width
    return whole


@pytest.mark.parametrize("row", BACKBONES.values(), ids=BACKBONES)
def test_parameters_are_those_that_transformers_builds(row: Backbone) -> None:
    with torch.device("meta"):
        model = resolve(FAMILIES[row.family].model)(configuration(row))
    assert sum(weight.numel() for weight in model.parameters()) == row.parameters


def test_only_whisper_has_a_decoder_and_only_mel_models_lack_a_convolution_norm() -> None:
    assert {row.family for row in BACKBONES.values() if row.mel_bins} == {"whisper", "wav2vec2-bert"}
    for row in BACKBONES.values():
        assert (row.decoder_layers > 0) == (row.family == "whisper")
        assert not row.mel_bins or row.convolution_norm == "none"
