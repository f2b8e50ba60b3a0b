"""What is said in a clip: the cells of a column, or transcripts, which are a store of their own kind.

A store of transcripts keeps the UTF-8 bytes of each text as "frames" of width 1 (float16 holds 0 to 255 to the bit), so
that locks, hashes, damage, purges and changed recordings are seen to as in every other store. It is a folder deeper
than stores of features, which nothing that probes looks into.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.errors import InputError, StoreError
from toolkit.corpus.manifest import TEXT, Manifest
from toolkit.features.finding import find, stores
from toolkit.features.shard import ClipRecord, FailedRecord, ShardContent
from toolkit.features.store import Store

FOLDER = "transcripts"  # in features/
LAYER = "text.0"  # its mean is the number of characters


def with_texts(manifest: Manifest, texts: Sequence[str]) -> Manifest:
    """The same clips, each with its text, without the spaces around it."""
    clips = tuple(replace(clip, text=text.strip()) for clip, text in zip(manifest.clips, texts, strict=True))
    return replace(manifest, clips=clips)


def content(records: Sequence[ClipRecord], texts: Sequence[str], failed: Sequence[FailedRecord]) -> ShardContent:
    """A shard of transcripts, one a record."""
    encoded = [text.encode() for text in texts]
    return ShardContent(
        tuple(records),
        tuple(failed),
        {"mean": np.array([len(text) for text in texts], np.float32).reshape(1, len(texts), 1)},
        {LAYER: np.frombuffer(b"".join(encoded), np.uint8).astype(np.float32)[:, None]},
        np.array([len(one) for one in encoded], dtype=np.int64),
        exact=True,
    )


def transcripts(store: Store) -> dict[str, str]:
    """The texts of a store of them, by clip. Raises StoreError for a damaged one."""
    return {clip: values[:, 0].astype(np.uint8).tobytes().decode() for clip, values in store.frames(LAYER)}


def every_store(features: Path) -> list[Store]:
    """The stores of features, and those of transcripts. Raises StoreError for a damaged one."""
    return [*stores(features), *stores(features / FOLDER)]


def named(features: Path, name: str) -> Store:
    """`store.find`, where transcripts/NAME is one of transcripts. Raises StoreError."""
    folder, _, name_there = name.rpartition("/")
    return find(features / FOLDER, name_there) if folder == FOLDER else find(features, name)


def source_of(columns: Sequence[str], features: Path, wanted: str | None) -> str | Store:
    """Where texts are read: a column's name, or a store of transcripts.

    wanted: what `--text` names; None for the column `text`, where there is one, else the only transcripts. Raises
    InputError where there is none, or several.
    """
    column = TEXT if wanted is None else wanted
    if column in columns:
        return column
    try:
        return find(features / FOLDER, wanted or "")
    except StoreError as error:
        several = str(error).startswith("Several")
        if several and wanted is None:
            names = sorted(store.folder.name for store in stores(features / FOLDER))
            raise InputError(f"Several transcripts in features/{FOLDER}/: name one, as --text {names[0]}") from None
        if several:
            raise InputError(str(error).replace("--model", "--text")) from None
    raise InputError(
        f"No text: the manifest has no column {column!r}, and features/{FOLDER}/ no transcripts"
        f"{'' if wanted is None else f' of {wanted!r}'}; add the column, or `toolkit transcribe --model whisper-small "
        "--language zh` makes some"
    )


def stated(source: str | Store) -> Mapping[str, Any]:
    """What the settings of a text encoder's store say of where its texts were read."""
    if isinstance(source, str):
        return {"column": source}
    return {"transcripts": source.folder.name, "signature": source.signature}
