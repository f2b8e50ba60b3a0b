"""A small tree of each known layout, after its public description, and what its first clip is."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from toolkit.corpus.layouts.row import Cells

Write = Callable[[Path], None]


@dataclass(frozen=True)
class Tree:
    """audio: files of 0.5 s. texts: other files by name. more: what else is written. first: cells of the first row of
    the manifest. clips: its rows. skipped: files or rows passed over."""

    audio: tuple[str, ...]
    first: Cells
    clips: int
    texts: Mapping[str, str] = field(default_factory=dict)
    more: Write = lambda root: None
    skipped: int = 0


def build(tree: Tree, root: Path) -> None:
    for number, name in enumerate(tree.audio):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, np.sin(np.arange(40_000) / (20 + number)), 16_000, format="WAV")
    for name, text in tree.texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    tree.more(root)


def _parquet(root: Path) -> None:
    """As `datasets` writes it: paths to files, and labels as numbers that the metadata names."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    audio = [{"bytes": None, "path": f"wav/{name}.wav"} for name in "abx"]
    columns = {"audio": audio, "emotion": [1, 0, 0], "client_id": ["s1", "s2", "s3"], "sentence": ["yes", "no", "no"],
               "valence": [2.5, None, 1.0], "acted": [True, False, False], "words": [["yes"], [], []]}  # fmt: skip
    labels = {"info": {"features": {"emotion": {"_type": "ClassLabel", "names": ["joy", "rage"]}}}}
    table = pyarrow.table(columns).replace_schema_metadata({"huggingface": json.dumps(labels)})
    (root / "data").mkdir()
    parquet.write_table(table, root / "data" / "train-00000-of-00001.parquet")


def _modma(root: Path) -> None:
    rows = {"subject id": [2010001, 2020008], "type": ["MDD", "HC"], "age": [31, 26], "gender": ["F", "M"],
            "PHQ-9": [18, 2], "GAD-7": [9, 1]}  # fmt: skip
    pd.DataFrame(rows).to_excel(root / "subjects_information_audio_lanzhou_2015.xlsx", index=False)


IEMOCAP = (
    "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
    "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\t()\n\n"
    "[10.0100 - 11.3925]\tSes01F_impro01_M000\txxx\t[2.0000, 3.5000, 1.5000]\n\n"
    "[14.8872 - 18.0175]\tSes01F_impro01_F001\tfru\t[2.0, 3.0, 2.0]\n"
)
M3ED = {
    "anjia": {
        "anjia_1": {
            "SpeakerInfo": {"A": {"Name": "房似锦", "Age": "young", "Gender": "female"}, "B": {"Name": "徐文昌"}},
            "Dialog": {
                "anjia_1_1": {"Speaker": "A", "Text": "你好", "EmoAnnotation": {"final_main_emo": "Neutral"}},
                "anjia_1_2": {"Speaker": "B", "Text": "走", "EmoAnnotation": {"final_main_emo": "Anger"}},
            },
        }
    }
}
MELD_HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID\n"
ANDROIDS = "Read,,,,,,,Interview,,,,\nfold1,fold2,fold3,fold4,fold5,,,fold1,fold2,fold3,fold4,fold5\n"
DAIC_TURNS = "start_time\tstop_time\tspeaker\tvalue\n0.1\t0.9\tEllie\thi\n1.0\t1.5\tParticipant\tfine\n"
YAML = """\
name: mine
splits: {train: {type: train}, heldout: {type: test}}
tables:
  files: {type: filewise}
  emotion.train: {type: segmented, split_id: train}
  emotion.test: {type: segmented, split_id: heldout}
"""


def _emobox(number: int, name: str) -> dict[str, str]:
    row = {"key": f"casia-{name}", "wav": f"downloads/casia/wangzhe/{name}.wav", "emo": name.split("/")[0]}
    return {f"fold_{number}/casia_test_fold_{number}.jsonl": json.dumps(row) + "\n",
            f"fold_{number}/casia_train_fold_{number}.jsonl": "{}\n"}  # fmt: skip


TREES = {
    "casia": Tree(
        ("liuchanhg/angry/201.wav", "wangzhe/sad/201.wav", "readme/x.wav"),
        {"path": "liuchanhg/angry/201.wav", "speaker": "liuchanhg", "emotion": "angry", "sentence": "201"}, 2,
        skipped=1,
    ),
    "ch-sims": Tree(
        ("Raw/video_0001/0001.wav", "Raw/video_0002/0003.wav"),
        {"path": "Raw/video_0001/0001.wav", "recording": "video_0001", "split": "train", "sentiment": "-0.6",
         "sentiment_audio": "-0.4", "polarity": "negative", "text": "我不想嫁给李茶"}, 2,
        {"label.csv": "video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode\n"
         "video_0001,1,我不想嫁给李茶,-0.6,-0.6,-0.4,-0.6,Negative,train\n"
         "video_0002,0003,好,0.8,1,0.6,1,Positive,valid\nvideo_0002,0009,没,0,0,0,0,Neutral,test\n"},
        skipped=1,
    ),
    "crema-d": Tree(
        ("AudioWAV/1001_DFA_ANG_XX.wav", "AudioWAV/1002_IEO_HAP_HI.wav"),
        {"speaker": "1001", "emotion": "anger", "level": "unspecified", "sentence": "DFA", "sex": "male", "age": "51"},
        2,
        {"VideoDemographics.csv": "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n"
         "1002,21,Female,Caucasian,Not Hispanic\n"},
    ),
    "emodb": Tree(
        ("wav/03a01Fa.wav", "wav/16b10Td.wav", "wav/03a01.wav"),
        {"speaker": "03", "emotion": "happiness", "sentence": "a01", "sex": "male", "age": "31"}, 2, skipped=1,
    ),
    "esd": Tree(
        ("0001/Angry/train/0001_000351.wav", "0001/Angry/test/0001_000352.wav", "0011/Sad/0011_001052.wav"),
        {"speaker": "0001", "emotion": "angry", "language": "Mandarin", "sentence": "2", "published_split": "test"}, 3,
    ),
    "iemocap": Tree(
        ("Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav",
         "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M000.wav"),
        {"id": "Ses01F_impro01_F000", "speaker": "Ses01F", "split": "1", "recording": "Ses01F_impro01",
         "sex": "female", "emotion": "neutral", "valence": "2.5000", "arousal": "2.5000", "dominance": "2.5000",
         "text": "Excuse me."}, 2,
        {"Session1/dialog/EmoEvaluation/Ses01F_impro01.txt": IEMOCAP,
         "Session1/dialog/transcriptions/Ses01F_impro01.txt": "Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.\n"},
        skipped=1,
    ),
    "m3ed": Tree(
        ("modality_speech/A_anjia_1_1.wav", "modality_speech/B_anjia_1_2.wav"),
        {"speaker": "anjia_房似锦", "split": "train", "recording": "anjia_1", "emotion": "neutral", "sex": "female",
         "age": "young", "text": "你好"}, 2,
        {"annotation.json": json.dumps(M3ED), "splitInfo/movie_list_train.txt": "anjia\n",
         "splitInfo/movie_list_val.txt": "x\n", "splitInfo/movie_list_test.txt": "y\n"},
    ),
    "mead": Tree(
        ("M003/audio/surprised/level_2/001.wav", "W009/audio/neutral/level_1/002.wav"),
        {"speaker": "M003", "sex": "male", "emotion": "surprise", "level": "2", "take": "001"}, 2,
    ),
    "meld": Tree(
        ("train_splits/dia0_utt0.wav", "dev_splits_complete/dia0_utt0.wav",
         "output_repeated_splits_test/dia3_utt1.wav"),
        {"path": "train_splits/dia0_utt0.wav", "speaker": "Chandler", "published_split": "train", "emotion": "neutral",
         "sentiment": "neutral", "recording": "train-0", "text": "also I was"}, 3,
        {"train_sent_emo.csv": MELD_HEADER + "1,also I was,Chandler,neutral,neutral,0,0\n2,x,Ross,joy,positive,7,7\n",
         "dev_sent_emo.csv": MELD_HEADER + "1,Oh my God,Phoebe,sadness,negative,0,0\n",
         "test_sent_emo.csv": MELD_HEADER + "1,Hey!,Chandler,joy,positive,3,1\n"},
        skipped=1,
    ),
    "msp-podcast": Tree(
        ("Audios/MSP-PODCAST_0001_0008.wav", "Audios/MSP-PODCAST_0002_0001.wav", "Audios/MSP-PODCAST_0003_0001.wav"),
        {"speaker": "127", "split": "train", "sex": "male", "emotion": "neutral", "valence": "3.8", "arousal": "4.2",
         "dominance": "4.6"}, 1,
        {"Labels/labels_consensus.csv": "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
         "MSP-PODCAST_0001_0008.wav,N,4.2,3.8,4.6,127,Male,Train\n"
         "MSP-PODCAST_0002_0001.wav,X,4.2,3.8,4.6,Unknown,Unknown,Development\n"
         "MSP-PODCAST_0003_0001.wav,A,4.2,3.8,4.6,130,Female,Test2\n"},
        skipped=2,
    ),
    "ravdess": Tree(
        ("Actor_01/03-01-05-02-01-02-01.wav", "Actor_02/03-02-01-01-01-01-02.wav"),
        {"speaker": "01", "sex": "male", "emotion": "anger", "intensity": "strong", "vocal": "speech", "take": "02"}, 2,
    ),
    "savee": Tree(
        ("AudioData/DC/a01.wav", "AudioData/JK/sa15.wav"),
        {"speaker": "DC", "emotion": "anger", "sentence": "01", "sex": "male"}, 2,
    ),
    "tess": Tree(
        ("OAF_neutral/OA_bite_neutral.wav", "YAF_pleasant_surprised/YAF_back_ps.wav"),
        {"speaker": "OAF", "emotion": "neutral", "word": "bite", "sex": "female", "age": "64"}, 2,
    ),
    "androids-interview": Tree(
        ("Interview-Task/audio_clip/HC/01_CF56_1/01_CF56_1_1.wav",
         "Interview-Task/audio_clip/PT/02_PM40_2/02_PM40_2_1.wav",
         "Interview-Task/audio/HC/01_CF56_1.wav"),
        {"speaker": "01_CF56_1", "split": "2", "depressed": "0", "sex": "female", "age": "56", "education": "1"}, 2,
        {"fold-lists.csv": ANDROIDS + "'01_CF56_1',,,,'02_PM40_2',,,'02_PM40_2','01_CF56_1',,,\n"},
    ),
    "androids-reading": Tree(
        ("Reading-Task/audio/HC/01_CF56_1.wav", "Reading-Task/audio/PT/02_PM40_2.wav",
         "Reading-Task/audio/PT/09_PM40_2.wav"),
        {"speaker": "01_CF56_1", "split": "1", "depressed": "0"}, 2,
        {"fold-lists.csv": ANDROIDS + "'01_CF56_1',,,,'02_PM40_2',,,'02_PM40_2','01_CF56_1',,,\n"},
        skipped=1,
    ),
    "daic-woz": Tree(
        ("300_P/300_AUDIO.wav", "302_P/302_AUDIO.wav"),
        {"id": "302-1.0", "start": "1.0", "end": "1.5", "speaker": "302", "recording": "302", "split": "train",
         "phq8": "4", "depressed": "0", "gender": "1", "text": "fine"}, 2,
        {"300_P/300_TRANSCRIPT.csv": DAIC_TURNS, "302_P/302_TRANSCRIPT.csv": DAIC_TURNS,
         "train_split_Depression_AVEC2017.csv": "Participant_ID,PHQ8_Binary,PHQ8_Score,Gender\n302,0,4,1\n",
         "dev_split_Depression_AVEC2017.csv": "Participant_ID,PHQ8_Binary,PHQ8_Score,Gender\n303,1,15,0\n",
         "full_test_split.csv": "Participant_ID,PHQ_Binary,PHQ_Score,Gender\n300,0,2,1\n"},
        skipped=3,
    ),
    "eatd": Tree(
        ("t_1/positive.wav", "t_1/positive_out.wav", "t_1/negative.wav", "v_2/neutral_out.wav"),
        {"path": "t_1/positive_out.wav", "speaker": "t_1", "split": "train", "question": "positive", "sds": "56.25",
         "depressed": "1", "text": "很好"}, 3,
        {"t_1/new_label.txt": "56.25\n", "v_2/new_label.txt": "41.25", "t_1/positive.txt": "很好"},
        skipped=3,
    ),
    "modma": Tree(
        ("02010001/01.wav", "02020008/29.wav", "09999999/01.wav"),
        {"speaker": "02010001", "item": "1", "group": "MDD", "depressed": "1", "age": "31", "gender": "F",
         "phq9": "18", "gad7": "9"}, 2,
        more=_modma, skipped=1,
    ),
    "audformat": Tree(
        ("wav/a.wav", "wav/b.wav"),
        {"path": "wav/a.wav", "start": "0.1", "end": "0.9", "speaker": "s1", "split": "train", "emotion": "joy"}, 2,
        {"db.yaml": YAML, "db.files.csv": "file,speaker\nwav/a.wav,s1\nwav/b.wav,s2\n",
         "db.emotion.train.csv": "file,start,end,emotion\n"
         "wav/a.wav,0 days 00:00:00.100000,0 days 00:00:00.900000,joy\n",
         "db.emotion.test.csv": "file,start,end,emotion\nwav/b.wav,0 days 00:00:00,0 days 00:00:00.500000,fear\n"},
    ),
    "audio-folder": Tree(
        ("train/a.wav", "test/b.wav"),
        {"path": "test/b.wav", "split": "test", "emotion": "fear", "age": "30"}, 2,
        {"train/metadata.csv": "file_name,emotion,age\na.wav,joy,\n",
         "test/metadata.jsonl": '{"file_name": "b.wav", "emotion": "fear", "age": 30}\n'},
    ),
    "emobox": Tree(
        ("downloads/casia/wangzhe/sad/201.wav", "downloads/casia/wangzhe/angry/201.wav"),
        {"id": "casia-sad/201", "path": "downloads/casia/wangzhe/sad/201.wav", "split": "1", "emotion": "sad"}, 2,
        {**_emobox(1, "sad/201"), **_emobox(2, "angry/201"), **_emobox(3, "happy/9")}, skipped=1,
    ),
    "kaldi": Tree(
        ("audio/call1.wav", "audio/call2.wav"),
        {"id": "s1-call1-a", "path": "audio/call1.wav", "start": "0.5", "end": "1.2", "recording": "call1",
         "speaker": "s1", "emo": "joy", "text": "good day"}, 2,
        {"wav.scp": "call1 /mnt/corpus/audio/call1.wav\ncall2 /mnt/corpus/audio/call2.wav\ncall3 /mnt/x.wav\n",
         "segments": "s1-call1-a call1 0.5 1.2\ns2-call2-a call2 0 1.5\ns3-call3-a call3 0 1\n",
         "utt2spk": "s1-call1-a s1\ns2-call2-a s2\n", "utt2dur": "s1-call1-a 0.7\n", "utt2emo": "s1-call1-a joy\n",
         "text": "s1-call1-a good day\n"},
        skipped=1,
    ),
    "parquet": Tree(
        ("wav/a.wav", "wav/b.wav"),
        {"path": "wav/a.wav", "split": "train", "emotion": "rage", "speaker": "s1", "text": "yes", "valence": "2.5",
         "acted": "1"}, 2, more=_parquet, skipped=1,
    ),
}  # fmt: skip
