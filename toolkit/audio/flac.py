"""FLAC whose header was written before its length was known (RFC 9639): its last frame tells it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import BinaryIO

from toolkit.core.errors import AudioError

LAST_BYTES = 2**21  # in which the last frame begins
LAST_HEADERS = 4  # of which one is the last frame's: by chance, one pattern in 256 is taken for a header
ID3V1_BYTES = 128
SYNC = re.compile(rb"(?=\xff[\xf8\xf9])")  # of a frame that is counted by frames, or by samples


def unknown_length(file: BinaryIO, begin: int, size: int) -> Mapping[int, bytes]:
    """What to read in the place of the 0 samples that a FLAC from byte `begin` on tells; nothing where it tells them.

    The last frame has its number, its samples, and checksums that hold to the end of the file. That those before it
    are there is seen when they are decoded. Raises AudioError where no frame ends with the file.
    """
    file.seek(begin)
    head = file.read(42)
    samples_at = 18
    field = int.from_bytes(head[samples_at : samples_at + 8], "big")
    if len(head) < 42 or field & (1 << 36) - 1:
        return {}
    fixed_block = int.from_bytes(head[8:10], "big")
    tail_at = max(begin + len(head), size - LAST_BYTES)
    file.seek(tail_at)
    tail = file.read()
    if tail[-ID3V1_BYTES:].startswith(b"TAG"):
        tail = tail[:-ID3V1_BYTES]
    heads = (tail[found.start() :] for found in reversed(list(SYNC.finditer(tail))))
    for frame, samples in islice(_headed(heads, fixed_block), LAST_HEADERS):
        if not _crc(frame, 0x8005, 16):  # with the checksum itself, 0 is left
            return {begin + samples_at: (field | samples).to_bytes(8, "big")}
    raise AudioError("ends early: it tells no length, and its last FLAC frame is not whole")


def _headed(candidates: Iterable[bytes], fixed_block: int) -> Iterator[tuple[bytes, int]]:
    """Those that begin with a frame's header, and the samples per channel up to the end of that frame."""
    for frame in candidates:
        number, at = _coded_number(frame)
        code = frame[2] >> 4 if len(frame) > 2 else 0
        extra = {6: 1, 7: 2}.get(code, 0)
        end = at + extra + ({12: 1, 13: 2, 14: 2}.get(frame[2] & 15, 0) if code else 0) + 1
        if number is None or not code or end + 2 > len(frame) or _crc(frame[:end], 0x07, 8):
            continue
        if extra:
            block = 1 + int.from_bytes(frame[at : at + extra], "big")
        else:
            block = 192 if code == 1 else 144 << code if code < 6 else 1 << code
        yield frame, number + block if frame[1] & 1 else number * fixed_block + block


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
