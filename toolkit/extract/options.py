"""What the user may choose of an extraction."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from toolkit.core.errors import InputError
from toolkit.core.options import Names, Offered, Rule

if TYPE_CHECKING:
    from toolkit.corpus.windows import Windows

CHANGED = ("refuse", "recompute")


@dataclass(frozen=True, kw_only=True)
class Filling:
    """Of all that fills a store; `window` and `hop` change the numbers."""

    window: float | None = None
    """Cut longer recordings into windows of so many seconds, each a clip of its own."""
    hop: Annotated[float | None, Offered(shown="the window")] = None
    """Seconds from one window's start to the next."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, or mps, which is untested."""
    workers: Annotated[int | None, Offered(least=1, shown="cores")] = None
    """Threads that decode audio."""
    retry_failed: Annotated[bool, Offered(switch=True)] = False
    """Try clips again that failed before."""
    changed: str = "refuse"
    """Clips whose audio is not what is stored, such as after a corrected time: refuse, or recompute."""

    @property
    def windows(self) -> "Windows | None":
        """Raises InputError for a window and hop that fit no recording."""
        from toolkit.corpus.windows import Windows  # which reads headers of audio

        return Windows.of(self.window, self.hop)


@dataclass(frozen=True, kw_only=True)
class Options(Filling):
    """Of one backbone; all of these change the numbers."""

    dtype: str = "auto"
    """auto, bfloat16, float16 (CUDA), tf32 (CUDA), split-bfloat16 (CPU) or float32; auto takes the fastest that holds
    the bound, and says which."""
    bound: Annotated[float, Offered(least=0, most=1)] = 1e-2
    """Largest relative error of what is kept, against float32 on drawn clips, that auto allows."""
    context: str = "full"
    """What Whisper hears: full (30 s, padded) or clip (a different, cheaper feature)."""
    decoder: Annotated[bool, Offered(switch=True)] = False
    """Whisper's decoder too, fed its start token."""
    layers: Annotated[str | None, Offered(shown="all")] = None
    """Encoder layers to keep, e.g. 0-12; nothing above is computed."""
    frames: Annotated[Names, Offered(repeated=True)] = None
    """Keep this layer's frame-level states too, e.g. encoder.7. May be repeated."""
    statistics: Annotated[Names, Offered(shown="mean and std alone", repeated=True)] = None
    """Keep this of a clip's frames besides mean and std: max, or a package's. May be repeated."""
    text: Annotated[str | None, Offered(shown="the column text, else transcripts")] = None
    """Where an encoder of text reads: a column, or the Whisper that transcribed."""
    cut_text: Annotated[bool, Offered(switch=True)] = False
    """Cut texts that an encoder has no positions for; else these clips fail."""

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last of "0-12" or "7"; None for all layers. Raises InputError."""
        if self.layers is None:
            return None
        first, dash, last = self.layers.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise InputError(f"Bad --layers {self.layers!r}, expected a range such as 0-12")
        return int(first), int(last if dash else first)


@dataclass(frozen=True, kw_only=True)
class ExtractOptions(Options):
    """Of `extract`: one pass over the corpus for each backbone."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("bound", lambda opts: opts.dtype == "float32", "has no effect with --dtype float32, which is exact"),
    )

    model: Annotated[Names, Offered(short="-m", repeated=True)]
    """A name of `toolkit models list`, a checkpoint folder, of text too, acoustic, or ./FILE.py:FACTORY (run). May be
    repeated."""
    ray: Annotated[str | None, Offered(shown="this process alone")] = None
    """Run on Ray: local (this host, all its GPUs), or HOST:PORT of a cluster's head. See docs/cluster.md."""


@dataclass(frozen=True, kw_only=True)
class TranscribeOptions(Filling):
    """Of `transcribe`: a Whisper over the corpus."""

    model: Annotated[str, Offered(short="-m")]
    """A Whisper with its decoder and tokenizer: a name of `toolkit models list`, or a checkpoint folder."""
    language: str
    """Spoken in the clips: zh, en, de ..."""
