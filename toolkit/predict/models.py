"""The models that a run kept, as what predicts clips: probes on features, or fine-tuned backbones on audio."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from toolkit.audio.clip import Clip
from toolkit.core.artifacts import CODE_SETTING
from toolkit.core.errors import CheckpointError, InputError, MachineError
from toolkit.core.i18n import ENGLISH
from toolkit.corpus.labels import FloatArray
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.place import Place
from toolkit.corpus.units import Units
from toolkit.extract.acoustic.run import check
from toolkit.extract.filled import Filler, fill
from toolkit.extract.options import Options
from toolkit.extract.run import extract
from toolkit.extract.text import TextBackbone
from toolkit.features.fused import View
from toolkit.features.shard import mark
from toolkit.features.store import Store
from toolkit.features.texts import source_of
from toolkit.features.units import Gathered
from toolkit.finetune.audio_cache import Recordings
from toolkit.models.checkpoint import locate
from toolkit.models.load import choose_device
from toolkit.models.own_code import locate_or_run
from toolkit.models.precision import nearest
from toolkit.predict.inference import Applied, Assignment, assign, assign_final, assign_units, together
from toolkit.probe import winners
from toolkit.probe.apply import Joined, Origin, of_run, origins_of, stored
from toolkit.probe.data import Layers
from toolkit.probe.unit_weights import shares_of
from toolkit.result.clips import read_clips
from toolkit.result.run import Run
from toolkit.result.units import read as read_units


@dataclass(frozen=True)
class Output:
    """ids: of clips or units, and applied: what is predicted of them. failed: reasons where more clips failed.

    clips: of each unit, in the order of ids, and weights: of each of these, NaN where the probe weighs none.
    """

    ids: list[str]
    applied: Applied
    failed: dict[str, str]
    clips: Sequence[tuple[str, ...]] = ()
    weights: Sequence[FloatArray] = ()


class Models(Protocol):
    """A run's models."""

    def texts(self, corpus: Manifest) -> Mapping[str, Mapping[str, str]]:
        """What is said in each clip, by the store that read it. Raises InputError where the corpus has no text."""
        ...

    def predict(
        self, corpus: Manifest, recordings: Recordings, only: int | None, features: Path, units: Units | None = None
    ) -> Output:
        """Predict the clips that could be decoded, or the units that have any.

        only: the round for clips that are new to the run, None for the mean of all. features: a folder for what is
        extracted now; the caller deletes it. Raises InputError where no clip is left.
        """
        ...


def of(folder: Path, run: Run, place: Place, device: str, final: bool = False, own_code: str | None = None) -> Models:
    """final: one probe, fitted now on all of the run's clips. own_code: FILE.py:FACTORY, which made its features.

    Raises StoreError where the run kept none, CheckpointError for another backbone, InputError for a final model of a
    run that has none.
    """
    if final and run.tuned:
        raise InputError(f"--final fits a probe on all clips; {folder.name} is fine-tuned, its rounds' models are used")
    if not run.tuned:
        return Probes(folder, run, place, device, final, own_code)
    check_own_code_option(own_code, {}, folder.name)
    return Tuned(folder, run, place, device)


def check_own_code_option(own_code: str | None, made: Mapping[str, Any], run: str) -> None:
    """Raises InputError for a file of code where no features were made by one. made: settings of the run's features."""
    if own_code and CODE_SETTING not in made:
        raise InputError(f"--own-code has no effect on {run}, whose features no file of your own made")


class Tuned:
    """The fine-tuned models of a run."""

    def __init__(self, folder: Path, run: Run, place: Place, device: str) -> None:
        self.folder, self.run, self.place, self.device = folder, run, place, device
        self.checkpoint = locate(run.backbone, place.models)
        from toolkit.finetune import apply  # which loads transformers' Trainer

        self.apply, self.kept = apply.apply, apply.of_run(folder, run, self.checkpoint)

    def texts(self, corpus: Manifest) -> Mapping[str, Mapping[str, str]]:
        return {}

    def predict(
        self, corpus: Manifest, recordings: Recordings, only: int | None, features: Path, units: Units | None = None
    ) -> Output:
        assert units is None  # `finetune.origin` refuses a run on units
        ids = [clip.id for clip in corpus.clips if clip.id in recordings.sha256]
        _left(ids, recordings.failed)
        assigned = _assigned(self.folder, self.run, ids, recordings, only, self.place)
        count = sum(map(len, assigned.rows))
        with self.place.bar("predict", count, "clips") as advance:
            found = self.apply(
                self.run.task, self.kept, self.checkpoint, recordings, ids, assigned.rows, self.device, advance
            )
        return Output(ids, together(self.run.task, assigned, self.kept, found), {})


class Probes:
    """The probes that a run kept, or one that is fitted now on all of its clips, on features of its own store, or
    extracted now as those were."""

    def __init__(self, folder: Path, run: Run, place: Place, device: str, final: bool, own_code: str | None) -> None:
        self.folder, self.run, self.place, self.device, self.final = folder, run, place, device, final
        self.own_code = own_code
        self.winners = of_run(folder, run)
        if final:
            from toolkit.probe.estimator import fitted  # which loads scikit-learn

            self.winners = [fitted(folder, run).winner]
        origins = origins_of(run, self.winners).values()
        check_own_code_option(
            own_code, {key: value for origin in origins for key, value in origin.settings.items()}, folder.name
        )

    def predict(
        self, corpus: Manifest, recordings: Recordings, only: int | None, features: Path, units: Units | None = None
    ) -> Output:
        joined, failed = self._joined(corpus, recordings, features)
        if units is not None:
            return self._of_units(units, joined, recordings, only, failed)
        found = {clip: row for row, clip in enumerate(joined.ids)}
        ids = [clip.id for clip in corpus.clips if clip.id in found]
        _left(ids, {**recordings.failed, **failed})
        assigned = _assigned(self.folder, self.run, ids, recordings, only, self.place, self.final)
        rows = [np.array([found[ids[row]] for row in positions], dtype=np.int64) for positions in assigned.rows]
        probability = winners.apply(joined, self.winners, rows)
        return Output(ids, together(self.run.task, assigned, self.winners, probability), failed)

    def _of_units(
        self, units: Units, joined: Layers, recordings: Recordings, only: int | None, failed: dict[str, str]
    ) -> Output:
        store = Gathered(joined, units.present(joined.ids))
        _left(store.ids, {**recordings.failed, **failed})
        fold = dict(zip(self.run.folds.ids, self.run.folds.fold.tolist()))
        fold_of = {one.clip: fold[one.unit] for one in read_units(self.folder) or ()}
        hashes = [[(clip, recordings.sha256[clip]) for clip in ids] for ids in store.members.values()]
        assigned = assign_units(self.run, fold_of, read_clips(self.folder), hashes, only)
        _say_assigned(self.place, assigned, len(store.ids), "unit", only)
        applied = together(self.run.task, assigned, self.winners, winners.apply(store, self.winners, assigned.rows))
        clips = list(store.members.values())
        weights = [np.full(len(ids), np.nan) for ids in clips]
        if (shares := shares_of(store, self.winners, assigned.rows)) is not None:
            each: list[list[FloatArray]] = [[] for _ in clips]
            for rows, of_round in zip(assigned.rows, shares, strict=True):
                for row, share in zip(rows, of_round, strict=True):
                    each[row].append(share)
            weights = [np.mean(of_unit, axis=0) for of_unit in each]
        none = {unit: "has no clip that could be decoded" for unit in units.members if unit not in store.members}
        return Output(list(store.ids), applied, {**failed, **none}, clips, weights)

    def texts(self, corpus: Manifest) -> Mapping[str, Mapping[str, str]]:
        return {
            name: {clip.id: clip.text or "" for clip in self._reader(origin, corpus).corpus(corpus).clips}
            for name, origin in origins_of(self.run, self.winners).items()
            if "text" in origin.settings
        }

    def _joined(self, corpus: Manifest, recordings: Recordings, features: Path) -> tuple[Layers, dict[str, str]]:
        """The features of the clips, of all stores that the run probed, and why more clips have none."""
        every: dict[str, Joined] = {}
        failed: dict[str, str] = {}
        texts = self.texts(corpus)
        for name, origin in origins_of(self.run, self.winners).items():
            store, before = stored(origin, self.place.features, recordings.sha256)
            if store and name in texts:  # of the same audio, but perhaps another text
                there = store.clips
                before = {clip: at for clip, at in before.items() if there[at].source[7:] == (mark(texts[name][clip]),)}
            missing = [clip for clip in corpus.clips if clip.id in recordings.sha256 and clip.id not in before]
            parts = [(store, before)] if store and before else []
            if missing:
                new = self._extract(origin, corpus, missing, features)
                reasons = {clip.id: new.failed[clip.id] for clip in missing if clip.id in new.failed}
                parts.append((new, {clip.id: clip.id for clip in missing if clip.id not in reasons}))
                failed |= reasons
            every[name] = Joined(parts)
        return (View(every) if self.run.fusion else every[""]), failed

    def _extract(self, origin: Origin, corpus: Manifest, clips: Sequence[Clip], features: Path) -> Store:
        """With the layers that the winners read."""
        settings, picked = origin.settings, replace(corpus, clips=tuple(clips))
        if not settings.keys().isdisjoint({"acoustic", "text"}):
            return self._fill(origin, picked, features)
        if (code := settings.get(CODE_SETTING)) and not self.own_code:
            raise InputError(
                f"{self.folder.name} probed features of your own code; for {len(clips):,} clips without features that "
                f"must be run again, which takes --own-code path/to/{code['file']}:{code['factory']}"
            )
        name = self.own_code if code and self.own_code else origin.backbone
        checkpoint = locate_or_run(name, self.place.models, self.place.say)
        if checkpoint.weights_sha256 != settings["weights_sha256"]:
            raise CheckpointError(
                f"The checkpoint {checkpoint.name} has other weights than those that {self.folder.name} probed"
            )
        if code and checkpoint.stated != {CODE_SETTING: code}:
            raise CheckpointError(
                f"{self.own_code} is not the code that {self.folder.name} probed features of: {code['file']}:"
                f"{code['factory']} of SHA-256 {code['sha256']}"
            )
        decoder = any(layer.startswith("decoder.") for layer in origin.layers)
        numbers = [int(layer.removeprefix("encoder.")) for layer in origin.layers if layer.startswith("encoder.")]
        dtype = nearest(settings["dtype"], choose_device(self.device))
        if dtype != settings["dtype"]:
            self.place.say(f"{origin.backbone} ran in {settings['dtype']}, which this device has not: {dtype} here")
        options = Options(
            dtype=dtype,
            context=settings["context"] if checkpoint.backbone.decoder_layers else "full",
            decoder=decoder,
            layers=None if decoder else f"{min(numbers)}-{max(numbers)}",
            statistics=settings.get("statistics"),
            device=self.device,
        )
        return extract(picked, checkpoint, features, options, self.place.say, self.place.bar).store

    def _fill(self, origin: Origin, corpus: Manifest, features: Path) -> Store:
        """An acoustic set's, or those of an encoder of text. Raises MachineError for another one than the run had."""
        backbone: Filler = self._reader(origin, corpus) if "text" in origin.settings else check(origin.backbone)
        new = fill(corpus, backbone, features, Options(), self.place.say, self.place.bar).store
        before = {key: value for key, value in origin.settings.items() if key != "windows"}
        if other := [key for key in before.keys() | new.settings if before.get(key) != new.settings.get(key)]:
            raise MachineError(
                f"{origin.backbone} gives other features here than for {self.folder.name}: its "
                f"{min(other)} is {new.settings.get(min(other))!r}, expected {before.get(min(other))!r}"
            )
        return new

    def _reader(self, origin: Origin, corpus: Manifest) -> TextBackbone:
        """Raises InputError where the new clips have no text of the kind that the run read."""
        text = origin.settings["text"]
        checkpoint = locate(origin.backbone, self.place.models, text=True)
        source = source_of(corpus.columns, self.place.features, text.get("column") or text["transcripts"])
        return TextBackbone(checkpoint, source, self.device, text.get("longer") == "cut")


def _assigned(
    folder: Path,
    run: Run,
    ids: Sequence[str],
    recordings: Recordings,
    only: int | None,
    place: Place,
    final: bool = False,
) -> Assignment:
    """Which rounds' models each clip is for, reported to the user."""
    clips = [(clip, recordings.sha256[clip]) for clip in ids]
    if final:
        assigned = assign_final(run, read_clips(folder), clips)
        place.say(f"one probe, fitted on all {len(run.folds.ids):,} clips of {folder.name}: what it scores on new "
                  "callers was not measured, that of the rounds' models was")  # fmt: skip
        if assigned.seen:
            place.say(
                f"{len(assigned.seen):,} of {len(ids):,} clips taught it: its predictions for them are optimistic"
            )
        return assigned
    assigned = assign(run, read_clips(folder), clips, only)
    _say_assigned(place, assigned, len(ids), "clip", only)
    return assigned


def _say_assigned(place: Place, assigned: Assignment, many: int, what: str, only: int | None) -> None:
    """many: how many there are. what: clip or unit."""
    tested, mixed = int((assigned.round_of >= 0).sum()), sum(assigned.round_of[row] < 0 for row in assigned.seen)
    every, several, others = (ENGLISH.counted(one, what) for one in (many, mixed, many - tested - mixed))
    if tested:
        place.say(f"the run's own: {tested:,} of {every}; each gets the model that was not taught by it")
    if seen := len(assigned.seen) - mixed:
        place.say(f"{seen:,} of them taught or chose the only model there is: its predictions are optimistic")
    which = f"the mean of {len(assigned.folds)} rounds' models" if only is None else f"the model of round {only}"
    if mixed:
        place.say(
            f"with clips of several of the run's folds, which taught its models: {several}, predicted by {which}; "
            "these predictions are optimistic"
        )
    if many > tested + mixed:
        place.say(f"new to the run: {others}, predicted by {which}")


def _left(ids: Sequence[str], failed: Mapping[str, str]) -> None:
    if not ids:
        clip, reason = next(iter(failed.items()))
        raise InputError(
            f"None of {ENGLISH.counted(len(failed), 'clip')} can be predicted; the first, {clip!r}, {reason}"
        )
