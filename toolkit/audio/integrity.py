"""What libsndfile passes over in silence: cut WAV, RF64 and AIFF data, lost Ogg pages, MP3 of a guessed length.

And what it does not read although it is whole: WAV and FLAC whose header was written before their length was known.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import RawIOBase
from typing import BinaryIO, Literal

from toolkit.audio import flac, media
from toolkit.core.errors import AudioError
from toolkit.core.git_lfs import POINTER

LONG = 0xFFFF_FFFF  # an RF64 data size that is stated elsewhere
# WAV data sizes that mean "until the end": what FFmpeg, SoX and others write into a pipe; 0 as well, where data follow
STREAMED = {LONG, 0x7FFF_FFFF, 0x7FFF_F000} | set(range(0xFFFF_FF00, LONG))
AIFF_HEAD = 8  # bytes of an AIFF's data chunk before the samples
MP3_IN_WAV = 0x55
# WAV codecs that FFmpeg alone reads: G.726 (two numbers), G.723.1, G.729, Windows Media Audio, G.722, AC-3
FFMPEG_IN_WAV = {0x45, 0x64, 0x42, 0x83, 0x160, 0x161, 0x162, 0x163, 0x28F, 0x2000}
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
# MPEG audio layer III, by version (3 is MPEG-1, 2 is MPEG-2, 0 is MPEG-2.5): kbit/s, samples per second and per frame
MP3_BIT_RATES = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
MP3_BIT_RATES[0] = MP3_BIT_RATES[2]
MP3_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
MP3_FRAME = {3: 1152, 2: 576, 0: 576}
MP3_TRIMMED = 4  # frames: at most so many go for the encoder's delay and padding


@dataclass(frozen=True)
class Layout:
    """What a file's own bytes say of it.

    kind: of `ffmpeg.DEMUXERS`, None for what libsndfile reads, if anything does. patches: bytes that are to be read in
    the place of others, by their position. bounded: the file states its length, so that a missing end can be seen.
    data: where a WAV's data chunk begins and ends.
    """

    kind: str | None = None
    patches: Mapping[int, bytes] = field(default_factory=dict)
    bounded: bool = True
    data: tuple[int, int] = (0, 0)


def check(file: BinaryIO, size: int) -> Layout:
    """Raise AudioError for a file of `size` bytes that betrays, without decoding, that a part is missing."""
    magic = file.read(len(POINTER))
    if not magic:
        raise AudioError("is empty: it has no bytes")
    if magic == POINTER:
        raise AudioError("is a Git LFS pointer, not the audio; run `git lfs pull` in its repository")
    if b"#!SILK" in magic[:7]:
        raise AudioError("is a SILK voice message, as WeChat keeps them, which is not read; save it as WAV")
    if magic[:4] in (b"RIFF", b"RF64") and magic[8:12] == b"WAVE":
        return _check_chunks(file, size, b"data", "little")
    if magic[:4] == b"FORM" and magic[8:12] in (b"AIFF", b"AIFC"):
        return _check_chunks(file, size, b"SSND", "big")
    if magic[:4] == b"OggS":
        file.seek(0)
        content = file.read()
        _check_ogg(content)
        return Layout(None if content[28:].startswith((b"\x01vorbis", b"OpusHead")) else "OGG")
    begin = after_id3(file)
    file.seek(begin)
    magic = file.read(16)
    if magic[:4] == b"fLaC":
        patches = flac.check(file, begin, size)
        return Layout(patches=patches, bounded=not patches)
    kind = media.kind_of(magic)
    return Layout(kind, bounded=media.check(kind, file, begin, size)) if kind else Layout()


def _check_ogg(content: bytes) -> None:
    """Every page (RFC 3533) whole, with its checksum and in its turn, and the last one flagged as the end.

    libsndfile leaves a damaged page out and decodes what follows as if nothing were missing.
    """
    position, next_number, ended = 0, dict[bytes, int](), False
    while position < len(content):
        lengths_at = position + 27
        lengths = content[lengths_at : lengths_at + content[lengths_at - 1]] if lengths_at <= len(content) else b""
        end = lengths_at + len(lengths) + sum(lengths)  # a byte for the length of each segment
        page = content[position:end]
        if page[:4] != b"OggS" or end > len(content) or len(lengths) < page[26]:
            raise AudioError(f"ends early or is damaged: no whole Ogg page at byte {position:,}")
        stream, number = page[14:18], int.from_bytes(page[18:22], "little")
        if _ogg_checksum(page) != int.from_bytes(page[22:26], "little") or next_number.get(stream, number) != number:
            raise AudioError(
                f"is damaged: the Ogg page at byte {position:,} is not as it was written, or not in its turn"
            )
        next_number[stream] = number + 1
        ended = bool(page[5] & 4)
        position = end
    if not ended:
        raise AudioError("ends early: its Ogg stream has no last page")


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 with its own field as zeros, bits from the left and no inversion: zlib's, of and in mirrored bits."""
    mirrored = (page[:22] + bytes(4) + page[26:]).translate(MIRRORED)
    return int(f"{zlib.crc32(mirrored, 0xFFFF_FFFF) ^ 0xFFFF_FFFF:032b}"[::-1], 2)


def _check_chunks(file: BinaryIO, size: int, data: bytes, order: Literal["little", "big"]) -> Layout:
    """Compare the length of the data chunk of a RIFF or IFF file with the file's size."""
    file.seek(0)
    head = file.read(12)
    whole = int.from_bytes(head[4:8], order)  # less the eight bytes so far
    position, long_length, block, wav, kind = 12, LONG, 1, order == "little", None
    while len(chunk := file.read(8)) == 8:
        name, length = chunk[:4], int.from_bytes(chunk[4:], order)
        position += 8
        if name == b"ds64":  # RF64: the size of the file, then of the data, 64 bits each
            long_length = int.from_bytes(file.read(16)[8:], "little")
        elif name == b"fmt ":
            form = file.read(14)
            codec = int.from_bytes(form[:2], "little")
            kind = "WAV" if codec in FFMPEG_IN_WAV else None
            if codec != MP3_IN_WAV:
                block = int.from_bytes(form[12:], "little") or 1  # bytes that hold whole samples
        elif name == data:
            rest = size - position
            unknown_length = length == 0 < rest and (whole in (0, position - 8) or whole > size)
            patch = {position - 4: min(rest, LONG).to_bytes(4, order)} if unknown_length else {}
            length = long_length if length == LONG else length
            if wav and (unknown_length or rest < length in STREAMED):
                if rest % block:
                    raise AudioError(f"ends early: its last block is cut, {rest % block} of {block} bytes")
                return Layout(kind, patch, bounded=False, data=(position, size))
            if not wav and length < AIFF_HEAD < rest:
                raise AudioError("was streamed: its AIFF header does not tell its length; save it as WAV or FLAC")
            if length > rest:
                raise AudioError(f"ends early: its header promises {length - rest:,} bytes more than the file holds")
            return Layout(kind, data=(position, position + length))
        position += length + length % 2
        file.seek(position)
    raise AudioError(f"ends early: it has no {data.decode()!r} chunk")


def mp3_samples(file: BinaryIO | RawIOBase, promised: int) -> tuple[int, bool]:
    """How many samples per channel an MP3, the file or the data of a WAV, decodes to, and whether its header says so.

    promised: libsndfile's count. It is exact where the first frame is a length header (Xing, Info, VBRI) and a guess
    from the first frame's bit rate otherwise, several times wrong for a variable bit rate; libsndfile stops there.
    Raises AudioError where the frames, counted one by one, do not fit it.
    """
    position = after_id3(file)
    file.seek(0)
    content = file.read() or b""
    has_length = any(mark in content[position : position + 200] for mark in (b"Xing", b"Info", b"VBRI"))
    samples, frame = 0, 1152
    while (size_and_samples := _mp3_frame(content[position : position + 4])) is not None:
        size, frame = size_and_samples
        position += size
        if position > len(content):
            raise AudioError("ends early: its last MP3 frame is cut")
        samples += frame
    if has_length:
        samples -= frame  # the length header is a frame without audio
    if promised > samples and (has_length or promised - samples > frame):
        raise AudioError(f"ends early: {samples} of {promised} samples per channel could be decoded")
    if samples - promised > MP3_TRIMMED * frame:
        raise AudioError(
            f"holds {samples} samples per channel, but its header lets only {promised} be read; save it as WAV or FLAC"
        )
    return min(promised, samples), has_length


def after_id3(file: BinaryIO | RawIOBase) -> int:
    """Where the audio begins, after ID3v2 tags: 10 bytes and a size of four times 7 bits each."""
    position = 0
    while True:
        file.seek(position)
        head = file.read(10) or b""
        if len(head) < 10 or head[:3] != b"ID3":
            return position
        a, b, c, d = head[6:]
        position += 10 + (a << 21 | b << 14 | c << 7 | d)


def _mp3_frame(header: bytes) -> tuple[int, int] | None:
    """Bytes and samples per channel of the layer III frame that begins with these 4 bytes; None if none does."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None
    version, bit_rate, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bit_rate in (0, 15) or rate == 3:
        return None
    samples = MP3_FRAME[version]
    bits_per_second = 1000 * MP3_BIT_RATES[version][bit_rate]
    return samples // 8 * bits_per_second // MP3_RATES[version][rate] + (header[2] >> 1 & 1), samples
