"""A CTranslate2 Whisper (faster-whisper's format) into a Hugging Face folder, one tensor at a time.

Neither torch nor transformers is needed: the names map one to one, but for the fused projections. CTranslate2 keeps
q, k and v of a self attention as one `linear_0`, and k and v of the cross attention as one `linear_1`; the key
projection has no bias in Whisper, so its part of the fused bias must be 0.
"""

import json
import shutil
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from toolkit.core.artifacts import committed_folder
from toolkit.core.errors import CheckpointError, one_of
from toolkit.models.convert import ct2, whisper_files
from toolkit.models.files import CONFIG, PREPROCESSOR, WEIGHTS

KERNEL = 3  # of both convolutions
# Scalars next to the weights. A value: what Whisper has, anything else would compute another function. None: not used
# by the numbers that a Hugging Face folder gives.
SCALARS: dict[str, int | None] = {
    "encoder/num_heads": None,
    "decoder/num_heads": None,
    "decoder/alignment_heads": None,
    "decoder/alignment_layer": None,
    "decoder/activation": 3,  # GELU
    "decoder/alibi": 0,
    "decoder/pre_norm": 1,
    "decoder/scale_embeddings": 0,
    "decoder/start_from_zero_embedding": 0,
}
SAFETENSORS_TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}

DType = Literal["float32", "stored"]


@dataclass(frozen=True)
class Piece:
    """One tensor to write: part `part` of `parts` equal ones, along the rows, of the variable `source`."""

    name: str
    source: str
    shape: tuple[int, ...]
    part: int = 0
    parts: int = 1


def convert(source: Path | Sequence[Path], out: Path, *, dtype: DType = "float32") -> Path:
    """Write the Hugging Face folder `out` from a CTranslate2 Whisper, and return it.

    source: a folder with model.bin, one file, or its parts in order; config.json and tokenizer.json are next to the
    (first) file. dtype: "float32", or "stored" to keep float16 and bfloat16 as they are (int8 and int16 weights are
    multiplied out to float32 either way). `out` appears whole or not at all.

    Raises CheckpointError when the source is damaged, no Whisper, or holds anything that this conversion would lose;
    InputError when `out` exists; DiskFullError.
    """
    container = ct2.read(source)
    first = source if isinstance(source, Path) else source[0]
    home = first if first.is_dir() else first.parent
    if container.specification != "WhisperSpec":
        raise CheckpointError(one_of("CTranslate2 model", container.specification, ["WhisperSpec"]))
    reader = _Reader(container)
    pieces = list(_pieces(reader))
    reader.check_all_is_used(pieces)
    tokens = whisper_files.special_tokens(whisper_files.read_companion(home, "tokenizer.json"))
    hints = whisper_files.read_companion(home, CONFIG)
    types = [reader.written_type(piece, dtype) for piece in pieces]
    config = whisper_files.configuration(
        {piece.name: piece.shape for piece in pieces},
        {side: reader.heads(side, pieces[0].shape[0]) for side in ("encoder", "decoder")},
        tokens,
        types[0] if len(set(types)) == 1 else "float32",
    )
    small_files = {
        CONFIG: config,
        PREPROCESSOR: whisper_files.preprocessor(config),
        "generation_config.json": whisper_files.generation(config, hints, tokens),
        "tokenizer_config.json": whisper_files.TOKENIZER_CONFIG,
    }
    with committed_folder(out) as folder:
        _write_safetensors(folder / WEIGHTS, reader, pieces, types)
        shutil.copyfile(home / "tokenizer.json", folder / "tokenizer.json")
        for name, value in small_files.items():
            whisper_files.write_json(folder / name, value)
    return out


class _Reader:
    """The container's values by name, with aliases followed and scales applied."""

    def __init__(self, container: ct2.Container) -> None:
        self.variables, self.aliases = container.variables, container.aliases

    def variable(self, name: str) -> ct2.Variable:
        try:
            return self.variables[self.aliases.get(name, name)]
        except KeyError:
            raise CheckpointError(f"model.bin has no variable {name!r}; is it a whole Whisper?") from None

    def has(self, name: str) -> bool:
        return name in self.variables or name in self.aliases

    def layers(self, side: str) -> int:
        """Layers that are numbered without a gap; a later one is left over, and refused as such."""
        count = 0
        while self.has(f"{side}/layer_{count}/self_attention/linear_0/weight"):
            count += 1
        return count

    def scalar(self, name: str) -> int | None:
        if not self.has(name):
            return None
        variable = self.variable(name)
        if variable.raw.size != 1 or variable.stored not in ("int8", "int16", "int32"):
            raise CheckpointError(
                f"model.bin: {name!r} is {variable.stored} {variable.shape}, expected one whole number"
            )
        return int(variable.raw.reshape(())[()])

    def heads(self, side: str, width: int) -> int:
        heads = self.scalar(f"{side}/num_heads")
        if heads is None:
            heads = width // 64  # every Whisper has heads of 64; older containers do not say
        if heads < 1 or width % heads:
            raise CheckpointError(f"model.bin: {heads} heads cannot share the {side}'s width of {width}")
        return heads

    def values(self, piece: Piece) -> npt.NDArray[np.float32]:
        """A piece as float32, in its shape. Source of the scales: `_quantize` in CTranslate2's model_spec.py."""
        variable = self.variable(piece.source)
        rows = _rows(piece, variable)
        values = ct2.Variable(variable.name, variable.stored, variable.raw[rows]).float32()
        if variable.stored in ("int8", "int16"):
            scale = self.variable(piece.source + "_scale").float32()
            # int8: a scale for each row; int16: one for the whole tensor.
            per_row = scale[rows].reshape(-1, *[1] * (values.ndim - 1)) if scale.ndim else scale
            values = values / per_row
        if not np.isfinite(values).all():
            raise CheckpointError(f"model.bin: {piece.source!r} has values that are not finite numbers")
        return np.ascontiguousarray(values)

    def written_type(self, piece: Piece, dtype: DType) -> str:
        stored = self.variable(piece.source).stored
        return stored if dtype == "stored" and stored in SAFETENSORS_TYPES else "float32"

    def check(self, piece: Piece) -> Piece:
        """The piece, if its variable has the shape, the dtype and the scale that it must have."""
        variable = self.variable(piece.source)
        expected = (piece.shape[0] * piece.parts, *piece.shape[1:])
        if variable.shape != expected:
            raise CheckpointError(f"model.bin: {piece.source!r} has shape {variable.shape}, expected {expected}")
        if variable.stored in SAFETENSORS_TYPES:
            return piece
        scale = self.variable(piece.source + "_scale")
        wanted = {"int8": (variable.shape[0],), "int16": ()}.get(variable.stored)
        if scale.stored != "float32" or scale.shape != wanted:
            raise CheckpointError(
                f"model.bin: the scale of {variable.stored} {piece.source!r} is {scale.stored} {scale.shape}, "
                f"expected float32 {wanted}"
            )
        return piece

    def check_all_is_used(self, pieces: Sequence[Piece]) -> None:
        """Refuse what the conversion would drop: an unknown variable may change what the model computes."""
        used = {self.variable(piece.source).name for piece in pieces}
        used |= {name + "_scale" for name in used if self.variables[name].stored in ("int8", "int16")}
        used.add(self._tied_projection())
        for name, expected in SCALARS.items():
            value = self.scalar(name)
            if expected is not None and value not in (None, expected):
                raise CheckpointError(f"model.bin: {name!r} is {value}, but Whisper's is {expected}")
        if left := sorted(set(self.variables) - used - set(SCALARS)):
            shown = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
            raise CheckpointError(f"model.bin: {len(left)} variables have no place in a Hugging Face Whisper: {shown}")

    def _tied_projection(self) -> str:
        """The output projection, which Hugging Face ties to the embeddings: it must be equal to them."""
        projection, embeddings = self.variable("decoder/projection/weight"), self.variable("decoder/embeddings/weight")
        if projection.name != embeddings.name and not (
            projection.stored == embeddings.stored and np.array_equal(projection.raw, embeddings.raw)
        ):
            raise CheckpointError(
                "model.bin: the output projection differs from the embeddings; in Whisper it is the same"
            )
        return projection.name


def _rows(piece: Piece, variable: ct2.Variable) -> slice:
    if piece.parts == 1:
        return slice(None)
    size = variable.shape[0] // piece.parts
    return slice(piece.part * size, (piece.part + 1) * size)


def _pieces(reader: _Reader) -> Iterator[Piece]:
    """Every tensor of the checkpoint, each checked; sizes come from the shapes."""
    convolution = reader.variable("encoder/conv1/weight").shape
    embeddings = reader.variable("decoder/embeddings/weight").shape
    if len(convolution) != 3 or len(embeddings) != 2 or 0 in convolution + embeddings:
        raise CheckpointError(f"model.bin: the first convolution is {convolution} and the embeddings are {embeddings}")
    width, mel_bins = convolution[:2]
    yield from _linear(reader, "model.encoder.conv1", "encoder/conv1", (width, mel_bins, KERNEL))
    yield from _linear(reader, "model.encoder.conv2", "encoder/conv2", (width, width, KERNEL))
    yield reader.check(Piece("model.decoder.embed_tokens.weight", "decoder/embeddings/weight", (embeddings[0], width)))
    for side in ("encoder", "decoder"):
        model, positions = f"model.{side}", f"{side}/position_encodings/encodings"
        length = (reader.variable(positions).shape or (0,))[0]
        yield reader.check(Piece(f"{model}.embed_positions.weight", positions, (length, width)))
        yield from _norm(reader, f"{model}.layer_norm", f"{side}/layer_norm", width)
        if not reader.layers(side):
            raise CheckpointError(f"model.bin: the {side} has no layer 0 with a fused self attention")
        for number in range(reader.layers(side)):
            yield from _layer(reader, f"{model}.layers.{number}", f"{side}/layer_{number}", width, side == "decoder")


def _layer(reader: _Reader, to: str, at: str, width: int, cross: bool) -> Iterator[Piece]:
    square = (width, width)
    yield from _norm(reader, f"{to}.self_attn_layer_norm", f"{at}/self_attention/layer_norm", width)
    yield from _fused(reader, f"{to}.self_attn", f"{at}/self_attention/linear_0", width, ("q", "k", "v"))
    yield from _linear(reader, f"{to}.self_attn.out_proj", f"{at}/self_attention/linear_1", square)
    if cross:
        yield from _norm(reader, f"{to}.encoder_attn_layer_norm", f"{at}/attention/layer_norm", width)
        yield from _linear(reader, f"{to}.encoder_attn.q_proj", f"{at}/attention/linear_0", square)
        yield from _fused(reader, f"{to}.encoder_attn", f"{at}/attention/linear_1", width, ("k", "v"))
        yield from _linear(reader, f"{to}.encoder_attn.out_proj", f"{at}/attention/linear_2", square)
    yield from _norm(reader, f"{to}.final_layer_norm", f"{at}/ffn/layer_norm", width)
    inner = (reader.variable(f"{at}/ffn/linear_0/weight").shape or (0,))[0]
    yield from _linear(reader, f"{to}.fc1", f"{at}/ffn/linear_0", (inner, width))
    yield from _linear(reader, f"{to}.fc2", f"{at}/ffn/linear_1", (width, inner))


def _linear(reader: _Reader, to: str, at: str, shape: tuple[int, ...]) -> Iterator[Piece]:
    yield reader.check(Piece(f"{to}.weight", f"{at}/weight", shape))
    yield reader.check(Piece(f"{to}.bias", f"{at}/bias", shape[:1]))


def _norm(reader: _Reader, to: str, at: str, width: int) -> Iterator[Piece]:
    yield reader.check(Piece(f"{to}.weight", f"{at}/gamma", (width,)))
    yield reader.check(Piece(f"{to}.bias", f"{at}/beta", (width,)))


def _fused(reader: _Reader, to: str, at: str, width: int, projections: tuple[str, ...]) -> Iterator[Piece]:
    parts = len(projections)
    for part, projection in enumerate(projections):
        name = f"{to}.{projection}_proj"
        yield reader.check(Piece(f"{name}.weight", f"{at}/weight", (width, width), part, parts))
        bias = reader.check(Piece(f"{name}.bias", f"{at}/bias", (width,), part, parts))
        if projection != "k":
            yield bias
        elif reader.values(bias).any():
            raise CheckpointError(f"model.bin: {at!r} has a bias for the keys; Whisper has none")


def _write_safetensors(file: Path, reader: _Reader, pieces: Sequence[Piece], types: Sequence[str]) -> None:
    """The safetensors format: uint64 length of a JSON header padded to 8 bytes, then the tensors back to back."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for piece, kind in zip(pieces, types, strict=True):
        size = int(np.prod(piece.shape)) * (4 if kind == "float32" else 2)
        entry = {"dtype": SAFETENSORS_TYPES[kind], "shape": piece.shape, "data_offsets": [offset, offset + size]}
        header[piece.name] = entry
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as output:
        output.write(struct.pack("<Q", len(text)) + text)
        for piece, kind in zip(pieces, types, strict=True):
            values: npt.NDArray[np.generic] = reader.values(piece)  # which also checks that they are finite
            if kind != "float32":
                variable = reader.variable(piece.source)
                values = np.ascontiguousarray(variable.raw[_rows(piece, variable)])  # the same bits as stored
            output.write(values.data)
