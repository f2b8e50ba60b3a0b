"""Whisper: the encoder's states over a clip's own frames and, if asked, the decoder's for its start token."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from toolkit.audio import Samples
from toolkit.models.attention import SelfAttention
from toolkit.models.logmel import LogMel
from toolkit.models.products import apply
from toolkit.models.states import LayerStates, attention_mask, cast_products, own_frames, refuse_empty

Context = Literal["full", "clip"]
# Of one clip, whose windows of 30 s run together: 1,500 frames of width 1,280 and 5,120, about ten such tensors alive,
# are 100 MB a window in large-v3, 2 GB for ten minutes.
LONGEST_SECONDS = 600.0


class WhisperEncoder:
    """A loaded Whisper; see `states.Encoder`.

    context "full": the encoder sees 30 s, padded with silence, as it was trained; only a clip's own frames,
    ceil(samples / 320), are given. context "clip": it sees the clip's own frames alone (the spectrogram, the positional
    table and the attention end there): cheaper, and another feature. Clips over 30 s run in windows of 30 s; their
    own frames are joined. The decoder gives one frame a window: its states for the start token.
    """

    longest_seconds = LONGEST_SECONDS

    def __init__(
        self,
        model: Any,
        feature_extractor: Any,
        device: torch.device,
        dtype: torch.dtype,
        last_layer: int,
        context: Context,
        decoder: bool,
    ) -> None:
        """model: the Hugging Face base model in float32, without its decoder if that is not asked for; taken apart."""
        config = model.config
        self.device, self.dtype, self.width = device, dtype, int(config.d_model)
        self._context = context
        self._log_mel = LogMel(feature_extractor, device)
        cast_products(model.to(device).encoder.layers, dtype)
        self._encoder = model.encoder
        self._is_last = last_layer == config.encoder_layers
        self._layers = [EncoderLayer(layer) for layer in model.encoder.layers[:last_layer]]
        self._decoder = Decoder(model.decoder, config.decoder_start_token_id) if decoder else None
        names = [f"encoder.{number}" for number in range(last_layer + 1)]
        names += [f"decoder.{number}" for number in range(config.decoder_layers + 1)] if decoder else []
        self.layer_names = tuple(names)
        self._window = self._log_mel.window_samples
        self._stride = 2 * self._log_mel.hop  # samples per encoder frame: 320

    def frames(self, n_samples: int) -> int:
        whole, rest = divmod(n_samples, self._window)
        return whole * (self._window // self._stride) + math.ceil(rest / self._stride)

    def padded_samples(self, n_samples: int) -> int:
        if self._context == "full":
            return math.ceil(n_samples / self._window) * self._window
        return self.frames(n_samples) * self._stride

    def states(self, clips: Sequence[Samples]) -> Iterator[LayerStates]:
        refuse_empty(clips)
        pieces = [clip[start : start + self._window] for clip in clips for start in range(0, len(clip), self._window)]
        windows = [math.ceil(len(clip) / self._window) for clip in clips]
        own = [self.frames(len(piece)) for piece in pieces]
        encoder_frames = self._log_mel.frames // 2 if self._context == "full" else max(own)
        seen = own if self._context == "clip" else [encoder_frames] * len(own)
        mask = attention_mask(seen, encoder_frames, self.device)
        with torch.inference_mode():
            values = self._first_states(pieces, seen, encoder_frames)
        yield self._joined("encoder.0", values, own, windows)
        for number, layer in enumerate(self._layers, start=1):
            with torch.inference_mode():
                values = layer(values, mask)
                if self._is_last and number == len(self._layers):
                    values = self._encoder.layer_norm(values)
            yield self._joined(f"encoder.{number}", values, own, windows)
        if self._decoder is not None:
            for number, states in enumerate(self._decoder(values, mask)):
                yield self._joined(f"decoder.{number}", states, [1] * len(own), windows)

    def _first_states(self, pieces: Sequence[Samples], seen: Sequence[int], frames: int) -> Tensor:
        """What enters the first layer: (pieces, frames, width)."""
        encoder = self._encoder
        spectrogram = self._log_mel(pieces, 2 * frames)
        if self._context == "clip":  # what lies behind a clip must be the convolution's own padding: zero
            own = own_frames(2 * torch.tensor(seen, device=self.device), 2 * frames)[:, None]
            spectrogram = torch.where(own, spectrogram, 0.0)
        values = F.gelu(encoder.conv1(spectrogram))
        values = F.gelu(encoder.conv2(values)).transpose(1, 2)
        first: Tensor = (values + encoder.embed_positions.weight[:frames]).contiguous()
        return first

    def _joined(self, name: str, values: Tensor, own: Sequence[int], windows: Sequence[int]) -> LayerStates:
        """Back from windows to clips. values: (pieces, frames, width); own: frames a piece; windows: pieces a clip."""
        if len(own) == len(windows):
            return LayerStates(name, values[:, : max(own)], torch.tensor(own, device=self.device))
        clips: list[Tensor] = []
        with torch.inference_mode():
            piece = 0
            for count in windows:
                clips.append(torch.cat([values[i, : own[i]] for i in range(piece, piece + count)]))
                piece += count
            lengths = torch.tensor([len(clip) for clip in clips], device=self.device)
            return LayerStates(name, torch.nn.utils.rnn.pad_sequence(clips, batch_first=True), lengths)


class EncoderLayer:
    """One encoder layer: norms before its halves."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._attention = SelfAttention(layer.self_attn)

    def __call__(self, values: Tensor, mask: Tensor | None) -> Tensor:
        """values: (batch, frames, width) float32; mask as `attention_mask` gives it."""
        layer = self._layer
        values = values + self._attention(layer.self_attn_layer_norm(values), mask)
        return values + feed_forward(layer, values)


class Decoder:
    """The decoder, fed its start token alone: one frame, so its self-attention only passes the value on. In float32."""

    def __init__(self, decoder: Any, start_token: int) -> None:
        self._decoder = decoder
        self._start_token = start_token

    def __call__(self, encoded: Tensor, mask: Tensor | None) -> Iterator[Tensor]:
        """encoded: (batch, frames, width), the encoder's last states. Yields (batch, 1, width), layer by layer."""
        decoder = self._decoder
        with torch.inference_mode():
            start = decoder.embed_tokens.weight[self._start_token] + decoder.embed_positions.weight[0]
            values = start.expand(len(encoded), 1, -1)
        yield values
        for number, layer in enumerate(decoder.layers, start=1):
            with torch.inference_mode():
                values = self._layer(layer, values, encoded, mask)
                if number == len(decoder.layers):
                    values = decoder.layer_norm(values)
            yield values

    def _layer(self, layer: Any, values: Tensor, encoded: Tensor, mask: Tensor | None) -> Tensor:
        attention = layer.self_attn
        values = values + attention.out_proj(attention.v_proj(layer.self_attn_layer_norm(values)))
        values = values + cross_attention(layer.encoder_attn, layer.encoder_attn_layer_norm(values), encoded, mask)
        return values + feed_forward(layer, values)


def feed_forward(layer: Any, values: Tensor) -> Tensor:
    """The second half of a layer. values: (batch, frames, width) float32; so is what is returned."""
    inner = apply(layer.fc1, layer.final_layer_norm(values), layer.activation_fn)
    return apply(layer.fc2, inner).float()


def cross_attention(attention: Any, query: Tensor, encoded: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of one frame to all encoded ones, without projecting these.

        q . (W_k x) = (W_k' q) . x        sum_t p_t (W_v x_t + b_v) = W_v (sum_t p_t x_t) + b_v

    query: (batch, 1, width), encoded: (batch, frames, width), mask as `attention_mask` gives it. Projects heads
    instead of frames: for 1500 of them a hundredth of the work.
    """
    heads, width = attention.num_heads, encoded.shape[-1]
    per_head = attention.q_proj(query).view(len(query), heads, 1, width // heads) * attention.scaling
    key_weight = attention.k_proj.weight.view(heads, width // heads, width)
    value_weight = attention.v_proj.weight.view(heads, width // heads, width)
    scores = (per_head @ key_weight).squeeze(2) @ encoded.transpose(1, 2)
    if mask is not None:
        scores = scores + mask[:, 0]
    mixed = (torch.softmax(scores, dim=-1) @ encoded)[:, :, None] @ value_weight.transpose(1, 2)
    result: Tensor = attention.out_proj(mixed.reshape(len(query), 1, width) + attention.v_proj.bias)
    return result
