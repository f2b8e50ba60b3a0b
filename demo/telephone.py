"""A telephone corpus as people have it: stereo calls at 8 kHz, and an Excel sheet with Chinese headings.

    python -m demo.telephone FOLDER

espeak-ng speaks both sides, the counsellor on the left and the caller on the right. docs/telephone.md shows what comes
of it.
"""

import sys
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import soxr

from demo.spoken import VOICE, Synthesiser

CALLERS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5")  # espeak-ng's voices
RATE, PITCH, RANGE = 1, 3, 4  # of espeak_SetParameter: words a minute, and from 0 to 100
MOODS = {"平静": (165, 50, 50), "悲伤": (138, 42, 34), "焦虑": (196, 58, 68)}
SPREAD = (12, 6, 10)  # of each from turn to turn: nobody is sad in one way
SAID = (
    "wo3 bu4 zhi1 dao4 zen3 me5 ban4", "ta1 men5 dou1 bu4 li3 wo3", "wo3 wan3 shang5 shui4 bu4 zhao2",
    "gong1 zuo4 tai4 duo1 le5", "wo3 xiang3 gen1 ni3 liao2 liao5", "jin1 tian1 hai2 shi4 zhe4 yang4",
)  # fmt: skip
ANSWER = "en5 wo3 zai4 ting1 ni3 shuo1"
TURNS = 9
SAMPLES_PER_SECOND = 8_000


def main(folder: Path) -> None:
    """Write FOLDER/录音/ and FOLDER/标注.xlsx: 12 calls of 9 turns, a tenth of them not labelled yet."""
    synthesiser, generator = Synthesiser(), np.random.default_rng(0)
    (folder / "录音").mkdir(parents=True, exist_ok=True)
    rows: list[tuple[object, ...]] = []

    def speak(text: str, voice: str, mood: str = "平静") -> np.ndarray:
        for parameter, value, spread in zip((RATE, PITCH, RANGE), MOODS[mood], SPREAD):
            synthesiser.library.espeak_SetParameter(parameter, round(generator.normal(value, spread)), 0)
        spoken = synthesiser.speak(text, f"{VOICE}+{voice}") / 32_768
        return soxr.resample(spoken, synthesiser.rate, SAMPLES_PER_SECOND)  # type: ignore[no-any-return]

    sentences = cycle(SAID)
    for number, voice in enumerate(CALLERS, start=1):
        call: list[np.ndarray] = []
        for turn in range(TURNS):
            answer = speak(ANSWER, "f3" if voice.startswith("m") else "m3")
            mood = list(MOODS)[(turn + number) % len(MOODS)]
            speech = speak(next(sentences), voice, mood)
            start = (sum(map(len, call)) + len(answer)) / SAMPLES_PER_SECOND
            call += [np.stack([answer, 0 * answer], axis=1), np.stack([0 * speech, speech], axis=1)]
            label = mood if (number * TURNS + turn) % 10 else None
            rows.append((f"录音\\来电{number:02}.WAV", f"C{number:02}", 2, clock(start),
                         clock(start + len(speech) / SAMPLES_PER_SECOND), label, None))  # fmt: skip
        soundfile.write(folder / "录音" / f"来电{number:02}.wav", np.concatenate(call), SAMPLES_PER_SECOND)
    rows[40] = (*rows[40][:4], "待定", *rows[40][5:])
    rows += [(None,) * 7] * 3
    sheet = pd.DataFrame(rows, columns=["音频", "来电者", "声道", "开始", "结束", "情绪", "备注"])
    sheet.to_excel(folder / "标注.xlsx", sheet_name="标注", index=False)
    print(f"{len(CALLERS)} calls in {folder.name}/录音, {TURNS * len(CALLERS)} turns in {folder.name}/标注.xlsx")


def clock(seconds: float) -> str:
    """As annotators write it.

    >>> clock(74.25)
    '00:01:14.25'
    """
    minutes, rest = divmod(seconds, 60)
    return f"00:{int(minutes):02}:{rest:05.2f}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
