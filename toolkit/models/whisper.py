"""Whisper: the encoder's states over a clip's own frames and, if asked, the decoder's for its start token."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from toolkit.audio.decode import Samples
from toolkit.core.matmul import rounded_up
from toolkit.models.attention import SelfAttention
from toolkit.models.encoder import LayerStates, attention_mask, check_filled, on_device, own_frames
from toolkit.models.fused_linear import Product, feed_forward
from toolkit.models.logmel import LogMel
from toolkit.models.precision import FLOAT32, Precision

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
        precision: Precision,
        last_layer: int,
        context: Context,
        decoder: bool,
    ) -> None:
        """model: the Hugging Face base model in float32, without its decoder if that is not wanted; taken apart."""
        config = model.config
        self.device, self.precision, self.width = device, precision, int(config.d_model)
        self._context = context
        self._log_mel = LogMel(feature_extractor, device)
        encoder = model.to(device).encoder
        self._convolutions, self._positions = (encoder.conv1, encoder.conv2), encoder.embed_positions.weight
        self._layers = [
            EncoderLayer(layer, attention, precision)
            for layer, attention in zip(encoder.layers[:last_layer], [FLOAT32, *[precision] * last_layer])
        ]
        self._last_norm = encoder.layer_norm if last_layer == config.encoder_layers else None
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
        check_filled(clips)
        pieces = [clip[start : start + self._window] for clip in clips for start in range(0, len(clip), self._window)]
        windows = [math.ceil(len(clip) / self._window) for clip in clips]
        piece_lengths = [self.frames(len(piece)) for piece in pieces]
        lengths = on_device([self.frames(len(clip)) for clip in clips], self.device)
        encoder_frames = self._log_mel.frames // 2 if self._context == "full" else max(piece_lengths)
        seen = on_device(piece_lengths, self.device) if self._context == "clip" else None
        padded = seen if min(piece_lengths) < encoder_frames else None
        mask = None if padded is None else attention_mask(own_frames(padded, encoder_frames))
        with torch.inference_mode():
            values = self._first_states(pieces, seen, encoder_frames)
        yield _joined("encoder.0", values, piece_lengths, windows, lengths)
        for number, layer in enumerate(self._layers, start=1):
            with torch.inference_mode():
                values = layer(values, mask)
                if self._last_norm is not None and number == len(self._layers):
                    values = self._last_norm(values)
            yield _joined(f"encoder.{number}", values, piece_lengths, windows, lengths)
        if self._decoder is not None:
            lengths = on_device(windows, self.device)
            for number, states in enumerate(self._decoder(values, mask)):
                yield _joined(f"decoder.{number}", states, [1] * len(piece_lengths), windows, lengths)

    def _first_states(self, pieces: Sequence[Samples], seen: Tensor | None, frames: int) -> Tensor:
        """What enters the first layer: (pieces, frames, width). seen: (pieces,) frames of each, None for all."""
        computed = frames if seen is None else rounded_up(frames, self.precision.dtype, self.device)
        spectrogram = self._log_mel(pieces, 2 * computed)
        if seen is not None:  # what follows a clip must be the convolution's own padding: zero
            valid = own_frames(2 * seen, 2 * computed)[:, None]
            spectrogram = torch.where(valid, spectrogram, 0.0)
        values = spectrogram
        for convolution in self._convolutions:
            values = F.gelu(convolution(values))
        first: Tensor = (values.transpose(1, 2)[:, :frames] + self._positions[:frames]).contiguous()
        return first


def _joined(name: str, values: Tensor, frames: Sequence[int], windows: Sequence[int], lengths: Tensor) -> LayerStates:
    """Back from windows to clips. values: (pieces, frames, width); frames: of a piece; windows: pieces a clip;
    lengths: (clips,) frames a clip, on the device.
    """
    if len(frames) == len(windows):
        return LayerStates(name, values[:, : max(frames)], lengths)
    clips: list[Tensor] = []
    with torch.inference_mode():
        piece = 0
        for count in windows:
            clips.append(torch.cat([values[i, : frames[i]] for i in range(piece, piece + count)]))
            piece += count
        return LayerStates(name, torch.nn.utils.rnn.pad_sequence(clips, batch_first=True), lengths)


class EncoderLayer:
    """One encoder layer: norms before its halves.

    The first one's attention is always float32's. It takes the table of positions off the states, much of what they
    are; rounded, it made half of the error after the last layer (whisper-tiny.en, 60 clips: up to 1.1e-2 with it and
    7.5e-3 without; whisper-base, the deviations of 60 clips: 15 above 1e-2 with it and 4 without).
    """

    def __init__(self, layer: Any, attention: Precision, precision: Precision) -> None:
        """attention, precision: of the costly products of its two halves. Takes over a Hugging Face layer."""
        self._norm = layer.self_attn_layer_norm
        self._attention = SelfAttention(layer.self_attn, attention)
        self._feed_forward = FeedForward(layer, precision)

    def __call__(self, values: Tensor, mask: Tensor | None) -> Tensor:
        """values: (batch, frames, width) float32; mask as `attention_mask` gives it."""
        values = self._attention(self._norm(values), mask).add_(values)
        return self._feed_forward(values).add_(values)


class Decoder:
    """The decoder, fed its start token alone: one frame, so its self-attention only passes the value on. In float32."""

    def __init__(self, decoder: Any, start_token: int) -> None:
        with torch.inference_mode():
            self._start = decoder.embed_tokens.weight[start_token] + decoder.embed_positions.weight[0]
        self._layers = [(layer, FeedForward(layer, FLOAT32)) for layer in decoder.layers]
        self._norm = decoder.layer_norm

    def __call__(self, encoded: Tensor, mask: Tensor | None) -> Iterator[Tensor]:
        """encoded: (batch, frames, width), the encoder's last states. Yields (batch, 1, width), layer by layer."""
        values = self._start.expand(len(encoded), 1, -1)
        yield values
        for number, (layer, second_half) in enumerate(self._layers, start=1):
            attention, crossed = layer.self_attn, layer.encoder_attn
            with torch.inference_mode():
                values = values + attention.out_proj(attention.v_proj(layer.self_attn_layer_norm(values)))
                values = values + cross_attention(crossed, layer.encoder_attn_layer_norm(values), encoded, mask)
                values = values + second_half(values)
                if number == len(self._layers):
                    values = self._norm(values)
            yield values


class FeedForward:
    """The second half of a layer, with its norm before it."""

    def __init__(self, layer: Any, precision: Precision) -> None:
        """Takes over a Hugging Face layer's."""
        self._norm, self._activation = layer.final_layer_norm, layer.activation_fn
        self._inner = Product.taken_from(layer.fc1, precision)
        self._outer = Product.taken_from(layer.fc2, precision, exact="bias")

    def __call__(self, values: Tensor) -> Tensor:
        """values: (batch, frames, width) float32; so is what is returned."""
        return feed_forward(self._inner, self._outer, self._activation, self._norm(values))


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
