"""A study from Python: a workspace whose methods are the commands."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.core.errors import InputError
from toolkit.core.options import as_keywords, made
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.place import Place, silent
from toolkit.extract.options import ExtractOptions
from toolkit.finetune.options import FinetuneOptions
from toolkit.predict.options import PredictOptions
from toolkit.probe.options import ProbeOptions
from toolkit.result.options import CompareOptions, ScoreOptions

if TYPE_CHECKING:
    import pandas as pd

    from toolkit.extract.stage import Extractions
    from toolkit.features.store import Store
    from toolkit.predict.stage import Predicted
    from toolkit.result.report.compare_stage import ComparisonResult
    from toolkit.result.report.results import RunResult, RunResults
    from toolkit.result.report.score import Scored


class Workspace:
    """A folder with manifest.csv, models/, features/ and result/.

    A method's keyword arguments are the fields of its options (`toolkit probe --inner-folds 4` is
    `probe(..., inner_folds=4)`), with the same defaults. Bad input raises `toolkit.core.errors.InputError`, a machine
    that says no `MachineError`, each with one sentence.

    Args:
        folder: Which must be there.
        manifest: The corpus; manifest.csv in the folder unless told.
        audio_root: Where the manifest's paths start from; its own folder unless told.
        say: Gets the sentences that a user should read; `print` shows them.
    """

    def __init__(
        self,
        folder: str | Path = ".",
        manifest: str | Path | None = None,
        audio_root: str | Path | None = None,
        say: Callable[[str], None] = silent,
    ) -> None:
        self.place = Place(
            Path(folder), Path(manifest) if manifest else None, Path(audio_root) if audio_root else None, say
        )

    def __repr__(self) -> str:
        return f"<Workspace {self.place.folder.resolve().name}: {len(self.stores())} stores, {len(self.runs())} runs>"

    @property
    def manifest(self) -> Manifest:
        """The corpus, checked. Raises ManifestError with every defect and its line."""
        return self.place.corpus()

    def models(self) -> "pd.DataFrame":
        """A row a checkpoint in models/: its name."""
        import pandas as pd

        found = sorted(path.name for path in self.place.models.glob("*/") if (path / "config.json").is_file())
        return pd.DataFrame({"model": found})

    def stores(self) -> "list[Store]":
        """The feature stores."""
        from toolkit.features.store import stores

        return stores(self.place.features)

    def runs(self) -> list[str]:
        """Finished runs, by their folder's name."""
        return sorted(path.parent.name for path in self.place.result.glob("*/run.json"))

    @as_keywords()
    def result(self, name: str) -> "RunResult":
        """A finished run, by its name or the beginning of it. Raises InputError, StoreError."""
        from toolkit.probe.stage import ProbeResult
        from toolkit.result.report.results import RunResult
        from toolkit.result.run import find_run

        found = RunResult.read(find_run(name, self.place.result))
        return found if found.run.tuned else ProbeResult(found.folder, found.run, True, found.beside)

    @as_keywords()
    def extract(self, model: str | list[str], **options: Any) -> "Extractions":
        """Compute every layer of every clip once; see `toolkit.extract.options.ExtractOptions`."""
        from toolkit.extract import stage

        return stage.plan(self.place, made(ExtractOptions, model=model, **options)).run()

    @as_keywords()
    def probe(self, model: str | list[str], target: str, **options: Any) -> "RunResults":
        """Classifiers on every layer; see `toolkit.probe.options.ProbeOptions`."""
        from toolkit.probe import stage

        return stage.plan(self.place, made(ProbeOptions, model=model, target=target, **options)).run()

    @as_keywords()
    def finetune(self, origin: "str | RunResult | RunResults | None" = None, **options: Any) -> "RunResults":
        """Train the backbone end to end, on the folds of a probe run (`origin`) or by hand (`model`, `target`).

        See `toolkit.finetune.options.FinetuneOptions`.
        """
        from toolkit.finetune import stage

        return stage.plan(self.place, made(FinetuneOptions, origin=_name(origin), **options)).run()

    @as_keywords()
    def compare(self, *results: "str | RunResult", **options: Any) -> "tuple[ComparisonResult, ...]":
        """Runs of one task on the same folds side by side, a comparison for each such group; all runs unless named.

        See `toolkit.result.options.CompareOptions`.
        """
        from toolkit.result.report import compare_stage

        names = tuple(str(_name(one)) for one in results)
        return compare_stage.plan(self.place, made(CompareOptions, results=names, **options)).run()

    @as_keywords()
    def predict(self, origin: "str | RunResult | RunResults", audio: Any = None, **options: Any) -> "Predicted":
        """What a finished run's models say of audio files and folders, or of the manifest that is named.

        See `toolkit.predict.options.PredictOptions`.
        """
        from toolkit.predict import stage

        paths = None if audio is None else [audio] if isinstance(audio, str | Path) else list(audio)
        asked = made(PredictOptions, origin=_name(origin), audio=paths, **options)
        return stage.plan(self.place, asked).run()

    @as_keywords()
    def import_features(self, name: str, file: str | Path, ids: str | Path | None = None) -> "Store":
        """A store of embeddings from elsewhere, one vector a clip and layer; see `toolkit.features.import_.opened`.

        Clips whose audio cannot be decoded are left out of it, and said.
        """
        from toolkit.features.import_ import import_file

        store, failed = import_file(self.place, name, Path(file), Path(ids) if ids else None)
        for clip, reason in failed.items():
            self.place.say(f"failed: clip {clip!r} {reason}")
        return store

    @as_keywords()
    def export_model(self, run: "str | RunResult | RunResults", out: str | Path, round_: int | None = None) -> Path:
        """A Hugging Face folder of a fine-tuned model whose weights were saved; see `toolkit.finetune.export`.

        round_: whose model, by its test fold; None where the run has one.
        """
        from toolkit.finetune.export import export_run

        export_run(self.place, str(_name(run)), Path(out), round_)
        return Path(out)

    @as_keywords()
    def score(self, file: str | Path, **options: Any) -> "Scored":
        """Every metric of a predictions file; see `toolkit.result.options.ScoreOptions`."""
        from toolkit.result.report.score import score_file

        asked = made(ScoreOptions, file=Path(file), **options)
        return score_file(asked.file, rules=asked.rules)


def _name(run: Any) -> str | None:
    """The folder of a result, or a name as it is."""
    if run is None or isinstance(run, str | Path):
        return None if run is None else str(run)
    runs = getattr(run, "runs", (run,))
    if len(runs) != 1:
        raise InputError(f"{len(runs)} runs given where one is expected; take one of .runs")
    return str(runs[0].folder)
