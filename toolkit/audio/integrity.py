"""What libsndfile passes over in silence: cut WAV, RF64 and AIFF data, lost Ogg pages, MP3 of a guessed length."""

import zlib
from typing import BinaryIO, Literal

from toolkit.core.errors import AudioError

STREAMED = 0xFFFF_FFFF  # a WAV data size that means "until the end"
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


def check(file: BinaryIO, size: int) -> None:
    """Raise AudioError for a file of `size` bytes that betrays, without decoding, that a part is missing."""
    magic = file.read(12)
    if not magic:
        raise AudioError("is empty: it has no bytes")
    if magic[:4] in (b"RIFF", b"RF64") and magic[8:] == b"WAVE":
        _check_chunks(file, size, b"data", "little")
    elif magic[:4] == b"FORM" and magic[8:] in (b"AIFF", b"AIFC"):
        _check_chunks(file, size, b"SSND", "big")
    elif magic[:4] == b"OggS":
        file.seek(0)
        _check_ogg(file.read())


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


def _check_chunks(file: BinaryIO, size: int, data: bytes, order: Literal["little", "big"]) -> None:
    """Compare the length of the data chunk of a RIFF or IFF file, read up to its first chunk, with the file's size."""
    position, long_length = 12, STREAMED
    while len(chunk := file.read(8)) == 8:
        name, length = chunk[:4], int.from_bytes(chunk[4:], order)
        position += 8
        if name == b"ds64":  # RF64: the size of the file, then of the data, 64 bits each
            long_length = int.from_bytes(file.read(16)[8:], "little")
        elif name == data:
            length = long_length if length == STREAMED else length
            missing = position + length - size
            if length != STREAMED and missing > 0:
                raise AudioError(f"ends early: its header promises {missing:,} bytes more than the file holds")
            return
        position += length + length % 2
        file.seek(position)
    raise AudioError(f"ends early: it has no {data.decode()!r} chunk")


def mp3_samples(file: BinaryIO, promised: int) -> int:
    """How many samples per channel an MP3 can be decoded to.

    promised: libsndfile's count. It is exact where the first frame is a length header (Xing, Info, VBRI) and a guess
    from the first frame's bit rate otherwise, several times wrong for a variable bit rate; libsndfile stops there.
    Raises AudioError where the frames, counted one by one, do not fit it.
    """
    content = file.read()
    position = _after_id3(content)
    lengths_stand = any(mark in content[position : position + 200] for mark in (b"Xing", b"Info", b"VBRI"))
    samples, frame = 0, 1152
    while (size_and_samples := _mp3_frame(content[position : position + 4])) is not None:
        size, frame = size_and_samples
        position += size
        if position > len(content):
            raise AudioError("ends early: its last MP3 frame is cut")
        samples += frame
    if lengths_stand:
        samples -= frame  # the length header is a frame without audio
    if promised > samples and (lengths_stand or promised - samples > frame):
        raise AudioError(f"ends early: {samples} of {promised} samples per channel could be decoded")
    if samples - promised > MP3_TRIMMED * frame:
        raise AudioError(
            f"holds {samples} samples per channel, but its header lets only {promised} be read; save it as WAV or FLAC"
        )
    return min(promised, samples)


def _after_id3(content: bytes) -> int:
    """Where the frames begin, after ID3v2 tags: 10 bytes and a size of four times 7 bits each."""
    position = 0
    while content[position : position + 3] == b"ID3" and len(content) >= position + 10:
        a, b, c, d = content[position + 6 : position + 10]
        position += 10 + (a << 21 | b << 14 | c << 7 | d)
    return position


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
