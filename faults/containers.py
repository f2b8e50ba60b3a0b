"""Every container and codec that FFmpeg here writes: whole, cut, of unknown length, with odd heads and tails.

FFmpeg is a program of another version than PyAV's. What comes out is as long as it says, or refused, or of a file that
tells no length, and then so flagged.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from faults.rows import Outcome
from tests.audio import oracle
from toolkit.audio import decode_pool
from toolkit.core.errors import AudioError

# Of these every codec is tried, of the others the one that FFmpeg takes for them
READ = (
    "3g2",
    "3gp",
    "adts",
    "aiff",
    "amr",
    "asf",
    "avi",
    "flac",
    "ipod",
    "matroska",
    "mov",
    "mp3",
    "mp4",
    "ogg",
    "wav",
)
READ += ("webm",)
NO_FILES = {
    "alsa",
    "fbdev",
    "fifo",
    "oss",
    "rtp",
    "rtp_mpegts",
    "rtsp",
    "sap",
    "tee",
    "video4linux2,v4l2",
    "xv",
    "null",
}
NO_FILES |= {"dash", "hds", "hls", "segment", "smoothstreaming", "stream_segment,ssegment", "webm_chunk", "image2"}
VIDEO = ("mp4", "mov", "matroska", "avi", "asf")
FRAGMENTS = ("-movflags", "frag_keyframe+empty_moov")
CUTS, HOLES = 8, 3
THREADS = 8
LEAD_IN = 2_048  # samples of a codec's delay or of its last frame, with which FFmpeg 7 and 8 differ in Matroska

Pair = tuple[str, str, Path]  # a muxer, a codec ("" for the muxer's own) and a sound


@dataclass
class Tally:
    """What came of the files: numbers by kind, and what must not be."""

    files: int = 0
    read: set[tuple[str, str]] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def every(folder: Path) -> Outcome:
    """Every pair that can be written, and every variant of it."""
    sounds = oracle.sounds(folder)
    codecs = {codec: sound for codec in oracle.encoders() if (sound := _taken(folder, codec, sounds)) is not None}
    pairs = [(muxer, codec, codecs[codec]) for muxer in READ for codec in codecs]
    pairs += [(muxer, "", sounds[0]) for muxer in oracle.muxers() if muxer not in NO_FILES]
    tally = tried(folder, pairs)
    return Outcome(tally.files, sentence(tally), not tally.wrong)


def tried(folder: Path, pairs: Iterable[Pair]) -> Tally:
    """What comes of the pairs that can be written; FFmpeg sleeps more than it works."""
    tally = Tally()
    with ThreadPoolExecutor(THREADS) as pool:
        for found in pool.map(partial(_tried, folder), pairs):
            tally.files += found.files
            tally.read |= found.read
            tally.counts += found.counts
            tally.wrong += found.wrong
    decode_pool._end_idle()
    return tally


def _tried(folder: Path, pair: Pair) -> Tally:
    muxer, codec, sound = pair
    tally, generator = Tally(), random.Random(f"{muxer} {codec}")
    options = (*(("-c:a", codec) if codec else ()), "-f", muxer)
    path = folder / f"{muxer}-{codec}"
    if not oracle.write(path, sound, *options):
        return tally
    _judge_all(tally, path, (muxer, codec), generator)
    fragments = FRAGMENTS if muxer in ("mp4", "mov", "ipod") else ()
    if muxer in READ and oracle.write(path, sound, *fragments, *options, piped=True):
        _judge_all(tally, path, (muxer, codec), generator, "streamed ")
    if muxer in VIDEO and oracle.write(path, sound, *oracle.VIDEO, *options):
        _judge_all(tally, path, (muxer, codec), generator, "video ")
    path.unlink()
    return tally


def sentence(tally: Tally) -> str:
    counts = tally.counts
    containers, codecs = ({pair[place] for pair in tally.read} for place in (0, 1))
    return (
        f"FFmpeg {oracle.version()} wrote {counts['written']:,} files; {counts['read']:,} were read ({len(codecs)} "
        f"codecs in {len(containers)} containers) to the sample that it counts, or ({counts['lead-in']}) less a "
        f"codec's lead-in, {counts['whole refused']:,} refused by name; of {counts['variant']:,} variants of those "
        f"read (cut, of unknown length, with odd heads and tails) {counts['refused']:,} were refused, "
        f"{counts['equal']:,} lost nothing, {counts['flagged']:,} of files that tell no length were read as far as "
        f"they go, and flagged; {len(tally.wrong)} short and silent"
    ) + "".join(f"; {text}" for text in tally.wrong[:3])


def _taken(folder: Path, codec: str, sounds: Sequence[Path]) -> Path | None:
    """The first sound that a codec takes."""
    return next((sound for sound in sounds if oracle.write(folder / "try", sound, "-c:a", codec, "-f", "nut")), None)


def _judge_all(tally: Tally, path: Path, pair: tuple[str, str], generator: random.Random, how: str = "") -> None:
    tally.files += 1
    tally.counts["written"] += 1
    whole = path.read_bytes()
    found = _read(path)
    if found is None:
        tally.counts["whole refused"] += 1
        return
    count, rate, _ = found
    lead_in = oracle.seconds(path) * rate - count
    if lead_in and not (pair[0] in ("matroska", "webm") and abs(lead_in) <= LEAD_IN):
        tally.wrong.append(f"{how}{pair}: {count} samples, {lead_in} less than FFmpeg")
    tally.counts["lead-in"] += bool(lead_in)
    tally.counts["read"] += 1
    tally.read.add(pair)
    for what, content in variants(whole, generator):
        tally.files += 1
        tally.counts["variant"] += 1
        path.write_bytes(content)
        found = _read(path)
        if found is None:
            tally.counts["refused"] += 1
        elif found[0] == count:
            tally.counts["equal"] += 1
        elif "unbounded" in found[2] and found[0] == oracle.seconds(path) * rate - lead_in:
            tally.counts["flagged"] += 1
        else:
            tally.wrong.append(f"{how}{pair} {what}: {found} for {count}, FFmpeg {oracle.samples(path)}")


def _read(path: Path) -> tuple[int, int, tuple[str, ...]] | None:
    """Samples per channel, their rate, and flags; None for a refusal."""
    try:
        header = decode_pool.header(path)
        audio = decode_pool.decode(path, channel=0)
    except AudioError:
        return None
    assert abs(audio.seconds - header.seconds) < 1e-3, "the header and the samples differ"
    return round(header.seconds * header.rate), header.rate, audio.flags


def variants(whole: bytes, generator: random.Random) -> Iterator[tuple[str, bytes]]:
    """What may become of a file, by name."""
    for _ in range(CUTS):
        at = generator.randrange(1, len(whole))
        yield f"cut at {at}", whole[:at]
    yield "less its last byte", whole[:-1]
    for _ in range(HOLES):
        at, length = generator.randrange(len(whole)), generator.randrange(1, 3_000)
        yield f"less {length} bytes at {at}", whole[:at] + whole[at + length :]
    yield "with ID3 before", b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + whole
    yield "with ID3 behind", whole + b"TAG" + bytes(125)
    yield "with zeros behind", whole + bytes(1_000)
    yield "with noise behind", whole + generator.randbytes(777)
    if whole[4:8] == b"ftyp":
        yield "with a free box behind", whole + b"\0\0\0\x10free" + bytes(8)
    if whole[:4] == b"\x1aE\xdf\xa3":
        yield "with a void element behind", whole + b"\xec\x84" + bytes(4)
    if whole[:4] == b"fLaC":
        field_ = int.from_bytes(whole[18:26], "big") >> 36 << 36
        yield "of no length", whole[:18] + field_.to_bytes(8, "big") + whole[26:]
    if whole[:4] == b"RIFF" and whole[8:12] == b"WAVE":
        yield from _wav(whole)


def _wav(whole: bytes) -> Iterator[tuple[str, bytes]]:
    odd = b"note\x05\0\0\0odd..\0"
    yield "with a chunk before", whole[:12] + odd + whole[12:]
    yield "with a chunk behind", whole + odd
    at = whole.index(b"data") + 4
    end = at + 4 + int.from_bytes(whole[at : at + 4], "little")
    for length in (0, 0x7FFF_FFFF, 0x7FFF_F000, 0xFFFF_FFFF):
        for form in (0, at - 4, 0xFFFF_FFFF):
            head = whole[:4] + form.to_bytes(4, "little") + whole[8:at] + length.to_bytes(4, "little")
            yield f"of the length {length:x} in {form:x}", head + whole[at + 4 : end]
            yield f"of the length {length:x} in {form:x}, cut", head + whole[at + 4 : end - 101]
