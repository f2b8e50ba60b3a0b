"""Corpora of conversation and broadcast, whose tables say what a clip is."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from toolkit.core.errors import InputError
from toolkit.corpus.layouts.row import Cells, Corpus, Layout

IEMOCAP_TURN = re.compile(
    r"^\[([0-9.]+) - ([0-9.]+)\]\t(Ses0([1-5])[MF]_\S+_([MF])[0-9]{3})\t(\w+)\t\[([0-9.]+), ([0-9.]+), ([0-9.]+)\]",
    re.MULTILINE,
)
IEMOCAP_TEXT = re.compile(r"^(Ses0\S+) \[[0-9.]+-[0-9.]+\]: (.*)$", re.MULTILINE)
IEMOCAP_EMOTIONS = {
    "neu": "neutral", "fru": "frustration", "ang": "anger", "sad": "sadness", "hap": "happiness", "exc": "excitement",
    "sur": "surprise", "fea": "fear", "dis": "disgust", "oth": "other",
}  # fmt: skip
MSP_EMOTIONS = {
    "A": "anger", "S": "sadness", "H": "happiness", "U": "surprise", "F": "fear", "D": "disgust", "C": "contempt",
    "N": "neutral", "O": "other",
}  # fmt: skip
MSP_PARTS = {"Train": "train", "Development": "dev", "Test1": "test"}
NO_AUDIO = "rows without their audio file"


def _iemocap(corpus: Corpus) -> Iterator[Cells]:
    texts: dict[str, str] = {}
    for file in sorted(corpus.root.glob("Session[1-5]/dialog/transcriptions/*.txt")):
        texts |= dict(IEMOCAP_TEXT.findall(file.read_text(encoding="utf-8", errors="replace")))
    for file in sorted(corpus.root.glob("Session[1-5]/dialog/EmoEvaluation/*.txt")):
        for turn in IEMOCAP_TURN.finditer(file.read_text(encoding="utf-8", errors="replace")):
            _, _, name, session, sex, emotion, valence, arousal, dominance = turn.groups()
            path = f"Session{session}/sentences/wav/{file.stem}/{name}.wav"
            if not (corpus.root / path).is_file():
                corpus.pass_over(NO_AUDIO)
                continue
            yield {
                "id": name, "path": path, "speaker": f"Ses0{session}{sex}", "split": session, "recording": file.stem,
                "sex": "male" if sex == "M" else "female", "emotion": IEMOCAP_EMOTIONS.get(emotion, ""),
                "valence": valence, "arousal": arousal, "dominance": dominance, "text": texts.get(name, ""),
            }  # fmt: skip


def _msp_podcast(corpus: Corpus) -> Iterator[Cells]:
    needed = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")
    for row in corpus.table(corpus.file("labels_consensus.csv"), *needed):
        path, part = corpus.by_name.get(Path(row["FileName"]).stem), MSP_PARTS.get(row["Split_Set"])
        if path is None or part is None:
            corpus.pass_over(NO_AUDIO if path is None else f"clips of the part {row['Split_Set']}")
        elif row["SpkrID"].lower() in ("", "unknown"):
            corpus.pass_over("clips of unknown speakers")
        else:
            yield {
                "path": path, "speaker": row["SpkrID"], "split": part, "sex": row["Gender"].lower(),
                "emotion": MSP_EMOTIONS.get(row["EmoClass"], ""), "valence": row["EmoVal"],
                "arousal": row["EmoAct"], "dominance": row["EmoDom"],
            }  # fmt: skip


def _meld(corpus: Corpus) -> Iterator[Cells]:
    clips: dict[tuple[str, str], str] = {}
    for path in corpus.audio:
        part = next((part for part in ("train", "dev", "test") if part in Path(path).parent.as_posix()), None)
        if part and re.fullmatch("dia[0-9]+_utt[0-9]+", Path(path).stem):
            clips[part, Path(path).stem] = path
    for part in ("train", "dev", "test"):
        needed = ("Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Utterance")
        for row in corpus.table(corpus.file(f"{part}_sent_emo.csv"), *needed):
            found = clips.get((part, f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"))
            if found is None:
                corpus.pass_over(NO_AUDIO)
                continue
            yield {
                "path": found, "speaker": row["Speaker"], "split": part, "emotion": row["Emotion"],
                "recording": f"{part}-{row['Dialogue_ID']}", "sentiment": row["Sentiment"], "text": row["Utterance"],
            }  # fmt: skip


def _m3ed(corpus: Corpus) -> Iterator[Cells]:
    parts = {
        show.strip(): part
        for part, name in (("train", "train"), ("dev", "val"), ("test", "test"))
        for show in corpus.file(f"movie_list_{name}.txt").read_text(encoding="utf-8").splitlines()
        if show.strip()
    }
    file = corpus.file("annotation.json")
    try:
        shows = json.loads(file.read_text(encoding="utf-8"))
        for show, scenes in shows.items():
            for scene, held in scenes.items():
                for name, turn in held["Dialog"].items():
                    path = corpus.by_name.get(f"{turn['Speaker']}_{name}")
                    if path is None or show not in parts:
                        corpus.pass_over(NO_AUDIO if path is None else "clips of shows in no part of the split")
                        continue
                    person = held["SpeakerInfo"][turn["Speaker"]]
                    yield {
                        "path": path, "speaker": f"{show}_{person['Name']}", "split": parts[show], "recording": scene,
                        "emotion": turn["EmoAnnotation"]["final_main_emo"].lower(),
                        "sex": str(person.get("Gender", "")), "age": str(person.get("Age", "")), "text": turn["Text"],
                    }  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file.name} is not M3ED's annotation: {type(error).__name__} {error}") from None


def _ch_sims(corpus: Corpus) -> Iterator[Cells]:
    parts = {"train": "train", "valid": "dev", "test": "test"}
    needed = ("video_id", "clip_id", "text", "label", "annotation", "mode")
    for row in corpus.table(corpus.file("label.csv"), *needed):
        names = (f"{row['video_id']}/{clip}" for clip in (row["clip_id"], row["clip_id"].zfill(4)))
        path = next((found for name in names if (found := corpus.finder.find(f"Raw/{name}"))), None)
        if path is None:
            corpus.pass_over(NO_AUDIO)
            continue
        yield {
            "path": path, "recording": row["video_id"], "split": parts.get(row["mode"], row["mode"]),
            "sentiment": row["label"], "sentiment_audio": row.get("label_A", ""), "polarity": row["annotation"].lower(),
            "text": row["text"],
        }  # fmt: skip


IEMOCAP = Layout(
    "IEMOCAP, English, 10 emotions and 3 scales: the folder of Session1/ to Session5/, whose number is the fold",
    "Busso et al. 2008, doi:10.1007/s10579-008-9076-6",
    _iemocap,
)
MSP_PODCAST = Layout(
    "MSP-Podcast, English, 9 emotions and 3 scales: the folder of Audios/ and Labels/labels_consensus.csv",
    "Lotfian and Busso 2019, doi:10.1109/TAFFC.2017.2736999; Test1 is the test part, other tests are left out",
    _msp_podcast,
)
MELD = Layout(
    "MELD, English, 7 emotions: the folder of train_sent_emo.csv ... and of train_splits/ ..., or of their audio",
    "Poria et al. 2019, doi:10.18653/v1/P19-1050",
    _meld,
)
M3ED = Layout(
    "M3ED, Mandarin, 7 emotions: the folder of annotation.json, splitInfo/ and the speech as SPEAKER_UTTERANCE.wav",
    "Zhao et al. 2022, doi:10.18653/v1/2022.acl-long.391",
    _m3ed,
)
CH_SIMS = Layout(
    "CH-SIMS, Mandarin, sentiment from -1 to 1: the folder of label.csv and Raw/",
    "Yu et al. 2020, doi:10.18653/v1/2020.acl-main.343",
    _ch_sims,
)
