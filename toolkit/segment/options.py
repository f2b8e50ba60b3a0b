"""What the user may choose of the turns of whole calls."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from toolkit.core.errors import InputError
from toolkit.core.options import Offered, Rule, typed


@dataclass(frozen=True, kw_only=True)
class SegmentOptions:
    """Of `manifest segment`: the calls, who speaks in them, and what a turn is."""

    calls: Annotated[Path, Offered(argument=True)]
    """A manifest with a row a call, or a folder of calls."""
    caller_channel: Annotated[int | None, Offered(least=0, shown="turns of every channel")] = None
    """Keep the turns of this channel alone: 0, 1 ... Of calls whose row names a channel, that one is kept."""
    speakers: Annotated[int, Offered(least=1, most=2)] = 2
    """In a call of one channel: 2 tells two voices apart; 1 does not."""
    model: Annotated[str | None, Offered(shown="none")] = None
    """Features of windows of these calls that tell two voices apart: a store in features/."""
    layer: Annotated[str | None, Offered(shown="the last one")] = None
    """Of these features."""
    threshold: float = 0.5
    """Probability from which a frame of 32 ms counts as speech."""
    crosstalk: float = 12.0
    """Decibels by which a channel is below another one where it holds that one's voice, not its own."""
    min_turn: float = 0.5
    """Seconds; shorter ones are left out."""
    max_turn: float = 30.0
    """Seconds; longer ones are cut where they are quietest."""
    min_pause: float = 0.5
    """Seconds; what a shorter pause divides is one turn."""
    pad: float = 0.1
    """Seconds that are added before and behind, as far as a pause reaches."""
    out: Annotated[Path | None, Offered(shown="manifest.csv in the workspace")] = None
    """The manifest to write."""
    overwrite: Annotated[bool, Offered(switch=True)] = False
    """Write over a manifest that is there."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("model", lambda opts: opts.speakers == 1, "has no effect with --speakers 1, which tells no voices apart"),
        Rule("layer", lambda opts: opts.model is None, "has no effect without --model, whose layer it is"),
    )

    def check(self) -> None:
        """Raises InputError for seconds, probabilities or bounds that mean nothing."""
        for name in ("min_turn", "max_turn", "min_pause", "pad", "crosstalk"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                unit = "decibels" if name == "crosstalk" else "seconds"
                raise InputError(f"{typed(name)} {value:g}; expected {unit} from 0")
        if self.speakers not in (1, 2):
            raise InputError(f"--speakers {self.speakers}; expected 1 or 2")
        if not 0 < self.threshold < 1:
            raise InputError(f"--threshold {self.threshold:g}; expected a probability between 0 and 1, such as 0.5")
        least = 2 * (self.min_turn + self.pad)
        if self.max_turn < max(least, 1.0):
            raise InputError(
                f"--max-turn {self.max_turn:g} with --min-turn {self.min_turn:g} and --pad {self.pad:g}; expected at "
                f"least {max(least, 1.0):g} s, twice the two together, so that a long turn can be cut"
            )
