"""A study from Python: a workspace whose methods are the commands."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.core.errors import InputError
from toolkit.core.options import from_python, made, sentences
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.options import TableOptions
from toolkit.corpus.place import Place, silent
from toolkit.corpus.roots import given_roots
from toolkit.extract.options import ExtractOptions, TranscribeOptions
from toolkit.finetune.options import FinetuneOptions
from toolkit.predict.options import PredictOptions
from toolkit.probe.options import ProbeOptions
from toolkit.result.options import CompareOptions, ContrastOptions, ScoreOptions
from toolkit.segment.options import SegmentOptions

if TYPE_CHECKING:
    import pandas as pd

    from toolkit.corpus.importers import Imported as Corpus
    from toolkit.corpus.table import Imported
    from toolkit.extract.run import Extraction
    from toolkit.extract.stage import Extractions
    from toolkit.features.store import Store
    from toolkit.predict.stage import Predicted
    from toolkit.privacy.residue_search import Search
    from toolkit.result.report.compare_stage import ComparisonResult
    from toolkit.result.report.contrast_stage import ContrastResult
    from toolkit.result.report.results import RunResult, RunResults
    from toolkit.result.report.score import Scored
    from toolkit.segment.stage import Segmented
    from toolkit.study.steps import StudyResult


class Workspace:
    """A folder with manifest.csv, models/, features/ and result/.

    A method's keyword arguments are the fields of its options (`toolkit probe --inner-folds 4` is
    `probe(..., inner_folds=4)`), with the same defaults. Every method raises `toolkit.core.errors.InputError` for bad
    input and `toolkit.core.errors.MachineError` where disk, memory or a file fails, each with one sentence.

    Args:
        folder: The study's folder, which must exist.
        manifest: The corpus. Default: manifest.csv in the folder.
        audio_root: Folder that the manifest's paths start from, or lead into, or several. Default: those of the
            variable TOOLKIT_AUDIO_ROOT. The manifest's own folder comes last.
        say: Called with each sentence that a user should read; `print` shows them.
    """

    def __init__(
        self,
        folder: str | Path = ".",
        manifest: str | Path | None = None,
        audio_root: str | Path | Sequence[str | Path] | None = None,
        say: Callable[[str], None] = silent,
    ) -> None:
        self.place = Place(Path(folder), Path(manifest) if manifest else None, given_roots(audio_root), say)

    def __repr__(self) -> str:
        return f"<Workspace {self.place.folder.resolve().name}: {len(self.stores())} stores, {len(self.runs())} runs>"

    @property
    def manifest(self) -> Manifest:
        """The corpus, checked.

        Raises:
            ManifestError: Names every defect with its line.
        """
        return self.place.corpus()

    def models(self) -> "pd.DataFrame":
        """The checkpoints in models/.

        Returns:
            A row for each, with its name in the column `model`.
        """
        import pandas as pd

        from toolkit.models.checkpoint import installed

        return pd.DataFrame({"model": list(installed(self.place.models))})

    def stores(self) -> "list[Store]":
        """The feature stores in features/, of any backbone and settings."""
        from toolkit.features.finding import stores

        return stores(self.place.features)

    def runs(self) -> list[str]:
        """Finished runs, by their folder's name."""
        return sorted(path.parent.name for path in self.place.result.glob("*/run.json"))

    @from_python()
    def result(self, name: str) -> "RunResult":
        """A finished run, read back and verified.

        Args:
            name: Of its folder in result/, the beginning of that name, or a path.

        Returns:
            A `toolkit.probe.stage.ProbeResult` where the backbone was frozen.

        Raises:
            InputError: No run, or several, have that name.
            StoreError: The run is damaged.
        """
        from toolkit.probe.stage import ProbeResult
        from toolkit.result.report.results import RunResult
        from toolkit.result.run_files import find_run

        found = RunResult.read(find_run(name, self.place.result))
        return found if found.run.tuned else ProbeResult(found.folder, found.run, True, found.controls)

    @from_python()
    def extract(self, model: str | list[str], **options: Any) -> "Extractions":
        """Compute every layer of every clip once, pooled to its mean and standard deviation over time.

        Args:
            model: Names of `toolkit models list`, or checkpoint folders.
            **options: Fields of `toolkit.extract.options.ExtractOptions`.

        Returns:
            The stores that were filled, and the clips that failed. A store that is complete costs nothing.

        Raises:
            InputError: For an option or a manifest that is not accepted.
            CheckpointError: For a checkpoint that is missing, damaged or changed.
        """
        from toolkit.extract import stage

        return stage.plan(self.place, made(ExtractOptions, model=model, **options)).run()

    @from_python()
    def transcribe(self, model: str, language: str, **options: Any) -> "Extraction":
        """Write down what is said in every clip, by a local Whisper, for an encoder of text to read.

        Args:
            model: A Whisper with its decoder and tokenizer: a name of `toolkit models list`, or a checkpoint folder.
            language: Spoken in the clips: "zh", "en" ...
            **options: Fields of `toolkit.extract.options.TranscribeOptions`.

        Returns:
            How many clips were written, and why others failed. The texts stay in features/transcripts/.

        Raises:
            InputError: For a language or a manifest that is not accepted, or a backbone that writes no text.
            CheckpointError: For a checkpoint that is missing, damaged or changed, or has no tokenizer.
        """
        from toolkit.extract import transcribe as stage

        return stage.plan(self.place, made(TranscribeOptions, model=model, language=language, **options)).run()

    @from_python()
    def probe(self, model: str | list[str], target: str, **options: Any) -> "RunResults":
        """Train classifiers on every layer, on folds that keep speakers apart.

        Args:
            model: Backbones, stores' folders, or "all".
            target: A label column, several columns of 0 and 1 with commas between, or "hotline".
            **options: Fields of `toolkit.probe.options.ProbeOptions`.

        Returns:
            A run for each backbone, probe and seed; those that were finished are read, not repeated.

        Raises:
            InputError: For an option, a label or a fold that is not accepted.
            StoreError: For features that are missing or damaged.
        """
        from toolkit.probe import stage

        return stage.plan(self.place, made(ProbeOptions, model=model, target=target, **options)).run()

    @from_python()
    def finetune(self, origin: "str | RunResult | RunResults | None" = None, **options: Any) -> "RunResults":
        """Train the backbone end to end, a model for each round.

        Args:
            origin: A probe run, or its name: gives backbone, layers, task and folds. Without it, name `model` and
                `target`.
            **options: Fields of `toolkit.finetune.options.FinetuneOptions`.

        Returns:
            A run for each setting and seed; those that were finished are read, not repeated.

        Raises:
            InputError: For an option that is not accepted, or has no effect on the rest.
            CheckpointError: For a checkpoint that is missing, damaged or changed.
        """
        from toolkit.finetune import stage

        return stage.plan(self.place, made(FinetuneOptions, origin=_name(origin), **options)).run()

    @from_python()
    def compare(self, *results: "str | RunResult", **options: Any) -> "tuple[ComparisonResult, ...]":
        """Compare runs of one task on the same folds, in pairs.

        Args:
            *results: Runs, or their names. Default: all finished ones.
            **options: Fields of `toolkit.result.options.CompareOptions`.

        Returns:
            A comparison for each group of runs that have task and folds in common.

        Raises:
            InputError: No two of the runs belong together.
        """
        from toolkit.result.report import compare_stage

        names = tuple(str(_name(one)) for one in results)
        return compare_stage.plan(self.place, made(CompareOptions, results=names, **options)).run()

    @from_python()
    def contrast(self, origin: "str | RunResult | RunResults", by: str, **options: Any) -> "ContrastResult":
        """Hold two groups of callers against each other, by what a run says of their calls.

        Args:
            origin: The run, or its name.
            by: Column of the manifest with one value a caller.
            **options: Fields of `toolkit.result.options.ContrastOptions`.

        Returns:
            Every measure of both groups with their difference, predicted and true; a row a call; the page.

        Raises:
            InputError: For a column, a value or a label that is not there, or a caller with two values.
        """
        from toolkit.result.report import contrast_stage

        chosen = made(ContrastOptions, origin=_name(origin), by=by, **options)
        return contrast_stage.plan(self.place, chosen).run()

    @from_python()
    def run(self, recipe: str | Path, dry_run: bool = False, own_code: bool = False) -> "StudyResult":
        """A whole study by a recipe: extract, probe, contrast, fine-tune, compare; what is done is not done again.

        Args:
            recipe: A TOML file, such as recipes/corrected.toml.
            dry_run: Only look which steps are done.
            own_code: Run the Python files that the recipe names as models.

        Returns:
            Every step as a command, every page.

        Raises:
            RecipeError: For the first thing that is wrong in the recipe, by line and column.
        """
        from toolkit.study import plan, steps

        return steps.run(plan.plan(self.place, Path(recipe), own_code), dry_run)

    @from_python()
    def predict(self, origin: "str | RunResult | RunResults", audio: Any = None, **options: Any) -> "Predicted":
        """Apply the models of a finished run to other audio.

        Args:
            origin: The run, or its name.
            audio: Audio files and folders of them. Without it, name a `manifest`.
            **options: Fields of `toolkit.predict.options.PredictOptions`.

        Returns:
            A probability for each label and the decision, a row a clip, or a unit where the run is on units; with
            windows, timelines as well.

        Raises:
            InputError: For an option or audio that is not accepted, or a fine-tuned run that kept no weights.
            StoreError: The models of the run are missing or damaged.
        """
        from toolkit.predict import stage

        paths = None if audio is None else [audio] if isinstance(audio, str | Path) else list(audio)
        chosen = made(PredictOptions, origin=_name(origin), audio=paths, **options)
        return stage.plan(self.place, chosen).run()

    @from_python()
    def import_table(self, file: str | Path, **options: Any) -> "Imported":
        """Make a manifest of a table with a row for each clip, as `toolkit manifest table` does.

        Args:
            file: Excel's .xlsx, or CSV of any encoding and separator.
            **options: Fields of `toolkit.corpus.options.TableOptions`.

        Returns:
            What was understood, and why each row that is left out was not. Shown as text it is what the command prints.

        Raises:
            InputError: For a manifest that is there, columns that cannot be recognised, or a table without a usable
            row.
        """
        from toolkit.corpus.table import table

        chosen = made(TableOptions, file=Path(file), **options)
        return table(chosen.file, Path(chosen.out or self.place.manifest_file), chosen, self.place.audio_root)

    @from_python()
    def import_corpus(
        self,
        layout: str,
        root: str | Path,
        *,
        text: bool = False,
        overwrite: bool = False,
        write_audio: str | Path | None = None,
    ) -> "Corpus":
        """Make manifest.csv of a corpus of a known layout, as `toolkit manifest corpus` does.

        Args:
            layout: A name of `toolkit.corpus.layouts.registry.LAYOUTS`.
            root: The corpus's folder.
            text: Keep what is said, where the corpus has it. It is personal data.
            overwrite: Write over a manifest that is there.
            write_audio: Where audio that parquet files hold is written, a new folder.

        Returns:
            What was written and what was passed over.

        Raises:
            InputError: For an unknown layout, a folder that has another one, and a manifest that is there.
        """
        from toolkit.corpus.layouts.importing import corpus

        folder = None if write_audio is None else Path(write_audio)
        return corpus(layout, Path(root), self.place.manifest_file, text=text, overwrite=overwrite, write_audio=folder)

    @from_python()
    def segment_calls(self, calls: str | Path, **options: Any) -> "Segmented":
        """Make a manifest of the turns in whole calls, as `toolkit manifest segment` does.

        Args:
            calls: A manifest with a row a call, or a folder of calls.
            **options: Fields of `toolkit.segment.options.SegmentOptions`.

        Returns:
            The manifest's file, how many turns it has, and which calls have none or could not be read.

        Raises:
            InputError: For an option or a call that is not accepted, or where no call has a turn.
            MachineError: Where the detector of the extra `segment` is not installed.
            StoreError: For features that are missing or damaged.
        """
        from toolkit.segment import stage

        return stage.plan(self.place, made(SegmentOptions, calls=Path(calls), **options)).run()

    @from_python()
    def import_features(self, name: str, file: str | Path, ids: str | Path | None = None) -> "Store":
        """Make a feature store of embeddings from elsewhere, one vector a clip and layer.

        Args:
            name: What the store is called, as `probe` takes it.
            file: .npy of shape (n_clips, width) or (n_layers, n_clips, width); .npz or .h5 with an array
                (n_clips, width) a layer.
            ids: The clip of each row: text with an id a line, or .csv with a column id. Default: the array `ids` of
                the file.

        Returns:
            The store, without the clips whose audio cannot be decoded; they are reported.

        Raises:
            InputError: For shapes, values or ids that do not fit the manifest.
        """
        from toolkit.features.import_ import import_file

        store, failed = import_file(self.place, name, Path(file), Path(ids) if ids else None)
        for clip, reason in failed.items():
            self.place.say(f"failed: clip {clip!r} {reason}")
        return store

    @from_python()
    def export_model(self, run: "str | RunResult | RunResults", out: str | Path, round_: int | None = None) -> Path:
        """A Hugging Face folder of a fine-tuned model whose weights were saved; see `toolkit.finetune.export`.

        round_: whose model, by its test fold; None where the run has one.
        """
        from toolkit.finetune.export import export_run

        export_run(self.place, str(_name(run)), Path(out), round_)
        return Path(out)

    @from_python()
    def purge(self, speaker: Any = (), clip: Any = (), **more: bool) -> "Search | None":
        """Take callers or clips out of features and results; see `toolkit.privacy.purge.purge`.

        Args:
            speaker: A caller, as in the manifest, or several.
            clip: The id of a clip or a recording, or several.
            **more: models, manifest_too, dry_run.

        Returns:
            What a search of every file found of them afterwards, which should be nothing; None for a dry run.
        """
        from toolkit.privacy.purge import purge

        return purge(self.place, sentences(speaker), sentences(clip), **more)

    @from_python()
    def score(self, file: str | Path, **options: Any) -> "Scored":
        """Compute every metric of a predictions file, with intervals over speakers.

        Args:
            file: predictions.csv, or a CSV with the columns `Predictions` and `Actual Labels`.
            **options: Fields of `toolkit.result.options.ScoreOptions`.

        Returns:
            The predictions and their `toolkit.result.stats.Evaluation`.

        Raises:
            PredictionsError: For a file that is not such a table.
        """
        from toolkit.result.report.score import score_file

        chosen = made(ScoreOptions, file=Path(file), **options)
        return score_file(chosen.file, rules=chosen.rules)


def _name(run: Any) -> str | None:
    """The folder of a result, or a name as it is."""
    if run is None or isinstance(run, str | Path):
        return None if run is None else str(run)
    runs = getattr(run, "runs", (run,))
    if len(runs) != 1:
        raise InputError(f"{len(runs)} runs given where one is expected; take one of .runs")
    return str(runs[0].folder)
