"""What the user may choose of a prediction."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from toolkit.core.options import Names, Offered, Rule
from toolkit.corpus.options import Spelt


@dataclass(frozen=True, kw_only=True)
class PredictOptions(Spelt):
    """Of `predict`: a finished run, and audio."""

    origin: Annotated[str, Offered(name="from")]
    """A run: its folder, or its name in result/."""
    audio: Annotated[Names, Offered(argument=True, repeated=True)] = None
    """Audio files, and folders of them."""
    manifest: Path | None = None
    """In place of AUDIO: a corpus."""
    audio_root: Annotated[Names, Offered(repeated=True, shown="TOOLKIT_AUDIO_ROOT, then the manifest's own")] = None
    """Folder the manifest's paths start from, or lead into. May be repeated."""
    unit: Annotated[str | None, Offered(shown="the run's")] = None
    """Of a run on units: the manifest's column that names each clip's. Of AUDIO a folder is a unit."""
    round_: Annotated[int | None, Offered(name="round", shown="the mean of all rounds' models")] = None
    """For audio that is new to the run: the model of the round that tests this fold."""
    final: Annotated[bool, Offered(switch=True)] = False
    """For audio that is new to the run: one probe fitted on all of its clips. It was not tested."""
    window: Annotated[float | None, Offered(shown="as the run's clips were")] = None
    """Cut longer recordings into windows of so many seconds, for a timeline."""
    hop: Annotated[float | None, Offered(shown="the window")] = None
    """Seconds from one window's start to the next."""
    channel: Annotated[str | None, Offered(shown="the one that all of the run's clips are of, else the average")] = None
    """Of files with several, where no manifest names one: 0, 1 ..., or average."""
    negative: Annotated[Names, Offered(shown="by their names")] = None
    """Labels that count as negative in the summary, with commas."""
    output: Annotated[Path | None, Offered(shown="predictions/RUN-... in the workspace")] = None
    """A new folder for all of it."""
    device: str = "auto"
    """auto, cpu, cuda, or mps, which is untested."""
    workers: Annotated[int | None, Offered(least=1, shown="cores")] = None
    """That decode audio."""
    own_code: Annotated[str | None, Offered(shown="none")] = None
    """Of a run on features of ./FILE.py:FACTORY: that file, which is run, for audio that has no features yet."""
    language: str = "en"
    """Of the page and its figures: en; or zh, next to the English ones."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        *(
            Rule(option, lambda opts: opts.manifest is None, "has no effect without --manifest, to which it belongs")
            for option in ("audio_root", "spellings", "unknown", "unit")
        ),
        Rule("round_", lambda opts: opts.final, "has no effect with --final, whose model is of all rounds"),
    )
