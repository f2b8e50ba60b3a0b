"""All layouts by name. An installed package adds one by the entry point group `speech_layer_toolkit.layouts`."""

from toolkit.core.registry import Registry
from toolkit.corpus.layouts.row import Layout

_ROOM = "toolkit.corpus.layouts"
LAYOUTS = Registry(
    "layout",
    "layouts",
    Layout,
    {
        "casia": f"{_ROOM}.acted:CASIA",
        "ch-sims": f"{_ROOM}.conversation:CH_SIMS",
        "crema-d": f"{_ROOM}.acted:CREMAD",
        "emodb": f"{_ROOM}.acted:EMODB",
        "esd": f"{_ROOM}.acted:ESD",
        "iemocap": f"{_ROOM}.conversation:IEMOCAP",
        "m3ed": f"{_ROOM}.conversation:M3ED",
        "mead": f"{_ROOM}.acted:MEAD",
        "meld": f"{_ROOM}.conversation:MELD",
        "msp-podcast": f"{_ROOM}.conversation:MSP_PODCAST",
        "ravdess": f"{_ROOM}.acted:RAVDESS",
        "savee": f"{_ROOM}.acted:SAVEE",
        "tess": f"{_ROOM}.acted:TESS",
        "androids-interview": f"{_ROOM}.clinical:ANDROIDS_INTERVIEW",
        "androids-reading": f"{_ROOM}.clinical:ANDROIDS_READING",
        "daic-woz": f"{_ROOM}.clinical:DAIC_WOZ",
        "eatd": f"{_ROOM}.clinical:EATD",
        "modma": f"{_ROOM}.clinical:MODMA",
        "audformat": f"{_ROOM}.formats:AUDFORMAT",
        "audio-folder": f"{_ROOM}.formats:AUDIO_FOLDER",
        "emobox": f"{_ROOM}.formats:EMOBOX",
        "kaldi": f"{_ROOM}.formats:KALDI",
        "parquet": f"{_ROOM}.parquet:PARQUET",
    },
)
