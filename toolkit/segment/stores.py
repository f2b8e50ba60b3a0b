"""Where the states come from that separate two voices: windows of whole calls, in a feature store."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from toolkit.audio.clip import Clip
from toolkit.core.errors import InputError, one_of
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.windows import Windows, cut
from toolkit.features.finding import find
from toolkit.features.origin import check_origins, names_other
from toolkit.features.store import Store
from toolkit.segment.detector import Floats

EXTRACT = "`toolkit extract --manifest CALLS --model NAME --window 1.6 --hop 0.4`"


@dataclass(frozen=True)
class Source:
    """One layer of a store. windows: of each call, by its id, those that the store holds."""

    store: Store
    layer: str
    windows: Mapping[str, Sequence[Clip]]

    @cached_property
    def _states(self) -> tuple[dict[str, int], Floats]:
        found = self.store.layer(self.layer)
        return {one: row for row, one in enumerate(found.ids)}, found.mean

    def of(self, call: str) -> tuple[list[str], Floats]:
        """Ids of a call's windows, and their states, (n_windows, width)."""
        rows, states = self._states
        ids = [one.id for one in self.windows[call]]
        return ids, states[np.array([rows[one] for one in ids], dtype=int)]


def source(
    features: Path, corpus: Manifest, needed: Sequence[str], model: str, layer: str | None, say: Callable[[str], None]
) -> Source:
    """The features `model` of a corpus of whole calls. needed: ids of calls that must have some.

    Raises StoreError for a store that is not there, InputError for one without windows, or of other audio.
    """
    store = find(features, model)
    if layer is not None and layer not in store.layers:
        raise InputError(one_of("--layer", layer, store.layers))
    windows = Windows.kept_in(store.settings)
    if windows is None:
        raise InputError(f"{store.folder.name} holds no windows of calls; {EXTRACT} makes such features")
    whole = cut(replace(corpus, clips=tuple(clip for clip in corpus.clips if clip.channel is None)), windows)
    of: dict[str, list[Clip]] = {clip.id: [] for clip in corpus.clips}
    for clip in whole.clips:
        if clip.id in store.clips:
            of[clip.recording or clip.id].append(clip)
    for call in needed:
        if not of[call]:
            raise InputError(f"{store.folder.name} holds no window of call {call!r}; {EXTRACT} makes such features")
    clips = tuple(window for call in needed for window in of[call])
    check_origins(replace(corpus, clips=clips), store, names_other, say)
    return Source(store, layer or store.layers[-1], of)
