"""FLAC's frames (RFC 9639), followed one by one: what is missing between them, and a length that the header lacks."""

import mmap
import re
from collections.abc import Mapping
from typing import BinaryIO

from toolkit.core.errors import AudioError

LAST_BYTES = 2**21  # that the last frame may have
MOST_STRAYS = 4  # that are looked at: one pattern in 256 is a header by chance
HEAD_BYTES = 16  # of the longest header
ID3V1_BYTES = 128
SYNC = re.compile(rb"(?=\xff[\xf8\xf9])")  # of a frame that is counted by frames, or by samples


def check(file: BinaryIO, begin: int, size: int) -> Mapping[int, bytes]:
    """Follow a FLAC's frames from byte `begin` on; what to read in the place of its number of samples, if that is 0.

    Where the header states no length, the last frame's checksum must hold to the end of the file. Raises AudioError
    where that is not so, and where frames are missing: libFLAC gives silence in their place.
    """
    file.seek(begin)
    head = file.read(42)
    if len(head) < 42:
        return {}  # which libsndfile refuses
    field = int.from_bytes(head[18:26], "big")
    claimed = field & (1 << 36) - 1
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        samples, last_at = 0, 0
        strays: list[int] = []  # after the last frame in its turn
        for place in SYNC.finditer(content, begin + len(head)):
            frame = _head(content[place.start() : place.start() + HEAD_BYTES], int.from_bytes(head[8:10], "big"))
            if frame is not None and frame[0] == samples:  # of what looks like a header, one that has its turn is one
                samples, last_at, strays = sum(frame), place.start(), []
            elif frame is not None and len(strays) < MOST_STRAYS:
                strays.append(place.start())
        end = size - ID3V1_BYTES if content[size - ID3V1_BYTES :].startswith(b"TAG") else size
        if samples < claimed:
            raise AudioError(f"ends early or is damaged: whole frames for {samples} of {claimed} samples per channel")
        whole = [stop for stop in (*strays, end) if stop - last_at <= LAST_BYTES and not _crc16(content[last_at:stop])]
        if not claimed and whole[:1] != [end]:
            raise AudioError("ends early: it tells no length, and its last FLAC frame is not whole")
    return {} if claimed else {begin + 18: (field | samples).to_bytes(8, "big")}


def _head(head: bytes, fixed_block: int) -> tuple[int, int] | None:
    """The first sample of the frame that begins with these bytes, and its number of samples; None if none does."""
    number, at = _coded_number(head)
    code = head[2] >> 4 if len(head) > 2 else 0
    extra = {6: 1, 7: 2}.get(code, 0)
    end = at + extra + ({12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0) if code else 0) + 1
    if number is None or not code or end > len(head) or _crc(head[:end], 0x07, 8):
        return None
    if extra:
        block = 1 + int.from_bytes(head[at : at + extra], "big")
    else:
        block = 192 if code == 1 else 144 << code if code < 6 else 1 << code
    return (number if head[1] & 1 else number * fixed_block), block


def _coded_number(frame: bytes) -> tuple[int | None, int]:
    """The number from byte 4 on, coded as UTF-8 codes signs but of up to 36 bits, and where it ends."""
    first = frame[4] if len(frame) > 4 else 0x80
    more = 8 - (first ^ 0xFF).bit_length() - 1  # bytes that follow: leading ones of the first, less itself
    if more < 0:
        return first, 5
    rest = frame[5 : 5 + more]
    if more == 0 or more > 6 or len(rest) < more or any(byte >> 6 != 2 for byte in rest):
        return None, 0
    number = first & (1 << 6 - more) - 1 if more < 6 else 0
    for byte in rest:
        number = number << 6 | byte & 63
    return number, 5 + more


def _crc16(frame: bytes) -> int:
    return _crc(frame, 0x8005, 16)


def _crc(content: bytes, polynomial: int, bits: int) -> int:
    table = _TABLES[polynomial]
    crc, mask, shift = 0, (1 << bits) - 1, bits - 8
    for byte in content:
        crc = crc << 8 & mask ^ table[crc >> shift ^ byte]
    return crc


def _table(polynomial: int, bits: int) -> list[int]:
    table = []
    for byte in range(256):
        crc = byte << bits - 8
        for _ in range(8):
            crc = crc << 1 ^ (polynomial if crc >> bits - 1 & 1 else 0)
            crc &= (1 << bits) - 1
        table.append(crc)
    return table


_TABLES = {0x07: _table(0x07, 8), 0x8005: _table(0x8005, 16)}
