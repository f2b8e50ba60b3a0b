"""Acted corpora, whose files' names say speaker and emotion."""

from collections.abc import Iterator, Mapping

from toolkit.corpus.layouts.row import Cells, Corpus, Layout, named

SEXES = {"M": "male", "F": "female", "W": "female"}
EMODB_SPEAKERS = {
    "03": ("male", "31"), "08": ("female", "34"), "09": ("female", "21"), "10": ("male", "32"), "11": ("male", "26"),
    "12": ("male", "30"), "13": ("female", "32"), "14": ("female", "35"), "15": ("male", "25"), "16": ("female", "31"),
}  # fmt: skip
CREMA_D = named(
    r"(?:^|/)(?P<speaker>1[0-9]{3})_(?P<sentence>[A-Z]{3})_(?P<emotion>[A-Z]{3})_(?P<level>LO|MD|HI|XX|X)\.",
    {
        "emotion": {
            "ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"
        },
        "level": {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified", "X": "unspecified"},
    },
)  # fmt: skip


def _crema_d(corpus: Corpus) -> Iterator[Cells]:
    people: dict[str, Mapping[str, str]] = {}
    for file in corpus.root.rglob("VideoDemographics.csv"):
        for row in corpus.table(file, "ActorID", "Age", "Sex"):
            people[row["ActorID"]] = {"sex": row["Sex"].lower(), "age": row["Age"]}
    for cells in CREMA_D(corpus):
        yield {**cells, **people.get(cells["speaker"], {})}


def _emodb(cells: Cells) -> Mapping[str, str]:
    sex, age = EMODB_SPEAKERS[cells["speaker"]]
    return {"sex": sex, "age": age}


CASIA = Layout(
    "CASIA, Mandarin, 6 emotions: the folder of SPEAKER/EMOTION/NUMBER.wav",
    "Institute of Automation, Chinese Academy of Sciences (2005); the path as EmoBox gives it",
    named(r"(?:^|/)(?P<speaker>[^/]+)/(?P<emotion>angry|fear|happy|neutral|sad|surprise)/(?P<sentence>[0-9]+)\."),
)
CREMAD = Layout(
    "CREMA-D, English, 6 emotions: the folder of AudioWAV/, with VideoDemographics.csv for age and sex",
    "Cao et al. 2014, doi:10.1109/TAFFC.2014.2336244",
    _crema_d,
)
EMODB = Layout(
    "EmoDB (Berlin), German, 7 emotions: the folder of wav/",
    "Burkhardt et al. 2005, doi:10.21437/Interspeech.2005-446",
    named(
        rf"(?:^|/)(?P<speaker>{'|'.join(EMODB_SPEAKERS)})(?P<sentence>[ab][0-9]{{2}})(?P<emotion>[WLEAFTN])[a-f]?\.",
        {
            "emotion": {
                "W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "happiness", "T": "sadness",
                "N": "neutral",
            }
        },
        _emodb,
    ),
)  # fmt: skip
ESD = Layout(
    "ESD, Mandarin and English, 5 emotions: the folder of 0001/ to 0020/",
    "Zhou et al. 2022, doi:10.1016/j.specom.2021.11.006",
    named(
        r"(?:^|/)(?P<speaker>00(?:0[1-9]|1[0-9]|20))/(?P<emotion>Angry|Happy|Neutral|Sad|Surprise)/"
        r"(?:(?P<split>train|evaluation|test)/)?[0-9]{4}_(?P<sentence>[0-9]{6})\.",
        {
            "emotion": {name: name.lower() for name in ("Angry", "Happy", "Neutral", "Sad", "Surprise")},
            "split": {"train": "train", "evaluation": "dev", "test": "test", "": ""},
        },
        lambda cells: {
            "language": "Mandarin" if cells["speaker"] <= "0010" else "English",
            # the same 350 sentences by every speaker and in every emotion
            "sentence": f"{(int(cells['sentence']) - 1) % 350 + 1}",
        },
    ),
)
MEAD = Layout(
    "MEAD, English, 8 emotions at 3 levels: the folder of M003/, W009/ ... with audio/EMOTION/level_N/",
    "Wang et al. 2020, doi:10.1007/978-3-030-58589-1_42",
    named(
        r"(?:^|/)(?P<speaker>(?P<sex>[MW])[0-9]{3})/audio/(?P<emotion>[a-z]+)/level_(?P<level>[123])/"
        r"(?P<take>[0-9]{3})\.",
        {
            "sex": SEXES,
            "emotion": {
                name: "surprise" if name == "surprised" else name
                for name in ("angry", "contempt", "disgusted", "fear", "happy", "neutral", "sad", "surprised")
            },
        },
    ),
)
RAVDESS = Layout(
    "RAVDESS, English, 8 emotions, speech and song: the folder of Actor_01/ to Actor_24/",
    "Livingstone and Russo 2018, doi:10.1371/journal.pone.0196391",
    named(
        r"(?:^|/)(?P<modality>0[13])-(?P<vocal>0[12])-(?P<emotion>0[1-8])-(?P<intensity>0[12])-(?P<sentence>0[12])-"
        r"(?P<take>0[12])-(?P<speaker>[0-2][0-9])\.",
        {
            "modality": {"01": "audio and video", "03": "audio"},
            "vocal": {"01": "speech", "02": "song"},
            "emotion": {
                "01": "neutral", "02": "calm", "03": "happiness", "04": "sadness", "05": "anger", "06": "fear",
                "07": "disgust", "08": "surprise",
            },
            "intensity": {"01": "normal", "02": "strong"},
        },
        lambda cells: {"sex": "male" if int(cells["speaker"]) % 2 else "female"},
    ),
)  # fmt: skip
SAVEE = Layout(
    "SAVEE, English, 7 emotions, 4 men: the folder of AudioData/, or of files such as DC_a01.wav",
    "Haq and Jackson 2009 (AVSP)",
    named(
        r"(?:^|/)(?P<speaker>DC|JE|JK|KL)[/_](?P<emotion>sa|su|[adfhn])(?P<sentence>[0-9]{2})\.",
        {
            "emotion": {
                "a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "n": "neutral", "sa": "sadness",
                "su": "surprise",
            }
        },
        lambda cells: {"sex": "male"},
    ),
)  # fmt: skip
TESS = Layout(
    "TESS, English, 7 emotions, 2 women: the folder of OAF_angry/ ... or of the files",
    "Pichora-Fuller and Dupuis 2020, doi:10.5683/SP2/E8H2MF",
    named(
        r"(?:^|/)(?P<speaker>OAF|OA|YAF)_(?P<word>[a-z']+)_(?P<emotion>angry|disgust|fear|happy|neutral|ps|sad)\.",
        {
            "speaker": {"OAF": "OAF", "OA": "OAF", "YAF": "YAF"},  # OA_bite_neutral.wav is so misspelt
            "emotion": {
                "angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happiness", "neutral": "neutral",
                "ps": "surprise", "sad": "sadness",
            },
        },
        lambda cells: {"sex": "female", "age": "64" if cells["speaker"] == "OAF" else "26"},
    ),
)  # fmt: skip
