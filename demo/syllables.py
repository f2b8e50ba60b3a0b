"""The layout of Debian's gcin-voice: ogg/<syllable in bopomofo><tone digit>/<voice>.ogg.

No digit is the first tone, 2 to 4 are the others, and 1 is the neutral tone (thirteen syllables only), which is left
out. The bare letters of the initials, from b to x, are no syllables of Mandarin and are left out too. What remains is
unevenly recorded, so the demo takes the syllables that both voices spoke in all four tones: every tone and every voice
then has the same number of clips, and chance is exactly a quarter.
"""

import hashlib
import re
from collections import defaultdict
from pathlib import Path

from toolkit.core.errors import InputError

TONES = ("tone1", "tone2", "tone3", "tone4")
VOICES = {"3": "voice3", "5": "voice5"}
TONE_OF_DIGIT = {"": "tone1", "2": "tone2", "3": "tone3", "4": "tone4"}
NEUTRAL = "1"
FOLDER = re.compile(r"([\u3105-\u3129]+)([1-4]?)")
BARE_INITIAL = re.compile(r"[\u3105-\u3112]")  # b p m f d t n l g k h j q x

Recordings = dict[tuple[str, str], Path]  # (tone, voice) -> file


def listing(root: Path) -> dict[str, Recordings]:
    """Every recording under `root` by its syllable, less the neutral tone and the bare initials.

    Raises InputError when a folder or a file is named otherwise than the layout says.
    """
    found: dict[str, Recordings] = defaultdict(dict)
    for folder in sorted(root.iterdir()):
        match = FOLDER.fullmatch(folder.name)
        if not match or not folder.is_dir():
            raise InputError(
                f"Bad entry {folder.name!r} in {root.name}/, expected a bopomofo syllable and a tone digit"
            )
        syllable, digit = match.groups()
        if digit == NEUTRAL or BARE_INITIAL.fullmatch(syllable):
            continue
        for file in sorted(folder.iterdir()):
            if file.suffix != ".ogg" or file.stem not in VOICES:
                raise InputError(f"Bad file {file.name!r} in {folder.name}/, expected one of {list(VOICES)} with .ogg")
            found[syllable][TONE_OF_DIGIT[digit], VOICES[file.stem]] = file
    return dict(found)


def complete(recordings: dict[str, Recordings]) -> dict[str, Recordings]:
    """The syllables that both voices spoke in all four tones."""
    wanted = len(TONES) * len(VOICES)
    return {syllable: files for syllable, files in recordings.items() if len(files) == wanted}


def drawn(recordings: dict[str, Recordings], count: int) -> dict[str, Recordings]:
    """`count` of the syllables, or all where there are fewer: a sample without a pattern, the same every time.

    The order is that of the SHA-256 of the syllable's name.
    """
    order = sorted(recordings, key=lambda syllable: hashlib.sha256(syllable.encode()).digest())
    return {syllable: recordings[syllable] for syllable in order[:count]}
