"""Options of every stage that reads labels, and of the table that they come from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from toolkit.core.options import Names, Offered, Rule, names
from toolkit.corpus.spellings import Rules

BY_HEADING = "by its heading"
LOSSES = ("mse", "ccc")  # that teach numbers


@dataclass(frozen=True, kw_only=True)
class Spelt:
    """What to do with names that are spelt in two ways, or that name nothing."""

    spellings: str = "refuse"
    """Two spellings of one label, speaker or group (3 and 3.0, s1 and S1): refuse; merge, which takes the most
    frequent; or keep them apart."""
    unknown: str = "refuse"
    """nan, NA, none, unknown, ? and the like as a label, speaker or group, 999 among numbers from 1 to 7, names that a
    spreadsheet cut or made dates of, several labels in one cell: refuse, or keep like any other."""

    @property
    def rules(self) -> Rules:
        """Raises InputError for other words."""
        return Rules(self.spellings, self.unknown)


@dataclass(frozen=True, kw_only=True)
class Labelled(Spelt):
    """Which clips a target is evaluated on."""

    unlabelled: str = "refuse"
    """Clips with an empty label: refuse, or skip, which leaves them out and counts them."""
    labels: Annotated[Names, Offered(shown="all")] = None
    """With commas: the labels of a column to tell apart, or the columns of a target of several to keep."""

    kind: str = "auto"
    """What the target is: classes; ordinal, levels in order; regression, numbers (several columns with commas). auto:
    classes, and refuses more than two numbers."""
    levels: Names = None
    """Of --kind ordinal, with commas: the levels from the lowest up; numbers have their own order."""
    threshold: float | None = None
    """Of a column of numbers: ask whether it is so much or more."""

    @property
    def rules(self) -> Rules:
        """Raises InputError for other words."""
        return Rules(
            self.spellings, self.unknown, self.unlabelled, names(self.labels), self.kind, self.threshold,
            names(self.levels),
        )  # fmt: skip


# --kind ordinal --threshold deals the clips out as the ordinal question does, so that both are of the same folds
KIND = Rule(
    "kind",
    lambda opts: opts.threshold is not None and opts.kind in ("auto", "classes"),
    "has no effect with --threshold, which makes two labels",
)
LABELS = Rule(
    "labels",
    lambda opts: opts.kind == "regression" and "," not in (opts.target or ","),
    "picks labels, and --kind regression has numbers; of several columns it picks some",
)
LEVELS = Rule("levels", lambda opts: opts.kind != "ordinal", "has no effect without --kind ordinal")


@dataclass(frozen=True, kw_only=True)
class TableOptions(Spelt):
    """Of `manifest table`: which column is what. A column that is not named is taken by its heading."""

    file: Annotated[Path, Offered(argument=True)]
    """Excel's .xlsx, or CSV of any encoding and separator."""
    path: Annotated[str | None, Offered(shown=BY_HEADING)] = None
    """The column of the audio files: 音频, file ..."""
    speaker: Annotated[str | None, Offered(shown=BY_HEADING)] = None
    """Of the speakers: 说话人, caller ..."""
    label: Annotated[Names, Offered(shown=BY_HEADING)] = None
    """Of the labels, with commas: 情绪, emotion ..."""
    start: Annotated[str | None, Offered(shown=BY_HEADING)] = None
    """Of the clips' first seconds: 开始 ..."""
    end: Annotated[str | None, Offered(shown=BY_HEADING)] = None
    """Of their last ones: 结束 ..."""
    channel: Annotated[str | None, Offered(shown=BY_HEADING)] = None
    """Of the channels: 声道 ..."""
    identity: Annotated[str | None, Offered(name="id", shown="by its heading, or made")] = None
    """Of the ids."""
    first_channel: Annotated[int | None, Offered(least=0, most=1, shown="as the files show")] = None
    """What the first channel is called: 0 or 1."""
    sheet: Annotated[str | None, Offered(shown="the first that is not empty")] = None
    """Of a workbook."""
    encoding: Annotated[str | None, Offered(shown="as its bytes show")] = None
    """Of a text: utf-8, gb18030, cp1252 ..."""
    out: Annotated[Path | None, Offered(shown="manifest.csv in the workspace")] = None
    """The manifest to write."""
    overwrite: Annotated[bool, Offered(switch=True)] = False
    """Write over a manifest that is there."""
