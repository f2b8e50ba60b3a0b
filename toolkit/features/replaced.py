"""What a store says of clips that were computed again, of other audio: a mark, by which runs on it differ."""

import json
from collections.abc import Mapping

from toolkit.core.artifacts import commit_json, signature
from toolkit.core.errors import StoreError
from toolkit.features.store import Store
from toolkit.features.writer import Writer

FILE = "replaced.json"


def mark(store: Store) -> str | None:
    """A hash of all that was replaced in a store, None where nothing was; it names no clip. Raises StoreError."""
    path = store.folder / FILE
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["sha256"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise StoreError(
            f"{store.folder.name}/{FILE} is damaged; delete that file, and the runs on this store to make them anew"
        ) from None


def take_out(store: Store, writer: Writer, audio_sha256: Mapping[str, str]) -> None:
    """Remove clips that are to be computed of other audio, by id. Interrupted, what is out is missing, and no more.

    The mark comes first, so that no run on the old features is taken for one on the new ones.
    """
    changes = {"before": mark(store), "clips": sorted(audio_sha256.items())}
    commit_json(store.folder / FILE, {"sha256": signature(changes)})
    writer.remove(audio_sha256.__contains__)
