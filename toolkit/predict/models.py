"""The models that a run kept, as what predicts clips: probes on features, or fine-tuned backbones on audio."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from toolkit.audio.clip import Clip
from toolkit.core.errors import CheckpointError, InputError
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.place import Place
from toolkit.extract.options import Options
from toolkit.extract.run import extract
from toolkit.features.store import Store
from toolkit.finetune.apply import apply as apply_tuned
from toolkit.finetune.apply import of_run as tuned_of_run
from toolkit.finetune.audio_cache import Recordings
from toolkit.models.checkpoint import locate
from toolkit.predict.inference import Applied, Assignment, assign, assign_final, together
from toolkit.probe import winners
from toolkit.probe.apply import Joined, of_run, stored
from toolkit.result.clips import read_clips
from toolkit.result.run import Run

Said = tuple[list[str], Applied, dict[str, str]]  # ids, what is predicted of them, reasons where more clips failed


class Models(Protocol):
    """A run's models."""

    def ask(self, corpus: Manifest, recordings: Recordings, only: int | None, features: Path) -> Said:
        """Predict the clips that could be decoded.

        only: the round for clips that are new to the run, None for the mean of all. features: a folder for what is
        extracted now; the caller deletes it. Raises InputError where no clip is left.
        """
        ...


def of(folder: Path, run: Run, place: Place, device: str, final: bool = False) -> Models:
    """final: one probe, fitted now on all of the run's clips.

    Raises StoreError where the run kept none, CheckpointError for another backbone, InputError for a final model of a
    run that has none.
    """
    if final and run.tuned:
        raise InputError(f"--final fits a probe on all clips; {folder.name} is fine-tuned, its rounds' models are used")
    return Probes(folder, run, place, device, final) if not run.tuned else Tuned(folder, run, place, device)


class Tuned:
    """The fine-tuned models of a run."""

    def __init__(self, folder: Path, run: Run, place: Place, device: str) -> None:
        self.folder, self.run, self.place, self.device = folder, run, place, device
        self.checkpoint = locate(run.backbone, place.models)
        self.kept = tuned_of_run(folder, run, self.checkpoint)

    def ask(self, corpus: Manifest, recordings: Recordings, only: int | None, features: Path) -> Said:
        ids = [clip.id for clip in corpus.clips if clip.id in recordings.sha256]
        _left(ids, recordings.failed)
        assigned = _assigned(self.folder, self.run, ids, recordings, only, self.place)
        asked = sum(map(len, assigned.rows))
        with self.place.bar("predict", asked, "clips") as advance:
            found = apply_tuned(
                self.run.task, self.kept, self.checkpoint, recordings, ids, assigned.rows, self.device, advance
            )
        return ids, together(self.run.task, assigned, self.kept, found), {}


class Probes:
    """The probes that a run kept, or one that is fitted now on all of its clips, on features of its own store, or
    extracted now as those were."""

    def __init__(self, folder: Path, run: Run, place: Place, device: str, final: bool) -> None:
        self.folder, self.run, self.place, self.device, self.final = folder, run, place, device, final
        self.winners = of_run(folder, run)
        if final:
            from toolkit.probe.estimator import fitted  # which loads scikit-learn

            self.winners = [fitted(folder, run).winner]

    def ask(self, corpus: Manifest, recordings: Recordings, only: int | None, features: Path) -> Said:
        store, before = stored(self.run, self.place.features, recordings.sha256)
        missing = [clip for clip in corpus.clips if clip.id in recordings.sha256 and clip.id not in before]
        parts = [(store, before)] if store and before else []
        failed: dict[str, str] = {}
        if missing:
            new = self._extract(corpus, missing, features)
            failed = {clip.id: new.failed[clip.id] for clip in missing if clip.id in new.failed}
            parts.append((new, {clip.id: clip.id for clip in missing if clip.id not in failed}))
        found = {clip for _, own in parts for clip in own}
        ids = [clip.id for clip in corpus.clips if clip.id in found]
        _left(ids, {**recordings.failed, **failed})
        assigned = _assigned(self.folder, self.run, ids, recordings, only, self.place, self.final)
        joined = Joined(parts)
        rows = [joined.rows_of([ids[row] for row in own]) for own in assigned.rows]
        probability = winners.apply(joined, self.winners, rows)
        return ids, together(self.run.task, assigned, self.winners, probability), failed

    def _extract(self, corpus: Manifest, clips: Sequence[Clip], features: Path) -> Store:
        """With the layers that the winners read."""
        settings = self.run.provenance["features"]
        checkpoint = locate(self.run.backbone, self.place.models)
        if checkpoint.weights_sha256 != settings["weights_sha256"]:
            raise CheckpointError(
                f"The checkpoint {checkpoint.name} has other weights than those that {self.folder.name} probed"
            )
        needed = {layer for winner in self.winners for layer in winner.layers}
        decoder = any(layer.startswith("decoder.") for layer in needed)
        numbers = [int(layer.removeprefix("encoder.")) for layer in needed if layer.startswith("encoder.")]
        options = Options(
            dtype=settings["dtype"],
            context=settings["context"] if checkpoint.backbone.decoder_layers else "full",
            decoder=decoder,
            layers=None if decoder else f"{min(numbers)}-{max(numbers)}",
            device=self.device,
        )
        picked = replace(corpus, clips=tuple(clips))
        return extract(picked, checkpoint, features, options, self.place.say, self.place.bar).store


def _assigned(
    folder: Path,
    run: Run,
    ids: Sequence[str],
    recordings: Recordings,
    only: int | None,
    place: Place,
    final: bool = False,
) -> Assignment:
    """Which rounds' models each clip is for; said."""
    clips = [(clip, recordings.sha256[clip]) for clip in ids]
    if final:
        assigned = assign_final(run, read_clips(folder), clips)
        place.say(f"one probe, fitted on all {len(run.folds.ids):,} clips of {folder.name}: what it scores on new "
                  "callers was not measured, that of the rounds' models was")  # fmt: skip
        if assigned.heard:
            place.say(
                f"{len(assigned.heard):,} of {len(ids):,} clips taught it: its predictions for them are optimistic"
            )
        return assigned
    assigned = assign(run, read_clips(folder), clips, only)
    own = int((assigned.own >= 0).sum())
    if own:
        place.say(f"{own:,} of {len(ids):,} clips are the run's own; each gets the model that was not taught by it")
    if assigned.heard:
        place.say(
            f"{len(assigned.heard):,} of them taught or chose the only model there is: its predictions are optimistic"
        )
    if own < len(ids):
        which = f"the mean of {len(assigned.folds)} rounds' models" if only is None else f"the model of round {only}"
        place.say(f"{len(ids) - own:,} clips are new to the run; they get {which}")
    return assigned


def _left(ids: Sequence[str], failed: Mapping[str, str]) -> None:
    if not ids:
        clip, reason = next(iter(failed.items()))
        raise InputError(f"None of {len(failed):,} clips can be predicted; the first, {clip!r}, {reason}")
