"""Corpora of depression, whose labels are a person's."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from toolkit.core.errors import InputError
from toolkit.corpus.layouts.row import Cells, Corpus, Layout, Reader

DEPRESSED_SDS = 53.0  # of the self-rating depression scale, index score; as the corpus's authors
ANDROIDS_NAME = re.compile(
    r"(?P<number>[0-9]{1,3})_(?P<group>[CP])(?P<sex>[MF])(?P<age>[0-9]{2})_(?P<education>[1-4X])"
)
DAIC_PARTS = (
    ("train", "train_split_Depression_AVEC2017.csv"),
    ("dev", "dev_split_Depression_AVEC2017.csv"),
    ("test", "full_test_split.csv"),
)


def _daic_woz(corpus: Corpus) -> Iterator[Cells]:
    """A row for each of the participant's turns. The test part's columns are called PHQ, the others' PHQ8."""
    for part, name in DAIC_PARTS:
        for row in corpus.table(corpus.file(name), "Participant_ID"):
            person = row["Participant_ID"]
            score, binary = (row.get(f"PHQ8_{what}", row.get(f"PHQ_{what}", "")) for what in ("Score", "Binary"))
            folder = f"{person}_P"
            path, turns = f"{folder}/{person}_AUDIO.wav", corpus.root / folder / f"{person}_TRANSCRIPT.csv"
            if not (corpus.root / path).is_file() or not turns.is_file():
                corpus.pass_over("participants without audio or transcript")
                continue
            for turn in corpus.table(turns, "start_time", "stop_time", "speaker", "value"):
                if turn["speaker"] != "Participant":
                    corpus.pass_over("turns of the interviewer")
                    continue
                yield {
                    "id": f"{person}-{turn['start_time']}", "path": path, "start": turn["start_time"],
                    "end": turn["stop_time"], "speaker": person, "recording": person, "split": part, "phq8": score,
                    "depressed": binary, "gender": row.get("Gender", ""), "text": turn["value"],
                }  # fmt: skip


def _eatd(corpus: Corpus) -> Iterator[Cells]:
    for folder in sorted(corpus.root.rglob("[tv]_*")):
        if not re.fullmatch("[tv]_[0-9]+", folder.name):
            continue
        place = folder.relative_to(corpus.root).as_posix()
        score = folder / "new_label.txt"
        if not score.is_file():
            corpus.pass_over("persons without new_label.txt")
            continue
        try:
            index = float(score.read_text(encoding="utf-8").strip())
        except ValueError:
            raise InputError(f"{place}/{score.name}: expected one number, the index of the SDS") from None
        for question in ("positive", "neutral", "negative"):
            trimmed = [path for path in (f"{question}_out.wav", f"{question}.wav") if (folder / path).is_file()]
            if not trimmed:
                corpus.pass_over("answers without audio")
                continue
            transcript = folder / f"{question}.txt"
            yield {
                "path": f"{place}/{trimmed[0]}", "speaker": folder.name,
                "split": "train" if folder.name.startswith("t") else "test", "question": question, "sds": f"{index:g}",
                "depressed": str(int(index >= DEPRESSED_SDS)),
                "text": transcript.read_text(encoding="utf-8").strip() if transcript.is_file() else "",
            }  # fmt: skip


def _modma(corpus: Corpus) -> Iterator[Cells]:
    table = corpus.table(corpus.file("subjects_information_audio*.xlsx"), "subject id", "type")
    people = {row["subject id"].zfill(8): row for row in table}
    for path in corpus.audio:
        match = re.search("(?:^|/)([0-9]{8})/([0-9]{2})[.]", path)
        if not match or match[1] not in people:
            corpus.pass_over("audio files of no person in the table")
            continue
        person = people[match[1]]
        scales = {name.lower().replace("-", ""): person[name] for name in ("PHQ-9", "GAD-7", "PSQI") if name in person}
        yield {
            "path": path, "speaker": match[1], "item": str(int(match[2])), "group": person["type"],
            "depressed": str(int(person["type"] == "MDD")), "age": person.get("age", ""),
            "gender": person.get("gender", ""), **scales,
        }  # fmt: skip


def _androids(task: str, first: int) -> Reader:
    """first: the column of fold-lists.csv where the task's five folds begin."""

    def read(corpus: Corpus) -> Iterator[Cells]:
        folds: dict[str, str] = {}
        with corpus.file("fold-lists.csv").open(encoding="utf-8-sig", newline="") as file:
            for row in csv.reader(file):
                for fold, cell in enumerate(row[first : first + 5], start=1):
                    if match := ANDROIDS_NAME.search(cell):
                        folds[match.group()] = str(fold)
        recordings = [path for path in corpus.audio if f"{task}-Task/" in path]
        parts = [path for path in recordings if "/audio_clip/" in path]
        for path in parts or recordings:
            match = ANDROIDS_NAME.search(Path(path).parent.name if parts else "") or ANDROIDS_NAME.search(path)
            if not match or match.group() not in folds:
                corpus.pass_over("audio files of no person in fold-lists.csv")
                continue
            yield {
                "path": path, "speaker": match.group(), "split": folds[match.group()],
                "depressed": str(int(match["group"] == "P")), "sex": "male" if match["sex"] == "M" else "female",
                "age": match["age"], "education": match["education"],
            }  # fmt: skip

    return read


DAIC_WOZ = Layout(
    "DAIC-WOZ, English, PHQ-8 of a person: the folder of 300_P/ ... and the three tables of the split",
    "Gratch et al. 2014 (LREC); split of AVEC 2017, doi:10.1145/3133944.3133953",
    _daic_woz,
)
EATD = Layout(
    "EATD-Corpus, Mandarin, SDS of a person: the folder of t_1/ ... and v_1/ ..., which are the test part",
    "Shen et al. 2022, doi:10.1109/ICASSP43922.2022.9746569",
    _eatd,
)
MODMA = Layout(
    "MODMA, Mandarin, patients and others with PHQ-9: the folder audio_lanzhou_2015 with its table",
    "Cai et al. 2022, doi:10.1038/s41597-022-01211-x",
    _modma,
)
ANDROIDS_READING = Layout(
    "Androids corpus, Italian, patients and others, read speech: the folder of Reading-Task/ and fold-lists.csv",
    "Tao et al. 2023 (Interspeech), The Androids Corpus",
    _androids("Reading", 0),
)
ANDROIDS_INTERVIEW = Layout(
    "Androids corpus, Italian, patients and others, interviews: the folder of Interview-Task/ and fold-lists.csv",
    "Tao et al. 2023 (Interspeech), The Androids Corpus",
    _androids("Interview", 7),
)
