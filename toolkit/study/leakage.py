"""By how much runs on clips split one by one are optimistic: what they score next to their honest ones."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from toolkit.core import i18n
from toolkit.result import controls, stats
from toolkit.result.report import narrative
from toolkit.result.run import Run
from toolkit.result.run_files import read


def leakage_inflation(optimistic: Iterable[tuple[Path, Path, str]]) -> Iterator[str]:
    """A sentence for each run whose clips were split one by one: its score, the honest one, the difference.

    Its report says so too, a fine-tuned run's from here on. optimistic: runs, each with its honest one and the language
    of its page.
    """
    for folder, other, language in optimistic:
        run = read(folder)
        if other.name not in [one.folder for one in controls.read(folder)]:
            _add_control(folder, run, other, language)
        (score,) = stats.headline_scores([run.predictions])
        (one,) = (one for one in controls.read(folder) if one.folder == other.name)
        yield (
            f"{run.title}, {run.probe}: {narrative.metric_name(run)} {score} with clips split one by one, so that "
            f"{i18n.plural(run.predictions.group)} are on both sides; {one.score} with {one.name}; optimistic by "
            f"{one.minus}"
        )


def _add_control(folder: Path, run: Run, other: Path, language: str) -> None:
    from toolkit.result.report import run_page  # which loads what draws

    title = f"{i18n.plural(run.predictions.group)} kept apart"
    controls.add(folder, [controls.compare("split", title, other, run, read(other))])
    for tag in dict.fromkeys((i18n.ENGLISH.tag, language)):
        run_page.redraw(folder, run, i18n.of(tag))
