"""Options of every stage that reads labels."""

from dataclasses import dataclass

from toolkit.corpus.spellings import Rules


@dataclass(frozen=True, kw_only=True)
class Spelt:
    """What to do with names that are spelt in two ways, or that name nothing."""

    spellings: str = "refuse"
    """Two spellings of one label, speaker or group (3 and 3.0, s1 and S1): refuse; merge, which takes the most
    frequent; or keep them apart."""
    unknown: str = "refuse"
    """nan, NA, none, unknown, ? and the like as a label, speaker or group: refuse, or keep as a name."""

    @property
    def rules(self) -> Rules:
        """Raises InputError for other words."""
        return Rules(self.spellings, self.unknown)
