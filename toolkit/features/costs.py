"""What a store took to compute: seconds of `toolkit extract`, known only where all of it was recorded."""

import json
from collections.abc import Iterable

from toolkit.core.artifacts import commit_json
from toolkit.features.store import Store

COSTS_FILE = "costs.json"


def add(store: Store, before: int, after: int, seconds: float) -> None:
    """Keep the seconds of an extraction that found `before` clips tried and left `after`. Where an earlier one was
    killed before it said how long it took, the whole is unknown, and stays so. Raises DiskFullError."""
    known = 0.0 if before == 0 else _seconds(store, before)
    total = None if known is None else round(known + seconds, 1)
    commit_json(store.folder / COSTS_FILE, {"clips": after, "seconds": total})


def extraction_seconds(stores: Iterable[Store]) -> float | None:
    """Of every clip in the stores, all extractions together; None where that is not known."""
    each = [_seconds(store, store.total().tried) for store in stores]
    return None if None in each else sum(seconds for seconds in each if seconds is not None)


def _seconds(store: Store, clips: int) -> float | None:
    try:
        content = json.loads((store.folder / COSTS_FILE).read_text(encoding="utf-8"))
        return float(content["seconds"]) if content["clips"] == clips else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
