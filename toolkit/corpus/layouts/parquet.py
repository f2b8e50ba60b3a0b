"""A folder of Hugging Face's datasets as parquet, whose audio is bytes in the tables, or paths.

A column of audio is what `datasets` stores: bytes and path. Bytes become files in the folder that the user named, one
for each row, and nothing is written before one is named.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.audio.decode import SUFFIXES
from toolkit.core.errors import InputError, MachineError
from toolkit.corpus import manifest
from toolkit.corpus.layouts.row import NO_AUDIO, SPLITS, Cells, Corpus, Layout

ROWS = 64  # read at a time: each may hold minutes of audio
HEADS = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3", b"\xff\xfb": ".mp3", b"\xff\xf3": ".mp3"}
SPEAKERS = ("speaker", "speaker_id", "client_id", "spk_id")
TEXTS = ("text", "sentence", "transcription", "transcript", "normalized_text", "raw_text", "raw_transcription")
# What these columns mean elsewhere is not known.
OURS = ("path", "channel", manifest.RECORDING, "start", "end", "split")


def _read(corpus: Corpus) -> Iterator[Cells]:
    files = sorted(path for path in corpus.root.rglob("*.parquet") if not path.name.startswith("."))
    if not files:
        raise InputError(f"No .parquet file below {corpus.root.resolve().name}/; expected a folder of datasets")
    for file in files:
        below = file.relative_to(corpus.root)
        parts = (*below.parts[:-1], *below.stem.split("-"))
        split = next((SPLITS[part] for part in parts if part in SPLITS), "")
        for number, (audio, cells) in enumerate(_rows(file)):
            path = _path(corpus, below, number, audio)
            if path is None:
                corpus.pass_over(NO_AUDIO)
                continue
            yield {"path": path, **({"split": split} if split else {}), **cells}


def _rows(file: Path) -> Iterator[tuple[Mapping[str, Any], Cells]]:
    """The audio and the other cells of each row."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise MachineError(
            f"{file.name} is read by pyarrow, which is not installed; `pip install 'speech-layer-toolkit[parquet]'` "
            "adds it"
        ) from None
    try:
        with parquet.ParquetFile(file) as table:
            schema = table.schema_arrow
            (audio,) = _audio_columns(file, schema)
            labels = _labels(schema.metadata or {})
            names = [name for name in schema.names if name not in (audio, *OURS)]
            for batch in table.iter_batches(ROWS, columns=[audio, *names]):
                for row in batch.to_pylist():
                    yield row.pop(audio) or {}, dict(_cells(row, labels))
    except (ArrowException, OSError, ValueError) as error:
        raise InputError(f"{file.name} cannot be read as parquet: {str(error).splitlines()[0][:200]}") from None


def _audio_columns(file: Path, schema: Any) -> list[str]:
    """The one column of bytes and path. Raises InputError for none and for several."""
    found = [
        field.name
        for field in schema
        if field.type.num_fields
        and {"bytes", "path"} <= {field.type.field(at).name for at in range(field.type.num_fields)}
    ]
    if len(found) != 1:
        holds = f"several columns of audio, {found}" if found else f"no column of audio among {list(schema.names)}"
        raise InputError(f"{file.name} has {holds}; expected one with bytes and path, as datasets' Audio has")
    return found


def _labels(metadata: Mapping[bytes, bytes]) -> dict[str, Sequence[str]]:
    """By column, the names that its numbers mean."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {name: feature["names"] for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
    except (KeyError, ValueError, TypeError, AttributeError):  # a table that datasets did not write
        return {}


def _cells(row: Mapping[str, Any], labels: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """What a manifest can hold of a row; lists and the like are left out."""
    columns = {name: "speaker" for name in [one for one in SPEAKERS if row.get(one) is not None][:1]}
    columns |= {name: manifest.TEXT for name in [one for one in TEXTS if isinstance(row.get(one), str)][:1]}
    for name, value in row.items():
        if name in labels and type(value) is int:
            value = labels[name][value] if 0 <= value < len(labels[name]) else None  # -1 is datasets' "not known"
        if isinstance(value, bool):
            value = int(value)
        if name in TEXTS and name not in columns:
            continue
        if value is None or isinstance(value, str | int | float):
            yield columns.get(name, name), "" if value is None else str(value)


def _path(corpus: Corpus, file: Path, number: int, audio: Mapping[str, Any]) -> str | None:
    """Of a row's audio, from the root; or from the folder that its bytes are written to."""
    content, name = audio.get("bytes"), str(audio.get("path") or "")
    if content is None and not name:
        return None
    if content is None:
        if corpus.write_audio is not None:
            raise InputError(f"{file.name}, row {number + 1}: a path, and no audio to write; leave out --write-audio")
        return corpus.finder.find(name)
    if corpus.write_audio is None:
        raise InputError(
            f"{file.name} holds the audio itself, and a manifest names files; say where to write them: --write-audio "
            "FOLDER"
        )
    suffix = next((suffix for head, suffix in HEADS.items() if content.startswith(head)), Path(name).suffix.lower())
    if suffix not in SUFFIXES:
        return None
    path = corpus.write_audio / file.with_suffix("") / f"{number:06d}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path.relative_to(corpus.write_audio).as_posix()


PARQUET = Layout(
    "Parquet files of Hugging Face datasets, one column with bytes and path; bytes need --write-audio FOLDER",
    "datasets' documentation, Load audio data and the Audio feature",
    _read,
    holds_audio=True,
)
