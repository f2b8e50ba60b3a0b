"""Copies of a recording that were changed a little are found across folds, and nothing else is."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from toolkit.core.i18n import of
from toolkit.features import copies
from toolkit.features.shard import ClipRecord, ShardContent
from toolkit.features.store import Store, create
from toolkit.probe import stage
from toolkit.probe.options import ProbeOptions


def features(clips: int = 60, width: int = 128) -> np.ndarray:
    """Clips of six voices, whose features share a direction."""
    generator = np.random.default_rng(0)
    voices = generator.standard_normal((6, width))
    return (voices[np.arange(clips) % 6] + generator.standard_normal((clips, width))).astype(np.float32) + 5


def test_a_copy_in_another_fold_is_listed_with_both_ids_and_its_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    values, fold = features(), np.arange(60) % 5
    noise = np.random.default_rng(1).standard_normal(values.shape[1])
    values[41], values[17] = values[3] + 0.3 * noise, values[3]  # 41 in fold 1, 17 in fold 2, 3 in fold 3
    values[8] = values[3]  # in fold 3 as well: on one side
    ids = [f"c{number}" for number in range(60)]
    scaled = (values - values.mean(axis=0)) / values.std(axis=0)
    found = copies.pairs(values, ids, fold)
    assert {(pair.one, pair.other) for pair in found} == {
        ("c3", "c17"), ("c8", "c17"), ("c3", "c41"), ("c8", "c41"), ("c17", "c41")
    }  # fmt: skip
    for pair in found:
        one, other = scaled[int(pair.one[1:])], scaled[int(pair.other[1:])]
        expected = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        assert pair.cosine == pytest.approx(expected, abs=1e-5)
    assert [pair.cosine for pair in found] == sorted((pair.cosine for pair in found), reverse=True)
    monkeypatch.setattr(copies, "BLOCK", 7)
    again = copies.pairs(values, ids, fold)
    assert {(pair.one, pair.other) for pair in again} == {(pair.one, pair.other) for pair in found}


def test_a_changed_copy_is_found_by_its_lead_over_every_other_clip() -> None:
    """Its cosine is that of a copy through 8 kHz, between LIKE and SAME."""
    values, fold = features(), np.arange(60) % 5
    generator = np.random.default_rng(2)
    values[24] = values[3] + generator.standard_normal(values.shape[1])  # folds 3 and 4: cosine near 0.8
    values[40] = values[5] + 1.5 * generator.standard_normal(values.shape[1])  # below LIKE
    for row in (31, 32):  # two in other folds that are equally near to 10: it leads neither
        values[row] = values[10] + generator.standard_normal(values.shape[1])
    found = copies.pairs(values, [str(number) for number in range(60)], fold)
    assert [(pair.one, pair.other) for pair in found] == [("3", "24")]
    assert copies.LIKE < found[0].cosine < copies.SAME
    assert copies.pairs(values, [str(number) for number in range(60)], np.zeros(60, dtype=int)) == []


def test_voices_alone_and_constant_features_make_no_pair() -> None:
    values = features()
    values[:, 5] = 3.0
    assert copies.pairs(values, [str(number) for number in range(60)], np.arange(60) % 5) == []
    assert copies.pairs(np.ones((4, 3), np.float32), list("abcd"), np.arange(4)) == []


@pytest.mark.parametrize(("width", "seen"), [(128, 1), (64, 0)])
def test_a_deep_layer_is_compared_where_it_is_wide_enough(width: int, seen: int, tmp_path: Path) -> None:
    layers = ("encoder.0", "encoder.1", "encoder.2")
    made: Store = create(tmp_path, "made-up", layers, width, {})
    mean = np.stack([features(20, width) + np.float32(layer) for layer in range(3)])
    mean[2, 13] = mean[2, 2]
    mean[1, 7] = mean[1, 3]
    clips = tuple(
        ClipRecord(f"c{number}", (0, 0, None, None, None, None, 0), f"{number:064x}", 1) for number in range(20)
    )
    with made.writing() as writer:
        writer.commit(ShardContent(clips, (), {"mean": mean, "std": np.abs(mean)}))
    made.refresh()
    ids = [f"c{number}" for number in reversed(range(20))]  # not in the store's order
    found = copies.near_copies(made, ids, np.array([number % 3 for number in reversed(range(20))]))
    assert [(pair.one, pair.other) for pair in found] == [("c13", "c2")] * seen
    if found:
        assert str(copies.note(found)) == (
            "Pairs in two folds that may be one recording, with the cosine of their features: 'c13' and 'c2' (1.000)."
        )
        assert of("zh")(copies.note(found)).startswith("分属两折而可能是同一录音")
    few = [clip for clip in ids if clip in ("c13", "c2")]
    assert copies.near_copies(made, few, np.array([0, 1])) == []


def test_a_store_counts_its_flags(tmp_path: Path) -> None:
    made = create(tmp_path, "made-up", ("encoder.0",), 4, {})
    flags: tuple[tuple[str, ...], ...] = ((), ("near-silent", "offset"), ("averaged",))
    clips = tuple(
        ClipRecord(f"c{n}", (0, 0, None, None, None, None, 0), f"{n:064x}", 1, own) for n, own in enumerate(flags)
    )
    with made.writing() as writer:
        writer.commit(ShardContent(clips, (), dict.fromkeys(("mean", "std"), np.zeros((1, 3, 4), np.float32))))
    made.refresh()
    assert made.total().flags == {"c1": ("near-silent", "offset"), "c2": ("averaged",)}


def test_a_store_s_copies_are_said_once_for_all_probes() -> None:
    class BegunError(Exception):
        pass

    def begin(*given: object) -> None:
        raise BegunError

    said: list[str] = []
    options, tasks = ProbeOptions(model="made-up", target="mood"), SimpleNamespace(questions=())
    place = SimpleNamespace(say=said.append, typed=begin)
    planned = stage.Plan(cast(Any, place), options, cast(Any, None), (), cast(Any, tasks))
    notes = ("one store's", "one store's", None, "another's", None)
    vars(planned)["series"] = [SimpleNamespace(runs=[(SimpleNamespace(alike=note), None)]) for note in notes]
    with pytest.raises(BegunError):
        planned.run()
    assert said == ["mind: one store's", "mind: another's"]
