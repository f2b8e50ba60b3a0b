"""SenseVoice-Small's encoder (An et al., 2024, arXiv 2407.04051): transformers' Fun-ASR-Nano, with queries in front.

Four learnt frames ask for the language, events, the emotion and the style of writing, and come before the clip's; they
ask what FunASR asks by default ("auto", without punctuation). Each feature is shifted and scaled as the checkpoint's
am.mvn says. FunASR adds noise of one step of 16 bits to the samples (dither) by default; here there is none.

Weights come by `convert.sensevoice`; the states are FunASR's to 1e-5 (tests/models/test_funasr_slow.py).
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.fun_asr_nano import configuration_fun_asr_nano, modeling_fun_asr_nano

from toolkit.audio.decode import Samples
from toolkit.models.filterbanks import FunAsrNanoFeatureExtractor

QUERIES = (0, 1, 2, 15)  # rows of the checkpoint's embeddings: language "auto", event, emotion, "woitn"
SAMPLE_SCALE = 1 << 15  # of 16-bit samples


class SenseVoiceConfig(configuration_fun_asr_nano.FunAsrNanoEncoderConfig):  # type: ignore[misc]
    model_type = "sensevoice"


class SenseVoiceFeatureExtractor(FunAsrNanoFeatureExtractor):
    def __call__(self, clip: Samples, sampling_rate: int, return_tensors: str) -> dict[str, Tensor]:
        return super().__call__(clip * np.float32(SAMPLE_SCALE), sampling_rate, return_tensors)


class _Layer(modeling_fun_asr_nano.FunAsrNanoEncoderLayer):  # type: ignore[misc]
    """The queries come and go next to the frames."""

    def forward(self, states: Tensor, queries: Tensor, *masks: Tensor) -> tuple[Tensor, Tensor]:
        whole = super().forward(torch.cat([queries, states], dim=1), *masks)
        return whole[:, queries.shape[1] :], whole[:, : queries.shape[1]]


class SenseVoiceModel(modeling_fun_asr_nano.FunAsrNanoPreTrainedModel):  # type: ignore[misc]
    """From features to frames, without a head."""

    config_class = SenseVoiceConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        size, layers, last = config.input_size, config.num_hidden_layers, config.num_timestamp_prediction_layers
        self.queries = nn.Parameter(torch.zeros(len(QUERIES), size))
        self.register_buffer("shift", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.position_embeddings = modeling_fun_asr_nano.FunAsrNanoPositionEmbedding(
            config.max_position_embeddings, size
        )
        normed = (layers - last - 1, layers - 1)  # the last that transcribe, and the last that predict times
        self.layers = nn.ModuleList(
            _Layer(config, hidden_size=None if number else size, add_norm=number in normed) for number in range(layers)
        )
        self.post_init()

    def forward(self, input_features: Tensor, input_features_mask: Tensor) -> Tensor:
        """input_features: (batch, frames, 560); the mask is 1 where a clip is. Returns (batch, frames, width)."""
        features = (input_features + self.shift) * self.scale
        count = len(self.queries)
        whole = torch.cat([self.queries.expand(len(features), -1, -1), features], dim=1)
        mask = F.pad(input_features_mask, (count, 0), value=1)
        attention = create_bidirectional_mask(config=self.config, inputs_embeds=whole, attention_mask=mask)
        whole = whole * self.config.hidden_size**0.5 + self.position_embeddings(whole)
        states: Tensor = whole[:, count:]
        queries: Tensor = whole[:, :count]
        for layer in self.layers:
            states, queries = layer(states, queries, attention, mask)
        return states
