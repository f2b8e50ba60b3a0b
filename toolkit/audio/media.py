"""The containers that FFmpeg reads and libsndfile does not: which one a file is, and whether a part of it is missing.

FFmpeg decodes what it finds of a cut file and says nothing. So the file is walked first, element by element, without
decoding: the elements must fill it to its last byte.
"""

from collections.abc import Callable
from typing import BinaryIO

from toolkit.core.errors import AudioError

# ITU and 3GPP name their boxes by four letters, Microsoft its objects by 16 bytes, Matroska its elements by 1 to 4
MP4_FIRST = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp")
ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
EBML, SEGMENT, CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
# Bytes of a frame, its first one counted, by that one's bits 3 to 6; 0 where nothing is defined (RFC 4867)
AMR_FRAMES = {
    b"#!AMR\n": (13, 14, 16, 18, 20, 21, 27, 32, 6, 0, 0, 0, 0, 0, 0, 1),
    b"#!AMR-WB\n": (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1),
}
ID3V1_BYTES = 128


def kind_of(head: bytes) -> str | None:
    """The container that begins with these bytes (16 or more), None for what is none of them."""
    if head[4:8] in MP4_FIRST:
        return "MP4"
    if head.startswith(EBML.to_bytes(4, "big")):
        return "Matroska"
    if head.startswith(ASF_HEADER):
        return "ASF"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "AVI"
    if head.startswith(tuple(AMR_FRAMES)):
        return "AMR"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "AAC"
    return None


def check(kind: str, file: BinaryIO, begin: int, size: int) -> bool:
    """Walk the elements of a file of `size` bytes from byte `begin` on; whether any of them states the file's length.

    Where none does, a file that ends after any of its elements is as whole as a longer one. Raises AudioError
    where a part is missing or damaged.
    """
    return WALKS[kind](file, begin, size)


def _damaged(position: int, what: str) -> AudioError:
    return AudioError(f"ends early or is damaged: no whole {what} at byte {position:,}")


def _longer(what: str, missing: int) -> AudioError:
    return AudioError(f"ends early: its {what} promises {missing:,} bytes more than the file holds")


def _mp4(file: BinaryIO, position: int, size: int) -> bool:
    """Boxes (ISO 14496-12): a length of 32 or 64 bits and a name, or "until the end"."""
    names = []
    while position < size:
        file.seek(position)
        head = file.read(16)
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        elif length == 0:
            length = size - position
        if len(head) < 8 or length < 8 or not name.isascii():
            raise _damaged(position, "MP4 box")
        if position + length > size:
            raise _longer(f"MP4 box {name.decode()!r}", position + length - size)
        names.append(name)
        position += length
    if b"moov" not in names:
        raise AudioError("ends early: it has no MP4 box 'moov', which is written when a recording is ended")
    return b"moof" not in names or names[-1] == b"mfra"  # fragments, one after the other, and an index after the last


def _matroska(file: BinaryIO, position: int, size: int) -> bool:
    """Elements of EBML (RFC 8794). A live one states only where its segment and its clusters begin."""
    bounded = True
    while position < size:
        file.seek(position)
        head = file.read(12)
        number = _leading_zeros(head[:1]) + 1
        length_at = head[number : number + 1]
        width = _leading_zeros(length_at) + 1
        if number > 4 or width > 8 or len(head) < number + width:
            raise _damaged(position, "Matroska element")
        name = int.from_bytes(head[:number], "big")
        length = int.from_bytes(head[number : number + width], "big") & (1 << 7 * width) - 1
        begin = position + number + width
        if length == (1 << 7 * width) - 1:
            if name not in (SEGMENT, CLUSTER):
                raise _damaged(position, "Matroska element")
            bounded &= name != SEGMENT
            position = begin
        else:
            position = begin + length
            if position > size:
                raise _longer("Matroska element", position - size)
    return bounded


def _leading_zeros(byte: bytes) -> int:
    return 8 - byte[0].bit_length() if byte else 8


def _asf(file: BinaryIO, position: int, size: int) -> bool:
    """Objects: a name of 16 bytes and a length of 64 bits, which includes both."""
    names = set()
    while position < size:
        file.seek(position)
        head = file.read(24)
        length = int.from_bytes(head[16:], "little")
        if head[:16] == ASF_DATA and length < 50:
            raise AudioError("was streamed: its ASF header does not tell its length, and a missing end cannot be seen")
        if len(head) < 24 or length < 24:
            raise _damaged(position, "ASF object")
        if position + length > size:
            raise _longer("ASF object", position + length - size)
        names.add(head[:16])
        position += length
    if ASF_DATA not in names:
        raise AudioError("ends early: it has no ASF data object")
    return True


def _avi(file: BinaryIO, position: int, size: int) -> bool:
    """One or more RIFFs, for files beyond 1 GiB are of several."""
    while position < size:
        file.seek(position)
        head = file.read(12)
        length = int.from_bytes(head[4:8], "little")
        if head[:4] != b"RIFF" or head[8:] not in (b"AVI ", b"AVIX") or length < 4:
            raise _damaged(position, "part of an AVI")
        position += 8 + length + length % 2
        if position > size + length % 2:
            raise _longer("AVI header", position - size)
    return True


def _amr(file: BinaryIO, position: int, size: int) -> bool:
    file.seek(position)
    content = file.read()
    magic = next(magic for magic in AMR_FRAMES if content.startswith(magic))
    lengths = AMR_FRAMES[magic]
    at = len(magic)
    while at < len(content):
        length = lengths[content[at] >> 3 & 15]
        if not length or at + length > len(content):
            raise _damaged(position + at, "AMR frame")
        at += length
    return False


def _adts(file: BinaryIO, position: int, size: int) -> bool:
    """AAC frames as they are, each behind a header of 7 bytes with its length (ISO 14496-3); an ID3 tag may follow."""
    file.seek(position)
    content = file.read()
    if content[-ID3V1_BYTES:].startswith(b"TAG"):
        content = content[:-ID3V1_BYTES]
    at = 0
    while at < len(content):
        head = content[at : at + 7]
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5 if len(head) == 7 else 0
        if kind_of(head) != "AAC" or length < 7 or at + length > len(content):
            raise _damaged(position + at, "AAC frame")
        at += length
    return False


WALKS: dict[str, Callable[[BinaryIO, int, int], bool]] = {
    "MP4": _mp4,
    "Matroska": _matroska,
    "ASF": _asf,
    "AVI": _avi,
    "AMR": _amr,
    "AAC": _adts,
}
