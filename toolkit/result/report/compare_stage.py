"""The stage `compare`: planned (which runs belong together), then run."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.core import i18n
from toolkit.core.errors import InputError, ManifestError
from toolkit.core.options import names
from toolkit.corpus.manifest import read
from toolkit.corpus.place import Place
from toolkit.corpus.spellings import known_names
from toolkit.result.compare import PAGE, Comparison, compare, gather
from toolkit.result.options import CompareOptions
from toolkit.result.report import compare_files, compare_narrative
from toolkit.result.run import Run
from toolkit.result.run_files import find_run
from toolkit.result.subgroups import USUAL, columns

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd


@dataclass(frozen=True)
class ComparisonResult:
    """Runs side by side, with their page."""

    folder: Path
    comparison: Comparison
    language: str = "en"

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / i18n.of(self.language).file(PAGE)

    @property
    def answer(self) -> str:
        """The first sentence of the page."""
        return compare_narrative.answer(self.comparison)

    def table(self) -> "pd.DataFrame":
        """A row a run or series: every metric with its interval, the difference to the best probe, what it cost."""
        import pandas as pd

        return pd.read_csv(self.folder / compare_files.TABLE)

    def figure(self, name: str) -> "alt.Chart":
        """A chart of the page, by its file's name. Raises InputError for another name."""
        from toolkit.result.report import charts, compare_charts

        chart: alt.Chart = charts.figure(compare_charts.specs(self.comparison, i18n.of(self.language)), name)
        return chart

    def to_json(self) -> dict[str, Any]:
        rows = json.loads(self.table().to_json(orient="records"))
        return {"name": self.folder.name, "answer": self.answer, "runs": rows}

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.answer)}</p>{self.table().to_html(index=False)}"


@dataclass(frozen=True)
class Plan:
    """Comparisons that can be made. groups: of each its runs by folder name. left_out: a sentence for each run that
    belongs to none.
    """

    place: Place
    options: CompareOptions
    groups: tuple[Mapping[str, Run], ...]
    left_out: tuple[str, ...]

    def run(self, made: Callable[[ComparisonResult], None] = lambda one: None) -> tuple[ComparisonResult, ...]:
        """Compare each group, and draw its page where that is not there. made: gets each when it is finished.

        Raises:
            ManifestError: for columns asked for of a manifest that is not whole.
        """
        for sentence in self.left_out:
            self.place.say(f"left out: {sentence}")
        if not self.groups:
            raise InputError(
                "No two runs of one task on the same folds; `toolkit finetune --from RUN` makes the second"
            )
        results = []
        for group in self.groups:
            comparison = compare(group, self._columns(group))
            folder = compare_files.write(self.place.result, comparison, i18n.of(self.options.language))
            results.append(ComparisonResult(folder, comparison, self.options.language))
            made(results[-1])
        return tuple(results)

    def _columns(self, runs: Mapping[str, Run]) -> dict[str, dict[str, str]]:
        """What `subgroups` names, or what is usual; nothing where no whole manifest is there and none is named."""
        place, asked_for = self.place, self.options.subgroups
        file, asked = place.manifest_file, place.manifest is not None or asked_for is not None
        if asked_for == "none" or not (asked or file.is_file()):
            return {}
        try:
            manifest = read(file, place.audio_root)
        except ManifestError:
            if asked:
                raise
            place.say(f"{file.name} is not whole any more, so no gaps between groups are shown")
            return {}
        listed = None if asked_for is None else list(names(asked_for))
        for name in listed or USUAL:
            if name in manifest.columns:
                cells = known_names(name, manifest.cells(name), manifest.lines, self.options.rules)
                manifest = manifest.with_cells({name: cells})
        return columns(manifest, listed, [run.predictions for run in runs.values()])


def plan(place: Place, options: CompareOptions) -> Plan:
    """Which finished runs can be compared.

    Raises:
        InputError: for runs that do not belong together.
        StoreError: for a damaged run.
    """
    i18n.of(options.language)
    named = names(options.results)
    files = [name for name in named if name.endswith(".csv")]
    folders = [find_run(name, place.result) for name in named if name not in files]
    groups, left_out = gather(place.result, folders, [Path(file) for file in files])
    return Plan(place, options, tuple(groups), tuple(left_out))
