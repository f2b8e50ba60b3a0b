"""A synthetic stand-in: Mandarin syllables in four tones, spoken by espeak-ng (the PyPI wheel espeakng-loader)."""

import ctypes
import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from demo.syllables import TONES
from toolkit.core.errors import MachineError

# In pinyin: open and closed rimes, voiced, unvoiced and aspirated initials.
# fmt: off
SYLLABLES = (
    "ma", "ba", "da", "la", "ta", "na", "fa", "ni", "li", "mi", "ti", "bi", "nu",
    "lu", "mu", "fu", "lai", "mei", "hao", "man", "ren", "ting", "wang", "zhong", "xue",
)
# fmt: on
VARIANTS = ("m1", "m4", "f1", "f3")  # of espeak-ng's voices: two deep, two high, slow and quick
VOICE = "cmn-latn-pinyin"

# espeak-ng's speak_lib.h and espeak_ng.h
AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_DONT_EXIT = 0x8000
POSITION_CHARACTER = 1
CHARACTERS_UTF8 = 1
Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

Pcm = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Utterance:
    """One spoken syllable. samples: (n_samples,) int16 mono at `rate` samples per second."""

    syllable: str
    tone: str
    variant: str
    samples: Pcm
    rate: int


@functools.cache
def _started() -> tuple[ctypes.CDLL, int]:
    """espeak-ng's library and its sample rate, started once a process: a second start reads memory that it freed."""
    try:
        import espeakng_loader

        library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path()
    except (ImportError, OSError, RuntimeError) as error:
        raise MachineError(
            "espeak-ng cannot be loaded: expected the package espeakng-loader, which the extra `demo` installs"
        ) from error
    rate = int(library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, data.encode(), INITIALIZE_DONT_EXIT))
    if rate <= 0:
        raise MachineError(f"espeak-ng does not start (code {rate}), expected a sample rate")
    return library, rate


class Synthesiser:
    """espeak-ng, called in this process, one at a time; the same text gives the same samples.

    Raises MachineError when the wheel is missing or its library does not start.
    """

    def __init__(self) -> None:
        self.library, self.rate = _started()
        self._pieces: list[Pcm] = []
        self._callback = Callback(self._receive)  # kept, or ctypes frees it under espeak-ng's feet
        self.library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, events: int | None) -> int:
        if samples and count:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).astype(np.int16))
        return 0

    def speak(self, text: str, voice: str) -> Pcm:
        """(n_samples,) int16 mono. Raises MachineError when espeak-ng knows no such voice or says nothing."""
        self._pieces.clear()
        encoded = text.encode()
        self.library.espeak_ng_SetRandSeed(ctypes.c_long(0))  # its breath noise is otherwise seeded by the clock
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise MachineError(f"espeak-ng has no voice {voice!r}")
        length = ctypes.c_size_t(len(encoded) + 1)
        failed = self.library.espeak_Synth(encoded, length, 0, POSITION_CHARACTER, 0, CHARACTERS_UTF8, None, None)
        if failed or not self._pieces:
            raise MachineError(f"espeak-ng said nothing for {text!r} with voice {voice!r}")
        return np.concatenate(self._pieces)


def utterances() -> Iterator[Utterance]:
    """Every syllable in every tone by every variant: 400 clips, always in the same order."""
    synthesiser = Synthesiser()
    for syllable in SYLLABLES:
        for number, tone in enumerate(TONES, start=1):
            for variant in VARIANTS:
                samples = synthesiser.speak(f"{syllable}{number}", f"{VOICE}+{variant}")
                yield Utterance(syllable, tone, variant, samples, synthesiser.rate)
