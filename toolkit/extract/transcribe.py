"""The stage `transcribe`: what a local Whisper writes of each clip, into a store of transcripts."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.audio.decode import NEAR_SILENCE, SAMPLE_RATE
from toolkit.core.artifacts import cores, sha256_of_file
from toolkit.core.errors import InputError, one_of
from toolkit.core.progress import Advance
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.place import Place
from toolkit.extract.filled import fill
from toolkit.extract.options import CHANGED, Filling, TranscribeOptions
from toolkit.extract.plan import Plan as Work
from toolkit.extract.run import Extraction
from toolkit.features import texts
from toolkit.features.loading import decode_all
from toolkit.features.shard import ClipRecord, FailedRecord, ShardContent
from toolkit.features.store import Store, create
from toolkit.models.checkpoint import Checkpoint, locate
from toolkit.models.files import TEXT_FILES
from toolkit.models.load import choose_device
from toolkit.models.transcriber import Transcriber, check

UNENDED = "unended"  # flag of a transcript that the model did not bring to an end: often one word over and over
PER_SHARD = 32  # clips: what a run that is killed loses at most


@dataclass(frozen=True)
class Writing:
    """A Whisper that writes; see `filled.Filler`."""

    checkpoint: Checkpoint
    language: str
    device: str

    @property
    def name(self) -> str:
        return self.checkpoint.name

    def corpus(self, manifest: Manifest) -> Manifest:
        return manifest

    def store(self, features: Path, options: TranscribeOptions) -> Store:
        return create(features, self.name, (texts.LAYER,), 1, self._settings(options))

    def _settings(self, options: TranscribeOptions) -> dict[str, Any]:
        """Everything that changes the texts."""
        folder = self.checkpoint.folder
        return {
            "weights_sha256": self.checkpoint.weights_sha256,
            "tokens": {file: sha256_of_file(folder / file) for file in TEXT_FILES if (folder / file).is_file()},
            "language": self.language,
            "decoding": "greedy, no timestamps, windows of 30 s, each alone, float32",
            "layers": [texts.LAYER],
            "statistics": ["mean"],
            "frames": [texts.LAYER],
            "preprocessing": f"mono, {SAMPLE_RATE} Hz by soxr HQ, the checkpoint's own preprocessor for each clip",
            **({"windows": asdict(options.windows)} if options.windows else {}),
        }

    def shards(
        self, manifest: Manifest, todo: Work, options: Filling, say: Callable[[str], None], advance: Advance
    ) -> Generator[ShardContent, None, None]:
        """A near-silent clip fails, for a Whisper makes up words in silence; where it finds none, the text is empty."""
        device = choose_device(self.device)
        transcriber = Transcriber(self.checkpoint, device, self.language)
        say(f"{self.name} on {device}, float32, greedy, language {self.language}")
        every = (clip for clips in todo.shards for clip in clips)
        parts = [clips[start : start + PER_SHARD] for clips in todo.shards for start in range(0, len(clips), PER_SHARD)]
        with closing(decode_all(manifest, every, options.workers or cores())) as decoded:
            for clips in parts:
                records: list[ClipRecord] = []
                failed: list[FailedRecord] = []
                written: list[str] = []
                for _ in clips:
                    item = next(decoded)
                    if item.audio is None or "near-silent" in item.audio.flags:
                        silent = f"is near-silent (standard deviation below {NEAR_SILENCE:g}): there is nothing to hear"
                        failed.append(FailedRecord(item.clip.id, item.source, item.reason or silent))
                    else:
                        text, ended = transcriber.write(item.audio.samples)
                        flags = (*item.record.flags, *([] if ended else [UNENDED]))
                        records.append(replace(item.record, flags=flags))
                        written.append(text)
                    advance(1, item.seconds)
                yield texts.content(records, written, failed)


@dataclass(frozen=True)
class Plan:
    """A transcription that nothing refuses."""

    place: Place
    options: TranscribeOptions
    corpus: Manifest
    writing: Writing

    def run(self) -> Extraction:
        """Write what is missing. Started again, it resumes.

        Raises:
            DiskFullError: where there is no space; what was committed stays.
        """
        place = self.place
        folder = place.features / texts.FOLDER
        return fill(self.corpus, self.writing, folder, self.options, place.say, place.bar, "transcribe")


def plan(place: Place, options: TranscribeOptions) -> Plan:
    """Everything that can be refused of a transcription; no model is loaded.

    Raises:
        InputError: for a manifest or a language that does not fit, or a backbone that writes no text.
        CheckpointError: for a backbone that is not there, or lacks its tokenizer.
    """
    choose_device(options.device)
    if options.changed not in CHANGED:
        raise InputError(one_of("--changed", options.changed, CHANGED))
    _ = options.windows
    checkpoint = locate(options.model, place.models)
    check(checkpoint, options.language)
    corpus = place.corpus(cells=False)
    return Plan(place, options, corpus, Writing(checkpoint, options.language, options.device))
