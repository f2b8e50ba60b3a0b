"""Which precision a store is computed in: the fastest that holds the bound on drawn clips, and what is remembered."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.extract.conftest import corpus
from tests.models import tiny
from toolkit.audio.decode import Samples
from toolkit.extract import setup
from toolkit.extract.check import check_checkpoint
from toolkit.extract.deviation import PRECISION_FILE, Compared, Measured, record_of
from toolkit.extract.options import Options
from toolkit.extract.run import extract
from toolkit.extract.setup import Session
from toolkit.models.checkpoint import Checkpoint, inspect
from toolkit.models.encoder import Encoder, LayerStates
from toolkit.models.load import load
from toolkit.models.precision import (
    BFLOAT16,
    COSTLY,
    FLOAT16,
    FLOAT32,
    ON_GPU,
    PRECISIONS,
    SPLIT_BFLOAT16,
    TF32,
    Precision,
)

AUTO, LOOSE, TIGHT = Options(), Options(bound=0.5), Options(bound=1e-9)


@pytest.fixture(scope="module")
def hubert(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return inspect(tiny.hubert(tmp_path_factory.mktemp("models") / "tiny-hubert"), "tiny-hubert")


def rungs(monkeypatch: pytest.MonkeyPatch, *fast: Precision) -> None:
    """As on hardware that is fast at these."""

    def ladder(name: str, device: torch.device) -> tuple[tuple[Precision, ...], str]:
        return (*fast, FLOAT32) if name == "auto" else (PRECISIONS[name],), f"{fast[0].name}: for the test."

    monkeypatch.setattr(setup, "ladder", ladder)


@pytest.fixture
def bfloat16_first(monkeypatch: pytest.MonkeyPatch) -> None:
    rungs(monkeypatch, BFLOAT16)


@pytest.mark.usefixtures("bfloat16_first")
def test_bfloat16_that_strays_falls_back_to_float32_and_is_remembered(
    tmp_path: Path, hubert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = corpus(tmp_path, count=3)
    messages: list[str] = []
    first = extract(clips, hubert, tmp_path / "features", TIGHT, messages.append)
    assert first.store.settings["dtype"] == "float32"
    assert any("float32: bfloat16 differs from float32 by 0.0" in sentence for sentence in messages)
    monkeypatch.setattr(setup, "load", lambda *_, **__: pytest.fail("what was measured is remembered"))
    assert extract(clips, hubert, tmp_path / "features", TIGHT).store.folder == first.store.folder
    assert len(list((tmp_path / "features").iterdir())) == 1


@pytest.mark.usefixtures("bfloat16_first")
def test_bfloat16_that_was_asked_for_is_measured_too_and_does_not_decide_for_auto(
    tmp_path: Path, hubert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = corpus(tmp_path, count=3)
    messages: list[str] = []
    close = extract(clips, hubert, tmp_path / "close", Options(dtype="bfloat16", bound=0.5), messages.append)
    assert close.store.settings["dtype"] == "bfloat16" and (close.store.folder / PRECISION_FILE).exists()
    assert any("bfloat16: for the test; it differs from float32 by" in sentence for sentence in messages)
    strays = extract(clips, hubert, tmp_path / "strays", Options(dtype="bfloat16", bound=1e-9), messages.append)
    assert strays.store.settings["dtype"] == "bfloat16"
    assert any("as asked for, but it differs from float32 by" in sentence for sentence in messages)
    monkeypatch.setattr(setup.Session, "_measure", lambda _: pytest.fail("what was measured is remembered"))
    assert Session(hubert, tmp_path / "strays", TIGHT, None, messages.append).found() is None
    assert extract(clips, hubert, tmp_path / "strays", TIGHT).store.settings["dtype"] == "float32"
    found = Session(hubert, tmp_path / "strays", TIGHT, None, messages.append).found()
    assert found is not None and found.settings["dtype"] == "float32"


@pytest.mark.usefixtures("bfloat16_first")
def test_bfloat16_of_a_pilot_does_not_hold_for_all_of_the_corpus(
    tmp_path: Path, hubert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup.Session, "_deviations", lambda self, clips: {"bfloat16": 1e-3 * len(clips)})
    options = Options(bound=5e-3)
    pilot = extract(corpus(tmp_path, count=3), hubert, tmp_path / "features", options).store
    assert pilot.settings["dtype"] == "bfloat16" and record_of(pilot.folder) == Measured(
        {"bfloat16": 3e-3}, 3, 3, "cpu"
    )
    whole = extract(corpus(tmp_path, count=7), hubert, tmp_path / "features", options).store
    assert whole.settings["dtype"] == "float32" and record_of(whole.folder) == Measured({"bfloat16": 7e-3}, 7, 7, "cpu")
    found = Session(hubert, tmp_path / "features", options, None, lambda sentence: None).found()
    assert found is not None and found.folder == whole.folder


@pytest.mark.usefixtures("bfloat16_first")
def test_bfloat16_is_measured_anew_where_its_record_is_damaged(tmp_path: Path, hubert: Checkpoint) -> None:
    clips = corpus(tmp_path, count=3)
    record = extract(clips, hubert, tmp_path / "features", AUTO).store.folder / PRECISION_FILE
    whole = record.read_text()
    edits = [('"clips"', '"clip"'), ('"clips": 3', '"clips": Infinity'), ('"clips": 3', '"clips": -3')]
    edits += [('"bfloat16": ', '"bfloat16": -'), ('"bfloat16": ', '"bfloat16": NaN, "was": ')]
    damages = [whole.replace(*edit) for edit in edits]
    assert whole not in damages
    for damage in (
        "",
        "[]",
        '{"deviations": [null], "clips": 3, "asked": 3, "device": "cpu"}',
        "[" * 100_000,
        *damages,
    ):
        record.write_text(damage)
        extract(clips, hubert, tmp_path / "features", AUTO)
        assert record.read_text() == whole


@pytest.mark.usefixtures("bfloat16_first")
def test_what_another_kind_of_device_rounds_to_says_nothing_of_this_one(tmp_path: Path, hubert: Checkpoint) -> None:
    clips = corpus(tmp_path, count=3)
    record = extract(clips, hubert, tmp_path / "features", LOOSE).store.folder / PRECISION_FILE
    whole = record.read_text()
    record.write_text(whole.replace('"cpu"', '"cuda:0"').replace('"bfloat16": ', '"bfloat16": 1e3, "was": '))
    assert extract(clips, hubert, tmp_path / "features", LOOSE).store.settings["dtype"] == "bfloat16"
    assert record.read_text() == whole


@pytest.mark.parametrize(
    ("deviations", "bound", "dtype"),
    [
        ({BFLOAT16: 2e-3}, 1e-2, "bfloat16"),
        ({BFLOAT16: 2e-2, FLOAT16: 6e-4}, 1e-2, "float16"),
        ({BFLOAT16: 2e-2, FLOAT16: math.inf, TF32: 5e-4}, 1e-2, "tf32"),
        ({BFLOAT16: 2e-2, FLOAT16: 6e-4, TF32: 5e-4}, 1e-4, "float32"),
    ],
)
def test_the_fastest_that_holds_the_bound_is_taken_and_no_more_are_measured(
    tmp_path: Path,
    hubert: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    deviations: dict[Precision, float],
    bound: float,
    dtype: str,
) -> None:
    rungs(monkeypatch, *ON_GPU[:-1])
    loaded = bent(monkeypatch, deviations)
    clips = Compared(2, lambda: [tiny.speech_like(0.3), tiny.speech_like(0.5, seed=1)])

    def session(bound: float) -> Session:
        return Session(hubert, tmp_path, Options(bound=bound), clips, lambda sentence: None)

    store = session(bound).store()
    assert store.settings["dtype"] == dtype
    assert list(record_of(store.folder).deviations) == [one.name for one in deviations]  # type: ignore[union-attr]
    assert loaded == [FLOAT32, *deviations]
    found = session(bound).found()
    assert found is not None and found.folder == store.folder
    assert session(0.5).store().settings["dtype"] == "bfloat16"  # another bound, by the same record
    assert loaded == [FLOAT32, *deviations]


def bent(monkeypatch: pytest.MonkeyPatch, by: dict[Precision, float]) -> list[Precision]:
    """Encoders are float32's whose states are larger by so much; returns what is loaded, as it grows."""
    return encoders(monkeypatch, lambda precision, values: values * (1 + by.get(precision, 0.0)))


def encoders(
    monkeypatch: pytest.MonkeyPatch, bend: Callable[[Precision, torch.Tensor], torch.Tensor]
) -> list[Precision]:
    """Encoders are float32's whose states are bent, the same on every machine."""
    requests: list[Precision] = []

    class Bent:
        def __init__(self, encoder: Encoder, precision: Precision) -> None:
            self.encoder, self.precision = encoder, precision

        def __getattr__(self, name: str) -> object:
            return getattr(self.encoder, name)

        def states(self, clips: Sequence[Samples]) -> Iterator[LayerStates]:
            for layer in self.encoder.states(clips):
                yield replace(layer, values=bend(self.precision, layer.values))

    def loaded(checkpoint: Checkpoint, device: torch.device, precision: Precision, **options: object) -> object:
        requests.append(precision)
        encoder = load(checkpoint, device, FLOAT32)
        return encoder if precision == FLOAT32 else Bent(encoder, precision)

    monkeypatch.setattr(setup, "load", loaded)
    return requests


@pytest.mark.parametrize(("faster", "dtype"), [(True, "split-bfloat16"), (False, "float32")])
def test_split_products_are_taken_where_they_are_faster_and_that_is_remembered(
    tmp_path: Path, hubert: Checkpoint, monkeypatch: pytest.MonkeyPatch, faster: bool, dtype: str
) -> None:
    rungs(monkeypatch, BFLOAT16, SPLIT_BFLOAT16)
    monkeypatch.setattr(setup, "split_is_faster", lambda: faster)
    clips, options = corpus(tmp_path, count=2), Options(bound=1e-4)
    store = extract(clips, hubert, tmp_path / "features", options).store
    assert store.settings["dtype"] == dtype and (store.settings.get("rounded") == SPLIT_BFLOAT16.rounded) is faster
    assert (record_of(store.folder).deviations["split-bfloat16"] is not None) is faster  # type: ignore[union-attr]
    monkeypatch.setattr(setup, "split_is_faster", lambda: not faster)  # the machine is busy today
    assert extract(clips, hubert, tmp_path / "features", options).store.folder == store.folder


def test_a_store_of_a_version_that_knew_two_precisions_stays_as_it_was(
    tmp_path: Path, hubert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = corpus(tmp_path, count=2)
    store = extract(clips, hubert, tmp_path / "features", Options(dtype="float32")).store
    before = {"deviation": 0.02, "bound": 0.01, "clips": 2, "asked": 2, "device": "cpu"}
    (store.folder / PRECISION_FILE).write_text(json.dumps(before))
    rungs(monkeypatch, BFLOAT16, SPLIT_BFLOAT16)
    monkeypatch.setattr(setup, "load", lambda *_, **__: pytest.fail("what was measured is remembered"))
    assert extract(clips, hubert, tmp_path / "features", AUTO).store.folder == store.folder


@pytest.mark.usefixtures("bfloat16_first")
def test_the_self_test_does_not_settle_the_dtype_of_a_store(tmp_path: Path, hubert: Checkpoint) -> None:
    check_checkpoint(hubert, tmp_path / "features", AUTO, lambda sentence: None)
    assert not list((tmp_path / "features").glob("*/precision.json"))
    extract(corpus(tmp_path, count=1), hubert, tmp_path / "features", AUTO)
    assert list((tmp_path / "features").glob("*/precision.json"))


def reversed_in_time(precision: Precision, values: torch.Tensor) -> torch.Tensor:
    return values.flip(1)


def spread_wider(precision: Precision, values: torch.Tensor) -> torch.Tensor:
    mean = values.mean(dim=1, keepdim=True)
    return mean + 1.05 * (values - mean)


@pytest.mark.parametrize(
    ("bend", "frames", "dtype"),
    [
        (reversed_in_time, (), "bfloat16"),
        (reversed_in_time, ("encoder.1",), "float32"),
        (spread_wider, (), "float32"),
    ],
)
@pytest.mark.usefixtures("bfloat16_first")
def test_all_that_is_kept_counts_when_the_dtype_is_chosen(
    tmp_path: Path,
    hubert: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    bend: Callable[[Precision, torch.Tensor], torch.Tensor],
    frames: tuple[str, ...],
    dtype: str,
) -> None:
    """Frames in another order have the same mean and deviation; frames further from their mean have the same mean."""
    encoders(monkeypatch, bend)
    store = extract(corpus(tmp_path, count=2), hubert, tmp_path / "features", Options(frames=frames)).store
    assert store.settings["dtype"] == dtype


def rounded(precision: Precision, values: torch.Tensor) -> torch.Tensor:
    return values.bfloat16().float()


@pytest.mark.usefixtures("bfloat16_first")
def test_silence_which_hardly_deviates_does_not_decide_the_dtype(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounded to bfloat16, a clip of sound strays by less than 1e-2, and the deviation of a silent one by more."""
    hubert = inspect(tiny.calm(tiny.hubert(tmp_path / "calm")), "calm")
    manifest = corpus(tmp_path, count=2)
    soundfile.write(manifest.audio_path(manifest.clips[0]), np.zeros(16_000), 16_000)
    encoders(monkeypatch, rounded)
    done = extract(manifest, hubert, tmp_path / "features", AUTO)
    assert done.store.settings["dtype"] == "bfloat16" and done.store.settings["rounded"] == COSTLY


def test_a_clip_that_overflows_in_float16_fails_by_name(
    tmp_path: Path, hubert: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = corpus(tmp_path, count=3)

    def overflows(precision: Precision, values: torch.Tensor) -> torch.Tensor:
        return values * (torch.inf if values.shape[1] > 50 else 1)

    rungs(monkeypatch, FLOAT16)
    encoders(monkeypatch, overflows)
    done = extract(clips, hubert, tmp_path / "features", Options(dtype="float16"))
    reason = "is not finite in float16, which ends at 65,504; --dtype tf32 and float32 end later"
    assert done.failed and all(reason in found for found in done.failed.values())
