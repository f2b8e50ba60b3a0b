"""Whisper as a trainable module, its encoder or its decoder on the start token; see `trainable.Trainable`."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.audio.decode import Samples
from toolkit.models.encoder import check_filled
from toolkit.models.logmel import LogMel
from toolkit.models.trainable import Batch, Prepared, attention, own_mask, parsed, through
from toolkit.models.whisper import Context


class TrainableWhisper(nn.Module):
    """From the log-mel spectrogram to one layer. `own` of a batch: own frames of each piece of at most 30 s."""

    convolutions_stay_frozen = False
    recompute = False
    layer_drop = 0.0
    augment: Callable[[Tensor], Tensor] | None = None

    def __init__(self, model: Any, feature_extractor: Any, layer: str, context: Context) -> None:
        """model: the Hugging Face base model in float32, its encoder up to `layer`, or with its decoder."""
        super().__init__()
        config = model.config
        self.layer, self.width = layer, int(config.d_model)
        stack, number = parsed(layer)
        self._context, self._dropout = context, float(config.dropout)
        self._log_mel = LogMel(feature_extractor, torch.device("cpu"))
        self._window, self._stride = self._log_mel.window_samples, 2 * self._log_mel.hop
        encoder = model.encoder
        self.convolutions = nn.ModuleList([encoder.conv1, encoder.conv2])
        self.front = nn.ModuleList([self.convolutions])
        self.register_buffer("_table", encoder.embed_positions.weight.detach().clone(), persistent=False)
        decoded = list(model.decoder.layers[:number]) if stack == "decoder" else []
        self.layers = nn.ModuleList([*encoder.layers, *decoded])
        self.decoder_start = len(encoder.layers)
        whole = stack == "decoder" or number == config.encoder_layers
        self.encoder_norm = encoder.layer_norm if whole else None
        self.decoder_norm: nn.Module | None = None
        self.start: nn.Parameter | None = None
        if stack == "decoder":
            decoder = model.decoder
            start = decoder.embed_tokens.weight[config.decoder_start_token_id] + decoder.embed_positions.weight[0]
            # All that the decoder reads of its two tables, so that only it is trained and stored.
            self.start = nn.Parameter(start.detach().clone(), requires_grad=False)
            self.decoder_norm = decoder.layer_norm if number == config.decoder_layers else None

    def cost(self, n_samples: int) -> int:
        if self._context == "full":
            return math.ceil(n_samples / self._window) * self._window
        return math.ceil(n_samples / self._stride) * self._stride

    def prepare(self, clip: Samples) -> Prepared:
        check_filled([clip])
        pieces, input_lengths = [], []
        for start in range(0, len(clip), self._window):
            piece = clip[start : start + self._window]
            input_lengths.append(math.ceil(len(piece) / self._stride))
            frames = self._log_mel.frames if self._context == "full" else 2 * input_lengths[-1]
            pieces.append(self._log_mel([piece], frames)[0].clone())  # out of inference mode
        return Prepared(tuple(pieces), tuple(input_lengths))

    def collate(self, clips: Sequence[Prepared]) -> Batch:
        pieces = [piece for clip in clips for piece in clip.pieces]
        # What follows a piece must be the convolution's own padding: zero.
        spectrogram = torch.zeros(len(pieces), pieces[0].shape[0], max(piece.shape[1] for piece in pieces))
        for row, piece in zip(spectrogram, pieces):
            row[:, : piece.shape[1]] = piece
        input_lengths = [frames for clip in clips for frames in clip.input_lengths]
        owner = [number for number, clip in enumerate(clips) for _ in clip.pieces]
        return {"signal": spectrogram, "input_lengths": torch.tensor(input_lengths), "owner": torch.tensor(owner)}

    def states(self, signal: Tensor, input_lengths: Tensor, owner: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        first, second = self.convolutions
        frames = signal.shape[2] // 2
        attended = input_lengths if self._context == "clip" else torch.full_like(input_lengths, frames)
        mask = own_mask(attended, frames)
        seen = None if mask is None else mask[:, None, None]
        if self.augment is not None and self.training:
            signal = self.augment(signal.transpose(1, 2)).transpose(1, 2)
        values = F.gelu(second(F.gelu(first(signal)))).transpose(1, 2).float() + self._table[:frames]  # type: ignore[index]
        values = F.dropout(values, self._dropout, self.front.training)
        yield "encoder.0", values, input_lengths
        for number, layer in enumerate(self.layers[: self.decoder_start], start=1):
            values = through(self, layer, encoder_layer, values, seen)
            if number == self.decoder_start and self.encoder_norm is not None:
                values = self.encoder_norm(values)
            yield f"encoder.{number}", values, input_lengths
        if self.start is not None:
            yield from self._decoded(values, seen)

    def _decoded(self, encoded: Tensor, mask: Tensor | None) -> Iterator[tuple[str, Tensor, Tensor]]:
        assert self.start is not None
        one = torch.ones(len(encoded), dtype=torch.int64, device=encoded.device)
        values = self.start.expand(len(encoded), 1, -1)
        yield "decoder.0", values, one
        layers = self.layers[self.decoder_start :]
        for number, layer in enumerate(layers, start=1):
            values = through(self, layer, decoder_layer, values, encoded, mask)
            if number == len(layers) and self.decoder_norm is not None:
                values = self.decoder_norm(values)
            yield f"decoder.{number}", values, one


def encoder_layer(layer: Any, values: Tensor, mask: Tensor | None) -> Tensor:
    """One encoder layer; norms before its halves. values: (batch, frames, width) float32."""
    mixed = attention(layer.self_attn, layer.self_attn_layer_norm(values), mask)
    return _feed_forward(layer, values + F.dropout(mixed, layer.dropout, layer.training))


def decoder_layer(layer: Any, values: Tensor, encoded: Tensor, mask: Tensor | None) -> Tensor:
    """One decoder layer for one token, (batch, 1, width): its self-attention only passes the value on."""
    attn = layer.self_attn
    kept = attn.out_proj(attn.v_proj(layer.self_attn_layer_norm(values)))
    values = values + F.dropout(kept, layer.dropout, layer.training)
    mixed = attention(layer.encoder_attn, layer.encoder_attn_layer_norm(values), mask, encoded)
    return _feed_forward(layer, values + F.dropout(mixed, layer.dropout, layer.training))


def _feed_forward(layer: Any, values: Tensor) -> Tensor:
    inner = F.dropout(
        layer.activation_fn(layer.fc1(layer.final_layer_norm(values))), layer.activation_dropout, layer.training
    )
    return values + F.dropout(layer.fc2(inner), layer.dropout, layer.training)
