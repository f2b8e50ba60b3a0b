"""What the user may choose of what is read of results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from toolkit.core.options import Names, Offered, Rule, names
from toolkit.corpus.options import LEVELS, Spelt
from toolkit.corpus.spellings import SCALES, Rules


@dataclass(frozen=True, kw_only=True)
class CompareOptions(Spelt):
    """Of `compare`: runs of one task on the same folds."""

    results: Annotated[Names, Offered(argument=True, repeated=True, shown="all finished ones of the workspace")] = None
    """Runs: folders, or names in result/; and predictions made elsewhere, .csv with id and prediction."""
    subgroups: Annotated[str | None, Offered(shown="sex, gender, age where they are there")] = None
    """Columns of the manifest whose groups are held against each other, with commas; or none."""
    language: str = "en"
    """Of the page and its figures: en; or zh, next to the English ones."""

    RULES: ClassVar[tuple[Rule, ...]] = tuple(
        Rule(
            option,
            lambda opts: opts.subgroups == "none",
            "has no effect with --subgroups none, which reads no manifest",
        )
        for option in ("spellings", "unknown")
    )


@dataclass(frozen=True, kw_only=True)
class ContrastOptions(Spelt):
    """Of `contrast`: two groups of callers."""

    origin: Annotated[str, Offered(name="from")]
    """Run: its folder, or its name in result/."""
    by: str
    """Column of the manifest that says which group a caller is of, such as suicidal; one value a caller."""
    groups: Annotated[Names, Offered(shown="the column's two, 1 before 0")] = None
    """Its two values that are meant, with a comma: the difference is the first minus the second."""
    unit: Annotated[
        str | None, Offered(shown="recording where that is a column, else what windows were cut from, else the speaker")
    ] = None
    """Column that says which call a clip is of."""
    negative: Annotated[Names, Offered(shown="by their names")] = None
    """Labels that count as negative, with commas."""
    least: Annotated[int, Offered(name="least-clips", least=1)] = 5
    """A caller with fewer clips does not count; how many these are is shown."""
    language: str = "en"
    """Of the page and its figures: en; or zh, next to the English ones."""


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(Spelt):
    """Of `score`: any predictions file."""

    file: Annotated[Path, Offered(argument=True)]
    """predictions.csv, or a CSV with `Predictions` and `Actual Labels`."""
    unlabelled: str = "refuse"
    """Clips with an empty truth: refuse, or skip, which leaves them out and counts them."""
    kind: str = "auto"
    """What truth and prediction are: classes, ordinal or regression; auto refuses more than two numbers as classes."""
    levels: Names = None
    """Of --kind ordinal, with commas: the levels from the lowest up; numbers have their own order."""
    threshold: float | None = None
    """Of --kind ordinal or regression: score whether it is so much or more."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        LEVELS,
        Rule("threshold", lambda opts: opts.kind not in SCALES,
             "cuts a scale; it has no effect without --kind ordinal or regression"),
    )  # fmt: skip

    @property
    def rules(self) -> Rules:
        """Raises InputError for other words."""
        return Rules(
            self.spellings, self.unknown, self.unlabelled, kind=self.kind, threshold=self.threshold,
            levels=names(self.levels),
        )  # fmt: skip
