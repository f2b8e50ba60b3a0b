"""`toolkit extract` of an encoder of text: what is said in each clip, every layer, pooled over its tokens."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from toolkit.core.artifacts import cores
from toolkit.core.errors import InputError
from toolkit.core.progress import Advance
from toolkit.corpus.manifest import Manifest
from toolkit.extract.options import Filling, Options
from toolkit.extract.pipeline import UNBATCHED
from toolkit.extract.plan import Plan, plan
from toolkit.features import texts
from toolkit.features.loading import decode_all
from toolkit.features.shard import ClipRecord, FailedRecord, ShardContent
from toolkit.features.store import Store, create, folder_of
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.generic import BOUND, PROOF_CLIPS
from toolkit.models.load import choose_device
from toolkit.models.proof import relative_error
from toolkit.models.text import TextEncoder, Tokens, layer_names

CUT = "cut-text"  # flag of a clip whose text is longer than its encoder takes; see `material.FLAGS`
PROOF = f"when loaded {PROOF_CLIPS} random texts, then one a shard, against each alone: every layer within {BOUND:g}"


@dataclass(frozen=True)
class TextBackbone:
    """An encoder of text, and where it reads; see `filled.StandIn`. source: a column, or a store of transcripts."""

    checkpoint: Checkpoint
    source: str | Store
    device: str
    cut: bool
    untuned: ClassVar[str] = "reads text, and only models of speech are fine-tuned"
    idle: ClassVar[str] = "reads text, every layer in float32, in this process"

    @property
    def name(self) -> str:
        return self.checkpoint.name

    def corpus(self, manifest: Manifest) -> Manifest:
        """Each clip with its text, "" where there is none. Raises InputError for clips without a current transcript."""
        if isinstance(self.source, str):
            if any(clip.recording for clip in manifest.clips):
                raise InputError(
                    f"--window: a cell of the column {self.source!r} is of a whole row, and tells no times; "
                    "transcripts of the same windows can be read: `toolkit transcribe` with the same --window"
                )
            return texts.with_texts(manifest, manifest.cells(self.source))
        if missing := plan(manifest, self.source).missing:
            raise InputError(
                f"{missing:,} of {len(manifest.clips):,} clips have no transcript in {self.source.folder.name}; make "
                "them first, with the same `toolkit transcribe`, or add a column text"
            )
        known = texts.transcripts(self.source)
        return texts.with_texts(manifest, [known.get(clip.id, "") for clip in manifest.clips])

    def store(self, features: Path, options: Options) -> Store:
        width = self.checkpoint.backbone.width
        return create(features, self.name, layer_names(self.checkpoint), width, self._settings(options))

    def folder(self, features: Path, options: Options) -> Path:
        return folder_of(features, self.name, self._settings(options))

    def _settings(self, options: Options) -> dict[str, Any]:
        """Everything that changes the numbers."""
        return {
            "weights_sha256": self.checkpoint.weights_sha256,
            "family": self.checkpoint.backbone.family,
            "text": {**texts.stated(self.source), **({"longer": "cut"} if self.cut else {})},
            "layers": list(layer_names(self.checkpoint)),
            "dtype": "float32",
            "preprocessing": "the checkpoint's own tokenizer for each text, without the spaces around it",
            "pooling": "mean and population std over the text's own tokens, special ones included, float32",
            "batches": {"proof": PROOF},
            **({"windows": asdict(options.windows)} if options.windows else {}),
        }

    def shards(
        self, manifest: Manifest, todo: Plan, options: Filling, say: Callable[[str], None], advance: Advance
    ) -> Generator[ShardContent, None, None]:
        """A clip without text fails, and so does one with a longer text than there are positions for, unless it is cut.

        The audio is decoded for its hash, by which leaks between folds and changed recordings are found.
        """
        encoder = TextEncoder(self.checkpoint, choose_device(self.device))
        how = "in padded batches by the model's own mask" if encoder.mode == "masked" else "one by one"
        say(
            f"{self.name} in float32: texts run {how}; {PROOF_CLIPS} in batches were off by {encoder.worst:.1e} at most"
        )
        every = (clip for clips in todo.shards for clip in clips)
        with closing(decode_all(manifest, every, options.workers or cores())) as decoded:
            for clips in todo.shards:
                records: list[ClipRecord] = []
                failed: list[FailedRecord] = []
                read: list[Tokens] = []
                for _ in clips:
                    item = next(decoded)
                    found = item.reason if item.audio is None else self._read(encoder, item.clip.text or "")
                    advance(1, item.seconds)
                    if isinstance(found, str):
                        failed.append(FailedRecord(item.clip.id, item.source, found))
                        continue
                    ids = encoder.cut(found)
                    flags = (*item.record.flags, *([CUT] if len(ids) < len(found) else []))
                    records.append(replace(item.record, flags=flags))
                    read.append(ids)
                yield self._shard(encoder, records, failed, read)

    def _read(self, encoder: TextEncoder, text: str) -> Tokens | str:
        """Its tokens, or the reason why it is not read."""
        if not text:
            where = f"in the column {self.source!r}" if isinstance(self.source, str) else "in its transcript"
            return f"has no text {where}"
        ids = encoder.tokens(text)
        if len(ids) > encoder.longest and not self.cut:
            return (
                f"has a text of {len(ids):,} tokens, {self.name} takes {encoder.longest:,}; --cut-text takes the first"
            )
        return ids

    @staticmethod
    def _shard(
        encoder: TextEncoder, records: list[ClipRecord], failed: list[FailedRecord], read: list[Tokens]
    ) -> ShardContent:
        if read:
            statistics = encoder.pooled(read)
            place = len(read) // 2
            alone = encoder.pooled([read[place]])["mean"][:, 0]
            pairs = zip(map(torch.from_numpy, statistics["mean"][:, place]), map(torch.from_numpy, alone))
            if max(relative_error(*pair) for pair in pairs) > BOUND:  # one by one then
                each = [encoder.pooled([ids]) for ids in read]
                statistics = {name: np.concatenate([one[name] for one in each], axis=1) for name in statistics}
                records = [replace(record, flags=(*record.flags, UNBATCHED)) for record in records]
        else:
            empty: npt.NDArray[np.float32] = np.empty((len(encoder.layer_names), 0, encoder.width), np.float32)
            statistics = {"mean": empty, "std": empty}
        return ShardContent(tuple(records), tuple(failed), statistics)
