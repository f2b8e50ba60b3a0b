"""The audio of a run's clips, by hash, so that its models know them again under any name."""

from collections.abc import Mapping
from pathlib import Path

from toolkit.core.artifacts import commit_hashed, read_hashed
from toolkit.core.errors import StoreError

CLIPS = "clips.json"


def write_clips(folder: Path, audio_sha256: Mapping[str, str]) -> None:
    """Commit the SHA-256 of the decoded audio of a run's clips, by id, so that its models know them again."""
    commit_hashed(folder / CLIPS, {"format": 1, "audio_sha256": dict(audio_sha256)})


def read_clips(folder: Path) -> dict[str, str] | None:
    """What `write_clips` wrote; None for a run of an earlier version. Raises StoreError for a damaged file."""
    try:
        return dict(read_hashed(folder / CLIPS)["audio_sha256"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder.name}/{CLIPS} is damaged: {error}") from None
