"""emotion2vec and emotion2vec+ (Ma et al., 2023, arXiv 2312.15185), which transformers does not have.

data2vec 2.0's encoder: convolutions, positions by five more, and layers whose attention falls off with distance
(ALiBi), in front of whose frames are ten learnt tokens. FunASR's own padding leaks through the positions; here what
follows a clip's frames is zero in front of each of their convolutions, so that padded batches are exact by the mask.

Weights come by `convert.emotion2vec`; the states are FunASR's to 1e-5 (tests/models/test_funasr_slow.py).
"""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from toolkit.audio.decode import Samples
from toolkit.models.encoder import attention_mask as additive
from toolkit.models.encoder import own_frames
from toolkit.models.filterbanks import Extractor


class Emotion2vecConfig(PreTrainedConfig):  # type: ignore[misc]
    """The numbers of emotion2vec-base. A layer is one of the `prenet_depth` first ones or of the `depth` others."""

    model_type = "emotion2vec"
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    layer_norm_eps: float = 1e-5
    conv_dim: Sequence[int] = (512,) * 7
    conv_kernel: Sequence[int] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: Sequence[int] = (5, 2, 2, 2, 2, 2, 2)
    conv_pos_depth: int = 5
    conv_pos_kernel: int = 19
    conv_pos_groups: int = 16
    num_extra_tokens: int = 10


class Emotion2vecFeatureExtractor(Extractor):
    """The samples themselves, brought to mean 0 and variance 1 where the checkpoint was trained so: (1, samples)."""

    defaults: ClassVar = {"sampling_rate": 16_000, "do_normalize": True}

    def __call__(self, clip: Samples, sampling_rate: int, return_tensors: str) -> dict[str, Tensor]:
        samples = torch.from_numpy(clip)
        normed = F.layer_norm(samples, samples.shape) if self.values["do_normalize"] else samples
        return {"input_values": normed[None]}


class _Convolution(nn.Module):
    def __init__(self, given: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(given, width, kernel, stride, bias=False), nn.LayerNorm(width)

    def forward(self, states: Tensor) -> Tensor:
        return F.gelu(self.norm(self.conv(states).transpose(1, 2)).transpose(1, 2))


class _Layer(nn.Module):
    """Norms follow what they are about. The extra tokens come and go next to the frames."""

    def __init__(self, config: Emotion2vecConfig) -> None:
        super().__init__()
        width, self.heads = config.hidden_size, config.num_attention_heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width, config.layer_norm_eps)
        self.fc1 = nn.Linear(width, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, width)
        self.norm2 = nn.LayerNorm(width, config.layer_norm_eps)

    def forward(self, states: Tensor, extra: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        whole = torch.cat([extra, states], dim=1)
        batch, frames, width = whole.shape
        query, key, value = self.qkv(whole).view(batch, frames, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        whole = self.norm1(whole + self.proj(attended.transpose(1, 2).reshape(batch, frames, width)))
        whole = self.norm2(whole + self.fc2(F.gelu(self.fc1(whole))))
        return whole[:, extra.shape[1] :], whole[:, : extra.shape[1]]


class Emotion2vecModel(PreTrainedModel):  # type: ignore[misc]
    """From samples to frames, without a head."""

    config_class = Emotion2vecConfig
    main_input_name = "input_values"

    def __init__(self, config: Emotion2vecConfig) -> None:
        super().__init__(config)
        given = (1, *config.conv_dim)
        sizes = zip(given, config.conv_dim, config.conv_kernel, config.conv_stride)
        self.convolutions = nn.ModuleList(_Convolution(*size) for size in sizes)
        width, kernel, groups = config.hidden_size, config.conv_pos_kernel, config.conv_pos_groups
        self.feature_norm, self.projection = nn.LayerNorm(given[-1]), nn.Linear(given[-1], width)
        self.positions = nn.ModuleList(
            nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=groups) for _ in range(config.conv_pos_depth)
        )
        self.norm = nn.LayerNorm(width, config.layer_norm_eps)
        self.alibi_scale = nn.Parameter(torch.ones(config.num_hidden_layers, config.num_attention_heads))
        self.extra_tokens = nn.Parameter(torch.zeros(config.num_extra_tokens, width))
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))
        self.post_init()

    def forward(self, input_values: Tensor, attention_mask: Tensor) -> Tensor:
        """input_values, attention_mask: (batch, samples), 1 where a clip is. Returns (batch, frames, width)."""
        states: Tensor = input_values[:, None]
        lengths = attention_mask.sum(1)
        for convolution, kernel, stride in zip(self.convolutions, self.config.conv_kernel, self.config.conv_stride):
            states = convolution(states)
            lengths = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
        states = self.projection(self.feature_norm(states.transpose(1, 2)))
        valid = own_frames(lengths, states.shape[1])
        states = self.norm(states + self._positions(states, valid))
        extra = self.norm(self.extra_tokens).expand(len(states), -1, -1)
        known = F.pad(valid, (extra.shape[1], 0), value=True)
        distances, hidden = self._distances(states.shape[1], states), additive(known)
        for layer, scale in zip(self.layers, self.alibi_scale.clamp(min=0)):
            states, extra = layer(states, extra, distances * scale[:, None, None] + hidden)
        return states

    def _positions(self, states: Tensor, valid: Tensor) -> Tensor:
        """Of each frame, by what is around it; nothing follows a clip's own frames."""
        frames = states.shape[1]
        for convolution in self.positions:
            moved = convolution(torch.where(valid[..., None], states, 0.0).transpose(1, 2))[..., :frames]
            states = F.gelu(F.layer_norm(moved.transpose(1, 2), states.shape[-1:]))
        return states

    def _distances(self, frames: int, like: Tensor) -> Tensor:
        """ALiBi's bias (Press et al., 2022), (heads, tokens and frames, same): 0 from and to the extra tokens."""
        place = torch.arange(frames, device=like.device)
        slopes = torch.tensor(alibi_slopes(self.config.num_attention_heads), dtype=like.dtype, device=like.device)
        bias = -(place[:, None] - place).abs() * slopes[:, None, None]
        return F.pad(bias, (self.config.num_extra_tokens, 0, self.config.num_extra_tokens, 0))


def alibi_slopes(heads: int) -> list[float]:
    """How steeply each head's attention falls off: 2^(-8 k / n) for n heads, a power of two; others are between.

    >>> alibi_slopes(4), [round(slope, 3) for slope in alibi_slopes(3)]
    ([0.25, 0.0625, 0.015625, 0.00390625], [0.062, 0.004, 0.25])
    """
    power = 2 ** math.floor(math.log2(heads))
    slopes = [2.0 ** (-8 * (number + 1) / power) for number in range(power)]
    return slopes + (alibi_slopes(2 * power)[0::2][: heads - power] if power < heads else [])
