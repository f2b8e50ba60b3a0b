"""`toolkit features purge`: a caller is nowhere afterwards, everyone else is as before, whatever cuts it off."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile

from tests.conftest import Run
from tests.result.conftest import make_run
from toolkit.core.i18n import of
from toolkit.corpus import manifest
from toolkit.corpus.labels import Task
from toolkit.features import finding, shard, store
from toolkit.features.shard import ClipRecord, FailedRecord, ShardContent
from toolkit.privacy import purge_results as purging
from toolkit.privacy import residue_search
from toolkit.result import controls, online, run_files
from toolkit.result.clips import write_clips
from toolkit.result.report import charts

CLIPS, WIDTH = 60, 4
GONE = "speaker03"
RUN = "negative-whisper-tiny.en-linear-000000000000"


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Drawing takes seconds a run; the tests of the results' room do it."""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(charts, "configured", lambda chart, palette: {})
        yield


def fill(folder: Path, ids: Sequence[str]) -> store.Store:
    """Two shards with frames; of the caller, one clip is in neither and failed, as a window."""
    generator = np.random.default_rng(0)
    settings = {"dtype": "float32", "context": "clip", "frames": ["encoder.1"], "weights_sha256": "0" * 64}
    made = store.create(folder / "features", "tiny", ("encoder.0", "encoder.1"), WIDTH, settings)
    with made.writing() as writer:
        for half in (ids[: len(ids) // 2], ids[len(ids) // 2 :]):
            n = len(half)
            counts = np.arange(1, n + 1)
            frames = generator.standard_normal((int(counts.sum()), WIDTH)).astype(np.float32)
            mean = generator.standard_normal((2, n, WIDTH)).astype(np.float32)
            clips = tuple(
                ClipRecord(clip, (1, 2, None, None, None), hashlib.sha256(clip.encode()).hexdigest(), 800)
                for clip in half
            )
            failed = (FailedRecord(f"{GONE}/broken@1.5-2.5", None, "is broken"),) if half[0] == ids[0] else ()
            writer.commit(ShardContent(clips, failed, {"mean": mean, "std": mean}, {"encoder.1": frames}, counts))
    made.refresh()
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace: a store, a run with a control and the question who speaks, pages, folds, an unfinished run."""
    folder = tmp_path_factory.mktemp("purge")
    run = make_run("binary", layers=2, clips=CLIPS)
    ids, speakers = run.predictions.ids, run.predictions.groups
    names = [f"{number}.wav" for number in range(len(ids) + 1)]
    for name in names:
        soundfile.write(folder / name, np.zeros(800), 16_000)
    rows = [(clip, name, speaker, "x") for clip, name, speaker in zip(ids, names, speakers)]
    rows.append((f"{GONE}/broken", names[-1], GONE, "x"))
    manifest.write(folder / "manifest.csv", ("id", "path", "speaker", "mood"), rows)
    fill(folder, ids)
    result = folder / "result"
    names = tuple(sorted(set(speakers)))
    who = make_run("multiclass", layers=2, clips=CLIPS, task=Task("speaker", "multiclass", names, ("speaker",)))
    control = make_run("binary", layers=2, clips=CLIPS)
    for name, one in ((RUN, run), ("control", control), ("who", who)):
        run_files.write(result / name, one)
        (result / name / "winners").mkdir()
    write_clips(result / RUN, {clip: hashlib.sha256(clip.encode()).hexdigest() for clip in ids})
    shown = [
        controls.compare("random", "random weights", result / "control", run, control),
        controls.compare("nuisance", "speaker", result / "who", run, who),
    ]
    controls.add(result / RUN, shown)
    (result / "unfinished" / "rounds").mkdir(parents=True)
    (result / "negative-compare-0").mkdir()
    (result / "negative-compare-0" / "compare.csv").write_text(f"{RUN},0.5")
    (result / "folds").mkdir()
    run.folds.write(result / "folds" / "negative-5-000000000000.json")
    (folder / "predictions" / "of-it").mkdir(parents=True)
    (folder / "predictions" / "of-it" / "predictions.csv").write_text(f"id,negative\n{ids[0]},1\n{_first(ids)},0\n")
    (folder / "predictions" / "of-others").mkdir(parents=True)
    return folder


def _first(ids: Sequence[str]) -> str:
    return next(clip for clip in ids if clip.startswith(GONE))


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "study"))


def the_run(folder: Path) -> Path:
    return folder / "result" / RUN


def everything(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_dry_run_names_what_is_touched_and_touches_nothing(study: Path, run: Run) -> None:
    before = everything(study)
    code, out, _ = run("features", "purge", "--speaker", GONE, "-w", study, "--dry-run")
    assert code == 0 and everything(study) == before
    own = sum(line.split(",")[2] == GONE for line in (study / "manifest.csv").read_text().splitlines())
    assert f"{own} clips go" in out and f"{own} clips in 2 shards" in out
    assert "manifest.csv, lines " in out and "the audio files are yours to delete" in out
    assert out.count("made again without them") == 2 and "who: deleted; it asks for the speaker, by name" in out
    assert "negative-compare-0: deleted; the command that made it makes it again" in out
    assert "predictions/of-it: deleted" in out and "of-others" not in out and "folds/negative-5-0" in out
    assert f"models of {RUN}, control have learnt" in out and "may have learnt from them: unfinished" in out


def test_the_caller_is_nowhere_and_the_others_are_as_before(study: Path, run: Run) -> None:
    (before,) = finding.stores(study / "features")
    layer, frames = before.layer("encoder.1"), dict(before.frames("encoder.1"))
    was = run_files.read(the_run(study))
    code, out, err = run("features", "purge", "--speaker", GONE, "-w", study, "--manifest-too")
    assert code == 0 and "found nowhere" in out, out + err
    (after,) = finding.stores(study / "features")
    kept = [number for number, clip in enumerate(layer.ids) if not clip.startswith(GONE)]
    assert after.ids == tuple(layer.ids[number] for number in kept) and not after.failed
    assert np.array_equal(after.layer("encoder.1").mean, layer.mean[kept])
    assert all(np.array_equal(values, frames[clip]) for clip, values in after.frames("encoder.1"))
    assert not [defect for _, defect in after.verify() if defect]
    now = run_files.read(the_run(study))
    same = [number for number, clip in enumerate(was.predictions.ids) if not clip.startswith(GONE)]
    assert now.predictions.ids == tuple(was.predictions.ids[number] for number in same)
    assert np.array_equal(now.predictions.probability, was.predictions.probability[same])
    assert "the models had learnt from them" in str(now.notes[-1]) and now.choices == was.choices
    names = {one["kind"] for one in json.loads((the_run(study) / "beside.json").read_bytes())["beside"]}
    assert names == {"random"}  # who speaks is a question that named the caller
    assert GONE not in (study / "manifest.csv").read_text()
    assert run("features", "verify", "-w", study)[0] == 0
    code, _, err = run("features", "purge", "--speaker", GONE, "-w", study)
    assert code == 2 and f"No clip of the speaker '{GONE}'" in err


CURVE = online.Online("uar", (1, 2), 1.0, {"encoder.0": (0.9, 0.8)}, {"encoder.0": ((0.5, 0.6), (0.7, 0.6))})


def test_figures_that_counted_the_caller_and_cannot_be_made_again_are_dropped(study: Path, run: Run) -> None:
    result, folder = study / "result", the_run(study)
    was = run_files.read(folder)
    was = replace(was, provenance={**was.provenance, "audio_seconds": 7200.0})
    assert was.tested_hours == 2
    run_files.write(folder, was)
    online.write(folder, CURVE)
    control, shuffled = run_files.read(result / "control"), controls.read(folder)[0]
    shuffled = replace(shuffled, kind="shuffled", shuffles=(0.4, 0.5), p_value=0.3)
    controls.add(folder, [shuffled, replace(shuffled, kind="random", name="of a run that is gone", folder="gone")])
    # a run without the caller, made anew only because it shows one that had them
    others = purging._without(was, lambda clip: clip.startswith(GONE))
    others = replace(others, notes=(), provenance=was.provenance)
    run_files.write(result / "others", others)
    online.write(result / "others", CURVE)
    asked = controls.compare("nuisance", "mood", result / "control", others, control)
    controls.add(result / "others", [replace(asked, shuffles=(0.4, 0.5), p_value=0.3)])

    code, out, err = run("features", "purge", "--speaker", GONE, "-w", study, "--manifest-too")
    assert code == 0, out + err
    now = run_files.read(folder)
    assert now.tested_hours is None and "audio_seconds" not in now.provenance
    assert not list(folder.glob("online.*")) and "Shortest code" not in (folder / "report.html").read_text()
    assert [(one.kind, one.folder, one.shuffles, one.p_value) for one in controls.read(folder)] == [
        ("shuffled", "control", (), None),
        ("random", "control", (), None),
    ]
    gone = len(was.predictions.ids) - len(now.predictions.ids)
    assert str(now.notes[-1]) == (
        f"{gone} clips were taken out after this run was made (`toolkit features purge`): no figure here counts them "
        "but the development scores and what other notes count, and the models had learnt from them. As far as there "
        "were any, the learning curve, the shuffles with their p, the false alarms an hour and comparisons with "
        "deleted runs are dropped; the same command, on a manifest without these clips, makes them anew."
    )
    assert of("zh")(now.notes[-1]).startswith(f"本次运行完成后移除了 {gone} 个片段")

    left = result / "others"
    assert run_files.read(left).notes == () and run_files.read(left).tested_hours == 2
    assert online.read(left) == CURVE and "encoder.0" in (left / "online.csv").read_text()
    assert [(one.name, one.shuffles, one.p_value) for one in controls.read(left)] == [("mood", (0.4, 0.5), 0.3)]


def test_models_that_learnt_from_the_caller_are_deleted_when_asked(study: Path, run: Run) -> None:
    clip = _first(run_files.read(the_run(study)).predictions.ids)
    code, out, _ = run("features", "purge", "--clip", clip, "-w", study, "--models")
    assert code == 0 and "1 clips go" in out and "while they stand, `toolkit extract` computes these clips again" in out
    assert [path.name for path in (study / "result").iterdir()] == ["folds"]


def test_what_is_found_still_is_named_and_makes_the_exit_code_1(study: Path, run: Run) -> None:
    (study / "notes.txt").write_text(f"spoke to {GONE} twice", encoding="utf-8")
    code, out, _ = run("features", "purge", "--speaker", GONE, "-w", study)
    assert code == 1 and f"found still\n  notes.txt: {GONE}" in out


def test_cut_off_anywhere_it_ends_the_same_when_started_again(
    made: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = Path(shutil.copytree(made, tmp_path / "undisturbed"))
    words = ("features", "purge", "--speaker", GONE, "--manifest-too", "-w")
    assert run(*words, undisturbed)[0] == 0
    for after in (2, 9, 14, 22, 30):
        study = Path(shutil.copytree(made, tmp_path / str(after)))
        _cut_off(after, lambda study=study: run(*words, study), monkeypatch)
        code, out, err = run(*words, study)
        assert (code == 0 and "found nowhere" in out) or (code == 2 and "No clip of the speaker" in err)
        assert everything(study) == everything(undisturbed)


def _cut_off(after: int, purge: Callable[[], tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it die at its so-manieth change of a file's name."""
    left = after

    def dying(honest: Callable[..., object]) -> Callable[..., object]:
        def step(*words: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise SystemExit(9)
            return honest(*words, **named)

        return step

    with monkeypatch.context() as patch:
        for kind, name in ((Path, "replace"), (Path, "rename"), (Path, "unlink"), (shutil, "rmtree")):
            patch.setattr(kind, name, dying(getattr(kind, name)))
        assert purge()[0] in (0, 9)


def test_a_search_finds_whole_names_in_bytes_texts_and_paths(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\x00\xffcaller-03\x00 caller-031 xcaller-03 0.caller-03")
    (tmp_path / "b.json").write_text('{"ids": ["7"], "labels": ["8"], "n": 9, "text": "k\\u00e4the-1"}')
    (tmp_path / "c.csv").write_text('id,speaker,fold\n"x,y",12,9\n')
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("id", data=["11"] * 50, compression="gzip", dtype=h5py.string_dtype())
    (tmp_path / "e.jsonl").write_text('{"n": 7}\n{"x": ["10"]}\n{"torn')
    (tmp_path / "folder-of-caller-03").mkdir()
    (tmp_path / "folder caller-03").mkdir()
    (tmp_path / "folder caller-03" / "empty").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    names = ["caller-03", "7", "8", "9", "10", "11", "12", "x,y", "käthe-1", "<b>&me</b>"]
    (tmp_path / "f.html").write_text("&lt;b&gt;&amp;me&lt;/b&gt;")
    found = residue_search.search(tmp_path, names)
    assert found.found == {
        "a.bin": ("caller-03",),
        "b.json": ("7", "k\\u00e4the-1", "käthe-1"),
        "c.csv": ("12", "x,y"),
        "d.h5": ("11",),
        "e.jsonl": ("10",),
        "f.html": ("&lt;b&gt;&amp;me&lt;/b&gt;",),
        "folder caller-03/empty": ("caller-03",),
    }
    assert residue_search.search(tmp_path, ["caller-99"]).found == {} and found.files == 7
    assert "b.json" not in residue_search.search(tmp_path, ["7"], foreign=[tmp_path]).found


def test_a_shard_keeps_its_precision_and_its_neighbours(tmp_path: Path) -> None:
    made = fill(tmp_path, ["a", "b"])
    large = np.full((2, 1, WIDTH), 1e6, np.float32)  # beyond float16, so the shard is float32
    record = ClipRecord("huge", (1, 2, None, None, None), "1" * 64, 800)
    tiny = ClipRecord("tiny", (1, 2, None, None, None), "2" * 64, 800)
    both = np.concatenate([large, np.full((2, 1, WIDTH), 1e-9, np.float32)], axis=1)
    with made.writing() as writer:
        counts, frames = np.array([1, 1]), {"encoder.1": np.zeros((2, WIDTH), np.float32)}
        writer.commit(ShardContent((record, tiny), (), {"mean": both, "std": both}, frames, counts))
    path = made.folder / "shard-00002.json"
    shard.without(path, lambda clip: clip == "huge")
    made.refresh()
    assert made.layer("encoder.0").mean[-1, 0] == np.float32(1e-9)  # float16 would make it 0
    shard.without(path, lambda clip: clip == "tiny")
    assert not list(made.folder.glob("shard-00002*"))


def test_a_fold_of_the_caller_alone_cannot_be_without_them(study: Path) -> None:
    real = make_run("binary", layers=1, clips=CLIPS, speakers=5)  # a speaker a fold
    run_files.write(study / "result" / "each-left-out", real)
    found = purging.touched(study / "result", lambda clip: clip.startswith(GONE))
    assert found.lost[study / "result" / "each-left-out"] == "without these clips a fold of it is empty"
