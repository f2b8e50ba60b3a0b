"""The set `acoustic`: columns with known values, the store they come to, and what is named in place of a number."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from tests.conftest import Run
from toolkit.audio.decode import SAMPLE_RATE, Samples
from toolkit.core.errors import AudioError, InputError, MachineError
from toolkit.corpus import manifest
from toolkit.extract.acoustic import own
from toolkit.extract.acoustic.others import PRAAT_COLUMNS
from toolkit.extract.acoustic.registry import SETS, measure_of
from toolkit.features.finding import find
from toolkit.features.store import Store


def voice(f0: float, seconds: float = 1.0, level: float = 0.1, tilt: float = 1.0) -> Samples:
    """A harmonic tone whose k-th harmonic is k ** -tilt of the first."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    harmonics = range(1, int(6_000 / f0))
    tone = sum(np.sin(2 * np.pi * f0 * number * time) / number**tilt for number in harmonics)
    return (level * tone + 1e-4 * np.random.default_rng(0).standard_normal(len(time))).astype(np.float32)


def columns(samples: Samples) -> dict[str, float]:
    return dict(zip(own.COLUMNS, own.measure(samples).values.tolist(), strict=True))


@pytest.mark.parametrize("f0", [100.0, 220.0, 400.0])
def test_the_pitch_of_a_tone_is_its_own(f0: float) -> None:
    found = columns(voice(f0))
    assert found["f0_semitone.p50"] == pytest.approx(12 * np.log2(f0 / 27.5), abs=0.05)
    assert found["voicing.fraction"] > 0.9
    assert found["jitter_like.mean"] < 0.002


def test_pitch_that_rises_has_its_slope_in_semitones_a_second() -> None:
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(120 * 2 ** (time / 2)) / SAMPLE_RATE  # half an octave a second
    tone = sum(np.sin(number * phase) / number for number in range(1, 20))
    assert columns((0.1 * tone).astype(np.float32))["f0_semitone.slope"] == pytest.approx(6.0, abs=0.2)


def test_level_moves_energy_by_its_decibels_and_neither_pitch_nor_timbre() -> None:
    quiet, loud = (columns(voice(200.0, level=level)) for level in (0.02, 0.2))
    assert loud["energy_db.mean"] - quiet["energy_db.mean"] == pytest.approx(20.0, abs=0.1)
    assert loud["f0_semitone.mean"] == pytest.approx(quiet["f0_semitone.mean"], abs=0.02)
    assert loud["spectral_centroid.mean"] == pytest.approx(quiet["spectral_centroid.mean"], rel=0.05)


def test_a_steeper_spectrum_has_a_lower_slope_and_centroid() -> None:
    bright, dark = columns(voice(150.0, tilt=0.5)), columns(voice(150.0, tilt=2.0))
    assert dark["spectral_slope.mean"] < bright["spectral_slope.mean"] < 0
    assert dark["spectral_centroid.mean"] < bright["spectral_centroid.mean"]


def test_voiced_runs_and_pauses_are_counted() -> None:
    pause = np.zeros(SAMPLE_RATE // 2, np.float32)
    found = columns(np.concatenate([pause, voice(150.0, 0.6), pause, voice(150.0, 0.6), pause]))
    assert found["voicing.segments_per_second"] == pytest.approx(2 / 2.7, rel=0.05)
    assert found["voicing.segment_seconds_mean"] == pytest.approx(0.6, abs=0.08)
    assert found["voicing.pause_seconds_mean"] == pytest.approx(0.5, abs=0.08)


def test_deltas_are_the_slope_of_their_contour() -> None:
    contour = np.linspace(0, 9, 10)[:, None]
    assert own.deltas(contour)[2:-2] == pytest.approx(1.0)
    assert own.functionals(contour, np.arange(10.0))[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("samples", [np.zeros(SAMPLE_RATE, np.float32), voice(200.0, 0.1), voice(60.0, 0.15)])
def test_no_column_is_ever_anything_but_a_number_and_repeats_are_equal_to_the_bit(samples: Samples) -> None:
    first, again = own.measure(samples), own.measure(samples.copy())
    assert first.values.shape == (len(own.COLUMNS),) and np.isfinite(first.values).all()
    assert first.values.tobytes() == again.values.tobytes()


def test_noise_has_no_voice_and_says_so() -> None:
    noise = (0.01 * np.random.default_rng(0).standard_normal(SAMPLE_RATE)).astype(np.float32)
    found = own.measure(noise)
    assert found.flags == ("unvoiced",)
    assert dict(zip(own.COLUMNS, found.values, strict=True))["f0_semitone.mean"] == 0


def test_what_is_too_short_is_refused_by_its_length() -> None:
    with pytest.raises(AudioError, match=r"lasts 0\.05 s, expected at least 0\.1 s"):
        own.measure(voice(200.0, 0.05))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two speakers a fold, "high" or "low" by pitch alone; a clip that is too short and a silent one."""
    rows = []
    for number in range(30):
        high = number % 2
        sound = voice((110, 210)[high] * (1 + 0.01 * (number // 5)), 0.5, 0.02 * (1 + number % 3))
        soundfile.write(tmp_path / f"{number}.wav", sound, SAMPLE_RATE, subtype="FLOAT")
        rows.append((f"c{number}", f"{number}.wav", f"s{number // 5}", ["low", "high"][high]))
    for name, sound in (("short", voice(200.0, 0.05)), ("silent", np.zeros(SAMPLE_RATE, np.float32))):
        soundfile.write(tmp_path / f"{name}.wav", sound, SAMPLE_RATE, subtype="FLOAT")
        rows.append((name, f"{name}.wav", "s0", "low"))
    manifest.write(tmp_path / "manifest.csv", ("id", "path", "speaker", "register"), rows)
    return tmp_path


def values(store: Store) -> bytes:
    return store.layer("features.0").mean.tobytes()


def test_it_is_extracted_probed_and_predicted_by_the_names_of_its_columns(run: Run, study: Path) -> None:
    code, out, err = run("extract", "--model", "acoustic", "-w", study, "--workers", "1")
    assert code == 3 and "32 clips tried, 0 there before, 2 failed" in out, err
    assert "'short' lasts 0.05 s" in err and "'silent' is near-silent" in err
    store = find(study / "features", "acoustic")
    assert store.layers == ("features.0",) and store.settings["columns"] == list(own.COLUMNS)
    assert store.statistics == ("mean",) and len(store.ids) == 30
    before = values(store)
    assert run("extract", "--model", "acoustic", "-w", study)[0] == 3  # nothing is missing, two cannot be had
    assert values(find(study / "features", "acoustic")) == before

    words = ("--target", "register", "--folds", 3, "--trials", 3, "-w", study)
    code, out, err = run("probe", "--model", "acoustic", "--probe", "linear", "--probe", "lightgbm", *words)
    assert code == 0, err
    for probe in ("linear", "lightgbm"):
        (folder,) = study.glob(f"result/register-acoustic-{probe}-*")
        table = (folder / "columns.csv").read_text().splitlines()
        assert table[0].startswith("column,share") and len(table) == 1 + len(own.COLUMNS)
        page = (folder / "report.html").read_text()
        assert table[1].partition(",")[0] in page and "Which columns count" in page
    assert table[1].startswith(("f0_semitone.", "mfcc"))

    (folder,) = study.glob("result/register-acoustic-linear-*")
    soundfile.write(study / "new.wav", voice(215.0, 0.5), SAMPLE_RATE, subtype="FLOAT")
    code, out, err = run("predict", "--from", folder, study / "new.wav", "-w", study, "--output", study / "said")
    assert code == 0, err
    assert ",high," in (study / "said" / "predictions.csv").read_text()
    code, _, err = run("probe", "--model", "acoustic", "--control", "random", *words)
    assert code == 4 and "acoustic is an acoustic set, which has no weights" in err
    code, _, err = run("finetune", "--from", folder, "-w", study)
    assert code == 2 and "acoustic set, which has no weights" in err


@pytest.mark.parametrize(
    "option", [("--layers", "0-1"), ("--decoder",), ("--frames", "encoder.0"), ("--context", "clip")]
)
def test_an_option_of_backbones_means_nothing_to_it(run: Run, study: Path, option: tuple[str, ...]) -> None:
    code, _, err = run("extract", "--model", "acoustic", "-w", study, *option)
    assert code == 2 and f"{option[0]}: acoustic is an acoustic set of one layer" in err


def test_processes_give_what_this_one_gives(study: Path) -> None:
    from toolkit.extract.acoustic.run import _measuring, measured

    with _measuring(2) as submit:
        other = submit("acoustic", voice(180.0)).result()
    here = measured("acoustic", voice(180.0))
    assert not isinstance(other, str) and not isinstance(here, str)
    assert other.values.tobytes() == here.values.tobytes()


@pytest.mark.parametrize("name", ["egemaps", "compare", "praat"])
def test_a_library_that_is_not_installed_is_named_with_its_licence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("opensmile", "parselmouth"):
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MachineError, match="which is not installed and whose licence"):
        SETS[name].begin()
    assert SETS[name].licence


def test_the_columns_of_opensmile_are_kept_by_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    class Smile:
        feature_names = ("F0", "loudness")

        def __init__(self, feature_set: str, feature_level: str) -> None:
            assert (feature_set, feature_level) == ("v02", "functionals")

        def process_signal(self, samples: Samples, rate: int) -> "Smile":
            self.rate, self.level = rate, float(np.abs(samples).max())
            return self

        def to_numpy(self) -> np.ndarray:
            return np.array([[self.rate, self.level if self.level else np.nan]])

    stand_in = ModuleType("opensmile")
    levels = {"Smile": Smile, "__version__": "2.9", "FeatureSet": type("S", (), {"eGeMAPSv02": "v02"}),
              "FeatureLevel": type("L", (), {"Functionals": "functionals"})}  # fmt: skip
    for name, value in levels.items():
        setattr(stand_in, name, value)
    monkeypatch.setitem(sys.modules, "opensmile", stand_in)
    measure = SETS["egemaps"].begin()
    assert measure.columns == ("F0", "loudness")
    assert measure.of(np.full(1_600, 0.5, np.float32)).values.tolist() == [SAMPLE_RATE, 0.5]
    with pytest.raises(AudioError, match="no finite loudness"):
        measure.of(np.zeros(1_600, np.float32))


def test_names_are_unique_and_an_unknown_set_is_refused() -> None:
    assert len(set(own.COLUMNS)) == len(own.COLUMNS) and len(PRAAT_COLUMNS) == 15
    with pytest.raises(InputError, match="did you mean 'acoustic'"):
        measure_of("acustic")
