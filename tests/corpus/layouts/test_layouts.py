"""Every known layout: its tree becomes a manifest without a defect; another tree is refused by a sentence."""

from pathlib import Path

import pytest

import toolkit
from tests.conftest import Run
from tests.corpus.layouts.trees import TREES, Tree, build
from toolkit.core.errors import InputError
from toolkit.corpus import manifest
from toolkit.corpus.layouts.importing import corpus
from toolkit.corpus.layouts.registry import LAYOUTS


def test_every_layout_has_a_tree_and_says_where_it_is_described() -> None:
    assert list(LAYOUTS) == list(TREES)
    assert all(row.about and row.source for row in LAYOUTS.values())


@pytest.mark.parametrize("name", TREES)
def test_a_tree_becomes_a_manifest_with_what_the_corpus_says(name: str, tmp_path: Path) -> None:
    tree = TREES[name]
    build(tree, tmp_path)
    made = corpus(name, tmp_path, tmp_path / "manifest.csv", text=True)
    read = manifest.read(tmp_path / "manifest.csv")
    first = dict(zip(read.columns, read.clips[0].cells))
    assert tree.first.items() <= first.items(), (tree.first, first)
    assert (made.clips, len(read.clips), sum(made.skipped.values())) == (tree.clips, tree.clips, tree.skipped), made
    assert not made.left_out and not made.needs_audio_root
    assert len(set(read.cells("id"))) == tree.clips
    with pytest.raises(InputError, match="is there already"):
        corpus(name, tmp_path, tmp_path / "manifest.csv")
    told = corpus(name, tmp_path, tmp_path / "manifest.csv", overwrite=True)
    assert "text" not in manifest.read(tmp_path / "manifest.csv").columns and told.clips == made.clips


@pytest.mark.parametrize("name", TREES)
def test_a_folder_of_another_layout_is_refused_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    build(Tree(("x/y.wav",), {}, 0), tmp_path)
    with pytest.raises(InputError) as refused:
        corpus(name, tmp_path, tmp_path / "manifest.csv")
    assert "\n" not in str(refused.value) and not (tmp_path / "manifest.csv").exists()


def test_a_published_split_that_speakers_cross_is_a_column_that_nothing_takes_for_one(tmp_path: Path) -> None:
    build(TREES["meld"], tmp_path)
    made = corpus("meld", tmp_path, tmp_path / "manifest.csv")
    assert "speaker 'Chandler' is in the parts 'train' and 'test' of the published split, so that" in str(made)
    read = manifest.read(tmp_path / "manifest.csv")
    assert all(clip.split is None for clip in read.clips)
    assert read.cells("published_split") == ("train", "dev", "test")


WRONG = [
    ("kaldi", "wav.scp", "call1 sph2pipe -f wav x.sph |\n", "call1 is a command's output; write it to a file"),
    ("kaldi", "segments", "s1 call1 0.5\n", "segments: s1 call1 0.5: expected recording, start and end (seconds)"),
    ("emobox", "fold_1/casia_test_fold_1.jsonl", "nonsense\n", "casia_test_fold_1.jsonl, line 1: no JSON"),
    ("emobox", "fold_1/casia_test_fold_1.jsonl", "[1]\n", "line 1: expected an object"),
    ("emobox", "fold_1/casia_test_fold_1.jsonl", '{"wav": "x"}\n', "a row has no wav or no emo"),
    ("audformat", "db.yaml", "- 1\n", "db.yaml describes no audformat database"),
    ("m3ed", "annotation.json", '{"anjia": {"a": {}}}', "annotation.json is not M3ED's annotation: KeyError"),
    ("eatd", "t_1/new_label.txt", "none", "t_1/new_label.txt: expected one number, the index of the SDS"),
    ("ch-sims", "label.csv", "video_id,clip_id\nv,1\n", "label.csv: no column 'text'; its header has ['video_id', "),
]


@pytest.mark.parametrize(("name", "file", "text", "sentence"), WRONG)
def test_a_damaged_table_is_named(name: str, file: str, text: str, sentence: str, tmp_path: Path) -> None:
    build(TREES[name], tmp_path)
    (tmp_path / file).write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as refused:
        corpus(name, tmp_path, tmp_path / "manifest.csv")
    assert sentence in str(refused.value)


def test_the_command(run: Run, tmp_path: Path) -> None:
    build(TREES["ravdess"], tmp_path / "RAVDESS")
    code, out, err = run("manifest", "corpus", "ravdess", tmp_path / "RAVDESS", "-w", tmp_path)
    assert code == 0 and "manifest.csv: 2 clips, 2 speakers\n" in out and "emotion: 1 anger, 1 neutral\n" in out, err
    assert manifest.read(tmp_path / "manifest.csv").clips[0].path == "RAVDESS/Actor_01/03-01-05-02-01-02-01.wav"
    made = toolkit.open(tmp_path).import_corpus("ravdess", tmp_path / "RAVDESS", overwrite=True)
    assert str(made) in out and made.clips == 2
    code, out, _ = run("manifest", "corpus", "--list")
    assert code == 0 and "msp-podcast          MSP-Podcast, English" in out
    code, _, err = run("manifest", "corpus", "ravdess", "-w", tmp_path)
    assert code == 2 and "ROOT: expected the corpus's folder" in err
    code, _, err = run("manifest", "corpus", "ravdes", tmp_path / "RAVDESS", "-w", tmp_path, "--overwrite")
    assert code == 2 and "did you mean 'ravdess'?" in err
