"""Turns of whole calls, against calls whose turns are known: clips of two speakers, one behind the other.

    python bench/segment.py CORPUS                                        speech found, in mono and in stereo calls
    python bench/segment.py CORPUS --workspace W --model whisper-tiny.en  and two voices told apart in one channel

CORPUS holds manifest.csv with path and speaker; without it espeak-ng speaks. A clip's zeros at its ends are taken off;
the rest of it is a turn, so pauses inside a clip count as speech that was missed. --model: what `toolkit extract`
takes, a checkpoint in W/models; may be repeated. Errors are in percent of the time in which someone speaks, once over
all of it, once without 0.25 s around each boundary of a turn. What is printed is measured, never asserted.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import soxr

sys.path.insert(0, str(Path(__file__).parent.parent))

import toolkit
from demo.spoken import VARIANTS, VOICE, Synthesiser
from demo.telephone import SAID

RATE, CALLS, TURNS, STEP, COLLAR = 16_000, 12, 24, 0.01, 0.25  # samples per second; a call's turns; seconds
WINDOW, HOP = 1.6, 0.4
LEAK_DECIBELS, LEAK_SECONDS = -20.0, 0.06  # of each voice in the other one's channel
Turn = tuple[float, float, int]  # start, end, which of the two


@dataclass(frozen=True)
class Kind:
    """snr: decibels of speech over white noise. gaps: seconds between turns, below 0 for an interruption."""

    name: str
    snr: float
    rate: int = RATE
    stereo: bool = False
    leak: bool = False
    gaps: tuple[float, float] = (0.3, 1.5)


KINDS = (
    Kind("one channel, 30 dB", 30),
    Kind("one channel, 30 dB, 8 kHz", 30, 8_000),
    Kind("one channel, 10 dB", 10),
    Kind("one channel, 5 dB, 8 kHz", 5, 8_000),
    Kind("two channels, 30 dB, 8 kHz", 30, 8_000, stereo=True, gaps=(-0.5, 1.5)),
    Kind("two channels that leak, 30 dB, 8 kHz", 30, 8_000, stereo=True, leak=True, gaps=(-0.5, 1.5)),
)


def spoken(folder: Path) -> Path:
    """A corpus of four voices, in place of one of people."""
    synthesiser, rows = Synthesiser(), []
    for voice in VARIANTS:
        for number, text in enumerate(SAID):
            rows.append((f"{voice}-{number}.wav", voice))
            soundfile.write(folder / rows[-1][0], synthesiser.speak(text, f"{VOICE}+{voice}"), synthesiser.rate)
    pd.DataFrame(rows, columns=["path", "speaker"]).to_csv(folder / "manifest.csv", index=False)
    return folder


def clip_of(file: Path) -> Any:
    samples, rate = soundfile.read(file, dtype="float32")
    sounding = np.flatnonzero(samples)
    return soxr.resample(samples[sounding[0] : sounding[-1] + 1], rate, RATE)


def calls_of(corpus: Path, kind: Kind, folder: Path) -> dict[str, list[Turn]]:
    """Write folder/NUMBER.wav and folder/calls.csv; the turns of each call."""
    clips = pd.read_csv(corpus / "manifest.csv", dtype=str).groupby("speaker")["path"].apply(list).to_dict()
    folder.mkdir(parents=True)
    truth: dict[str, list[Turn]] = {}
    for number in range(CALLS):
        generator = np.random.default_rng(number)
        pair = generator.choice(sorted(clips), 2, replace=False)
        end, spoken, turns = 0.0, [], []
        for turn in range(TURNS):
            clip = clip_of(corpus / generator.choice(clips[pair[turn % 2]]))
            start = max(0.0, end + generator.uniform(*kind.gaps))
            end = start + len(clip) / RATE
            spoken.append((round(start * RATE), clip))
            turns.append((start, end, turn % 2))
        call = np.zeros((2, round((end + 1) * RATE)))
        for (first, clip), (_, _, who) in zip(spoken, turns):
            call[who, first : first + len(clip)] += clip
        power = np.square(call).sum() / (RATE * sum(end - start for start, end, _ in turns))
        if kind.leak:
            call += 10 ** (LEAK_DECIBELS / 20) * np.roll(call[::-1], round(LEAK_SECONDS * RATE), axis=1)
        call = call if kind.stereo else call.sum(axis=0, keepdims=True)
        call += generator.standard_normal(call.shape) * np.sqrt(power * 10 ** (-kind.snr / 10))
        sound = soxr.resample(call.T, RATE, kind.rate)
        soundfile.write(folder / f"{number}.wav", np.clip(sound, -1, 1), kind.rate)
        truth[str(number)] = turns
    pd.DataFrame({"id": list(truth), "path": [f"{one}.wav" for one in truth]}).to_csv(folder / "calls.csv", index=False)
    return truth


def drawn(turns: list[Turn], steps: int) -> Any:
    """(2, steps) of bool: who speaks when."""
    found = np.zeros((2, steps), bool)
    for start, end, who in turns:
        found[who, round(start / STEP) : round(end / STEP)] = True
    return found


def errors(truth: dict[str, list[Turn]], found: pd.DataFrame, who: str | None, collar: float, match: bool) -> Any:
    """Missed, false, of the wrong one: seconds in the seconds of speech. who: column that tells one from the other;
    match: under the better of the two ways to name them.
    """
    total = np.zeros(4)
    for call, turns in truth.items():
        of_call = found[found.recording == call]
        which = np.zeros(len(of_call), int) if who is None else of_call[who].astype("category").cat.codes.to_numpy()
        steps = round(max(turns[-1][1], of_call.end.max()) / STEP) + 1
        true, detected = drawn(turns, steps), drawn(list(zip(of_call.start, of_call.end, which)), steps)
        if who is None:
            true = np.stack([true.any(axis=0), np.zeros(steps, bool)])
        near = np.zeros(steps, bool)
        for edge in (edge for start, end, _ in turns for edge in (start, end)):
            near[max(0, round((edge - collar) / STEP)) : round((edge + collar) / STEP)] = collar > 0
        true, detected = true[:, ~near], detected[:, ~near]
        orders = permutations((0, 1)) if match else [(0, 1)]
        both = np.minimum(true.sum(axis=0), detected.sum(axis=0))
        wrong = min((both - (true & detected[list(order)]).sum(axis=0)).sum() for order in orders)
        missed = np.maximum(true.sum(axis=0) - detected.sum(axis=0), 0).sum()
        false = np.maximum(detected.sum(axis=0) - true.sum(axis=0), 0).sum()
        total += (missed, false, wrong, true.sum())
    return 100 * total[:3] / total[3]


def report(
    name: str, truth: dict[str, list[Turn]], found: pd.DataFrame, who: str | None = None, match: bool = False
) -> None:
    cells = []
    for collar in (0.0, COLLAR):
        missed, false, wrong = errors(truth, found, who, collar, match)
        cells.append(f"{missed:.1f} | {false:.1f} | {wrong:.1f} | {missed + false + wrong:.1f}")
    print(f"| {name} | {' | '.join(cells)} | {len(found)} of {CALLS * TURNS} |", flush=True)


def main(corpus: Path | None, workspace: Path | None, models: list[str]) -> None:
    print("| calls | missed | false | wrong one | all | missed, collar | false | wrong one | all | turns |")
    print("|---|" + "---|" * 9)
    with tempfile.TemporaryDirectory() as place:
        corpus = corpus or spoken(Path(place))
        for number, kind in enumerate(KINDS):
            folder = Path(place) / str(number)
            truth = calls_of(corpus, kind, folder)
            study = toolkit.open(folder)
            for decibels in (12.0, 200.0) if kind.leak else (12.0,):
                study.segment_calls(folder / "calls.csv", speakers=1, crosstalk=decibels, overwrite=True)
                found = pd.read_csv(folder / "manifest.csv", dtype={"recording": str})
                without = ", the rule off" if decibels > 100 else ""
                report(kind.name + without, truth, found, "channel" if kind.stereo else None)
        for kind in KINDS[:2] if models else ():
            folder = Path(place) / kind.name
            truth = calls_of(corpus, kind, folder)
            if workspace is not None:
                (folder / "models").symlink_to((workspace / "models").resolve())
            for model in models:
                study = toolkit.open(folder, manifest=folder / "calls.csv")
                context = {} if ".py:" in model else {"context": "clip"}
                study.extract(model, window=WINDOW, hop=HOP, **context)
                (store,) = [one for one in study.stores() if one.backbone in model.replace(".py:", "-")]
                for layer in store.layers:
                    out = folder / "turns.csv"
                    study.segment_calls(
                        folder / "calls.csv", model=store.folder.name, layer=layer, out=out, overwrite=True
                    )
                    found = pd.read_csv(out, dtype={"recording": str})
                    report(f"{kind.name}; {store.backbone} {layer}", truth, found, "voice", match=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, nargs="?")
    parser.add_argument("--workspace", type=Path, help="whose models/ has the checkpoints")
    parser.add_argument("--model", action="append", default=[], dest="models")
    arguments = parser.parse_args()
    main(arguments.corpus, arguments.workspace, arguments.models)
