"""The audio of a run's clips, by hash, so that its models know them again under any name."""

import json
from collections.abc import Mapping
from pathlib import Path

from toolkit.core.artifacts import commit_json, signature
from toolkit.core.errors import StoreError

CLIPS = "clips.json"


def write_clips(folder: Path, audio_sha256: Mapping[str, str]) -> None:
    """Commit the SHA-256 of the decoded audio of a run's clips, by id, so that its models know them again."""
    content = {"format": 1, "audio_sha256": dict(audio_sha256)}
    commit_json(folder / CLIPS, {**content, "sha256": signature(content)})


def read_clips(folder: Path) -> dict[str, str] | None:
    """What `write_clips` wrote; None for a run of before. Raises StoreError for a damaged file."""
    try:
        content = json.loads((folder / CLIPS).read_text(encoding="utf-8"))
        stated = content.pop("sha256")
        if signature(content) != stated:
            raise ValueError("its hash does not fit")
        return dict(content["audio_sha256"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{folder.name}/{CLIPS} is damaged: {error}") from None
