"""Formats in which others hand corpora on: EmoBox's folds, audformat, Kaldi, and the audio folders of `datasets`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.core.errors import InputError
from toolkit.corpus import cells as of_cells
from toolkit.corpus.layouts.row import NO_AUDIO, SPLITS, Cells, Corpus, Layout

EMOBOX_FILE = re.compile(r"_(?P<part>train|valid|test)_fold_(?P<fold>[0-9]+)")


def _json_lines(file: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line) if line.strip() else None
        except ValueError as error:
            raise InputError(f"{file.name}, line {number}: no JSON: {error}") from None
        if row is not None and not isinstance(row, dict):
            raise InputError(f"{file.name}, line {number}: expected an object")
        if row:
            yield row


def _emobox(corpus: Corpus) -> Iterator[Cells]:
    """Of several folds the number in whose test part a clip is; of a single one its part."""
    files = sorted(corpus.root.rglob("*_fold_*.jsonl"))
    folds = {match["fold"] for file in files if (match := EMOBOX_FILE.search(file.stem))}
    if not folds:
        raise InputError(
            f"No *_test_fold_1.jsonl below {corpus.root.resolve().name}/; give EmoBox's folder of a corpus"
        )
    for file in files:
        match = EMOBOX_FILE.search(file.stem)
        if not match or (len(folds) > 1 and match["part"] != "test"):
            continue
        for row in _json_lines(file):
            if not {"wav", "emo"} <= row.keys():
                raise InputError(f"{file.name}: a row has no wav or no emo; expected EmoBox's keys")
            path = corpus.finder.find(str(row["wav"]))
            if path is None:
                corpus.pass_over(NO_AUDIO)
                continue
            split = match["fold"] if len(folds) > 1 else SPLITS[match["part"]]
            yield {"id": str(row.get("key", path)), "path": path, "split": split, "emotion": str(row["emo"])}


def _kaldi(corpus: Corpus) -> Iterator[Cells]:
    """wav.scp; and, where they are there, segments, utt2spk, text, and any other utt2NAME as the column NAME."""
    scp, rates = _pairs(corpus.root / "wav.scp"), {"dur", "num_frames", "uniq"}
    segments, folder = corpus.root / "segments", corpus.root
    if not scp:
        raise InputError(f"There is no wav.scp with recordings in {folder.resolve().name}/")
    turns = _pairs(segments) if segments.is_file() else {name: name for name in scp}
    more = {path.name.removeprefix("utt2"): _pairs(path) for path in sorted(folder.glob("utt2*"))
            if path.name.removeprefix("utt2") not in rates}  # fmt: skip
    more = {"speaker" if name == "spk" else name: column for name, column in more.items()}
    if (folder / "text").is_file():
        more["text"] = _pairs(folder / "text")
    for utterance, segment in turns.items():
        recording, *times = segment.split()
        source = scp.get(recording, "")
        if source.endswith("|"):
            raise InputError(f"wav.scp: {recording} is a command's output; write it to a file and name that")
        path = corpus.finder.find(source)
        if path is None:
            corpus.pass_over(NO_AUDIO)
            continue
        found = {"id": utterance, "path": path}
        if times:
            if len(times) != 2:
                raise InputError(f"segments: {utterance} {segment}: expected recording, start and end (seconds)")
            found |= {"recording": recording, "start": times[0], "end": times[1]}
        yield found | {name: column.get(utterance, "") for name, column in more.items()}


def _pairs(file: Path) -> dict[str, str]:
    """Of each line its first word and the rest. Raises InputError for a file that is not there."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{file.name} cannot be read: {error}") from None
    return {parts[0]: parts[1].strip() for line in lines if len(parts := line.split(maxsplit=1)) == 2}


def _audformat(corpus: Corpus) -> Iterator[Cells]:
    """All tables of db.yaml side by side: a row of a file's table says it of all segments of that file."""
    import yaml

    header = corpus.file("db.yaml")
    try:
        described = yaml.safe_load(header.read_text(encoding="utf-8"))
        tables: dict[str, Any] = described["tables"]
        parts = {name: split["type"] for name, split in (described.get("splits") or {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise InputError(f"{header.name} describes no audformat database: {type(error).__name__}") from None
    of_files: dict[str, Cells] = {}
    of_segments: dict[tuple[str, str, str], Cells] = {}
    for name, table in tables.items():
        part = parts.get(table.get("split_id", ""), "")
        for row in corpus.table(header.parent / f"db.{name}.csv", "file"):
            file, start, end = row.pop("file"), _seconds(row.pop("start", "")), _seconds(row.pop("end", ""))
            whole = not start and not end
            labels = of_files.setdefault(file, {}) if whole else of_segments.setdefault((file, start, end), {})
            labels |= {column: cell for column, cell in row.items() if cell}
            if part:
                labels["split"] = SPLITS.get(part, part)
    for (file, start, end), cells in (of_segments or {(file, "", ""): {} for file in of_files}).items():
        path = corpus.finder.find(file)
        if path is None:
            corpus.pass_over(NO_AUDIO)
            continue
        yield {"path": path, **({"start": start} if start else {}), **({"end": end} if end else {}),
               **of_files.get(file, {}), **cells}  # fmt: skip


def _seconds(text: str) -> str:
    """audformat's times are pandas's, 0 days 00:00:01.5."""
    value = of_cells.seconds(text)
    return "" if value is None else of_cells.written(value)


def _audio_folder(corpus: Corpus) -> Iterator[Cells]:
    """metadata.csv or .jsonl next to the audio, or in a folder for each part of the split."""
    files = sorted([*corpus.root.rglob("metadata.csv"), *corpus.root.rglob("metadata.jsonl")])
    if not files:
        raise InputError(
            f"No metadata.csv or metadata.jsonl below {corpus.root.resolve().name}/; of parquet files take "
            "the layout parquet"
        )
    for file in files:
        rows = corpus.table(file, "file_name") if file.suffix == ".csv" else _json_lines(file)
        below = file.parent.relative_to(corpus.root).as_posix()
        split = next((SPLITS[part] for part in below.split("/") if part in SPLITS), "")
        for row in rows:
            named = {name: "" if value is None else str(value) for name, value in row.items()}
            path = corpus.finder.find(f"{below}/{named.pop('file_name', '')}")
            if path is None:
                corpus.pass_over(NO_AUDIO)
                continue
            yield {"path": path, **({"split": split} if split else {}), **named}


EMOBOX = Layout(
    "EmoBox's folds of a corpus: the folder with fold_1/ ..., below which, or whose paths, the audio is found",
    "Ma et al. 2024 (Interspeech), EmoBox",
    _emobox,
)
KALDI = Layout(
    "Kaldi's data folder: wav.scp, and segments, utt2spk, utt2emo ... where they are there",
    "Kaldi's documentation, Data preparation",
    _kaldi,
)
AUDFORMAT = Layout(
    "audformat: the folder of db.yaml, its tables as CSV and its audio", "audformat's documentation", _audformat
)
AUDIO_FOLDER = Layout(
    "An audio folder of Hugging Face datasets: metadata.csv or .jsonl with file_name",
    "datasets' documentation, AudioFolder",
    _audio_folder,
)
