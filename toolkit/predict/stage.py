"""The stage `predict`: planned (all that can be refused before audio is decoded), then run."""

import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.audio.decode import SAMPLE_RATE
from toolkit.core import i18n
from toolkit.core.artifacts import commit_text, committed_folder, cores, sha256_of_file, signature
from toolkit.core.errors import InputError, one_of
from toolkit.core.options import names
from toolkit.corpus.adhoc import gather
from toolkit.corpus.manifest import read
from toolkit.corpus.material import Material
from toolkit.corpus.place import Place
from toolkit.corpus.roots import given_roots
from toolkit.corpus.spellings import Rules
from toolkit.corpus.windows import Windows, cut
from toolkit.finetune.audio_cache import record
from toolkit.models.load import choose_device
from toolkit.predict import files, models
from toolkit.predict.channels import notes_on, of_channel
from toolkit.predict.options import PredictOptions
from toolkit.predict.units import TABLE, units_csv, units_of
from toolkit.result import run as result_run
from toolkit.result import run_files
from toolkit.result.negative import negative_labels
from toolkit.result.run import Run
from toolkit.result.run_files import find_run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Predicted:
    """What a run's models predict. failed: the reason by id of what could not be decoded. answer: the sentence
    that comes first. cached: it was there before.
    """

    folder: Path
    failed: Mapping[str, str] = field(default_factory=dict)
    answer: str = ""
    cached: bool = False
    language: str = "en"

    @property
    def file(self) -> Path:
        return self.folder / files.PREDICTIONS

    @property
    def report(self) -> Path | None:
        """The page with timelines, where recordings were cut into windows."""
        page = self.folder / i18n.of(self.language).file(files.PAGE)
        return page if page.is_file() else None

    @property
    def units(self) -> Path | None:
        """Of a run on units: the table of their clips, with what each weighed."""
        table = self.folder / TABLE
        return table if table.is_file() else None

    @property
    def truth_known(self) -> bool:
        with self.file.open(encoding="utf-8") as file:
            return any(name == "truth" or name.startswith("truth:") for name in file.readline().strip().split(","))

    def table(self) -> "pd.DataFrame":
        """A row a clip: every label's probability, and the decision."""
        import pandas as pd

        return pd.read_csv(self.file, dtype={"id": str}, na_filter=False)

    predictions = table

    def to_json(self) -> dict[str, Any]:
        return {"folder": self.folder.name, "answer": self.answer, "failed": dict(self.failed)}

    def _repr_html_(self) -> str:
        return str(self.table().to_html(index=False))


@dataclass(frozen=True)
class Plan:
    """A prediction that can be made, as far as is known without the audio."""

    place: Place
    options: PredictOptions
    folder: Path
    finished: Run
    windows: Windows | None
    of_units: bool
    negative: tuple[str, ...]
    models: models.Models

    def run(self) -> Predicted:
        """Decode, extract what no store has, predict, and commit all of it in one folder.

        Raises:
            InputError: where no clip can be predicted.
        """
        place, options, run, folder = self.place, self.options, self.finished, self.folder
        language, material, windows = i18n.of(options.language), Material.kept_in(run.provenance), self.windows
        audio = [Path(name) for name in options.audio or ()]
        if audio:
            corpus = gather(audio, place.say)
        else:
            assert options.manifest is not None
            corpus = read(options.manifest, given_roots(options.audio_root))
        corpus = cut(of_channel(corpus, options.channel, material, place.say), windows)
        units = None
        if self.of_units:
            units = units_of(corpus, run, folder.name, options.unit, bool(audio), options.rules)
            windows = None  # a unit has no time line
        texts = self.models.texts(corpus)
        with place.bar("decode", len(corpus.clips), "clips") as advance:
            recordings = record(corpus, [clip.id for clip in corpus.clips], options.workers or cores(), advance)
        what = {
            "run": sha256_of_file(folder / result_run.RUN),
            "round": options.round_,
            **({"final": True} if options.final else {}),
            "windows": [self.windows.seconds, self.windows.hop] if self.windows else None,
            **({"units": units.members} if units else {}),
            "negative": list(self.negative),
            "clips": [(clip.id, clip.recording) for clip in corpus.clips],
            "rules": [options.spellings, options.unknown],
            "truth": {column: corpus.cells(column) for column in run.task.columns if column in corpus.columns},
            "audio_sha256": dict(recordings.sha256),
            **({"texts": texts} if texts else {}),
        }
        made = options.output or place.folder / "predictions" / f"{folder.name}-{signature(what)[:12]}"
        failed = dict(recordings.failed)
        cached = made.is_dir()
        if cached and (windows is None or (made / language.file(files.PAGE)).is_file()):
            return Predicted(made, failed, cached=True, language=options.language)
        features = made.parent / f".{folder.name}-{signature(what)[:12]}.features"
        output = self.models.predict(corpus, recordings, options.round_, features, units)
        failed |= output.failed
        recorded = [clip for of_unit in output.clips for clip in of_unit] if units else output.ids
        corpus = units.manifest if units else corpus
        by_id = {clip.id: clip for clip in corpus.clips}
        rules = Rules(**run.provenance.get("rules", {}))
        known = files.known_of(run.task, run.predictions.group, corpus, output.ids, place.say, options.rules, rules)
        notes = notes_on(material, windows is not None, recordings, recorded, place.say)
        provenance = {"run": folder.name, "run_sha256": what["run"], "round": options.round_, "final": options.final,
                      "windows": what["windows"], "command": place.typed("predict", options),
                      "negative": list(self.negative)}  # fmt: skip
        # in place where only a language was missing
        with nullcontext(made) if cached else committed_folder(made) as unfinished:
            answer = files.write(
                unfinished, output.applied, [by_id[clip] for clip in output.ids],
                [recordings.lengths[clip] / SAMPLE_RATE for clip in recorded], failed, known, windows is not None,
                self.negative, folder.name, provenance,
                [by_id[clip].recording or clip for clip in failed if clip in by_id], language,
                [recordings.levels[clip] for clip in recorded], notes,
            )  # fmt: skip
            if units:
                commit_text(unfinished / TABLE, units_csv(output))
        shutil.rmtree(features, ignore_errors=True)
        return Predicted(made, failed, answer, language=options.language)


def plan(place: Place, options: PredictOptions) -> Plan:
    """What can be refused of a prediction before audio is decoded.

    Raises:
        InputError: for options that do not fit the run or each other.
        StoreError: where the run kept no models.
    """
    i18n.of(options.language)
    if bool(options.audio) == (options.manifest is not None):
        raise InputError("Say what to predict: audio files or folders, or --manifest; one of the two")
    if options.output is not None and (options.output.exists() or options.output.is_symlink()):
        raise InputError(
            f"{options.output.resolve().name} is there already, and nothing is written over; name another --output"
        )
    folder = find_run(options.origin, place.result)
    run = run_files.read(folder)
    of_units = "unit" in run.provenance
    if options.unit is not None and not of_units:
        raise InputError(f"--unit {options.unit} has no effect: {folder.name} predicts clips; leave it out")
    for option, value in (("--window", options.window), ("--negative", options.negative)):
        if of_units and value is not None:
            raise InputError(
                f"{option} is for the timeline of a recording, and {folder.name} predicts units of the column "
                f"{run.provenance['unit']['column']!r}, each as a whole; leave it out"
            )
    rounds = [choice.fold for choice in run.choices]
    if options.round_ is not None and options.round_ not in rounds:
        raise InputError(one_of("--round", options.round_, rounds))
    choose_device(options.device)
    _ = options.rules
    windows = Windows.of(options.window, options.hop)
    windows = windows or Windows.kept_in(run.provenance.get("features", run.provenance))
    timelines = windows is not None and not of_units
    if timelines and run.task.regression:
        raise InputError(
            f"{folder.name} is a regression, and timelines are of labels; predict whole clips, without --window"
        )
    if options.negative is not None and not timelines:
        raise InputError(
            f"--negative {options.negative!r} where no recording is cut into windows; it is for the summary of these, "
            "so give --window too, or leave it out"
        )
    negative = negative_labels(run.task) if options.negative is None else names(options.negative)
    for name in negative:
        if name not in run.task.labels:
            raise InputError(one_of("--negative", name, run.task.labels))
    if timelines and not negative:
        place.say(
            f"no negative share: none of {list(run.task.labels)} is known to be negative by its name; name those "
            "that are with --negative"
        )
    return Plan(
        place,
        options,
        folder,
        run,
        windows,
        of_units,
        negative,
        models.of(folder, run, place, options.device, options.final, options.own_code),
    )
