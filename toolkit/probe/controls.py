"""Controls that separate knowledge from capacity: labels shuffled by speaker, and the untrained backbone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from toolkit.core import seeds
from toolkit.core.errors import StoreError
from toolkit.core.i18n import Note
from toolkit.corpus.evaluation_task import EvaluationTask
from toolkit.corpus.labels import IntArray
from toolkit.features.finding import find, stores
from toolkit.features.store import Store
from toolkit.features.units import UnitStore

CONTROLS = ("shuffled", "random")
# Of a store, what changes its numbers by more than rounding
OPTIONS = ("context", "preprocessing", "pooling", "statistics")


def shuffled(question: EvaluationTask, seed: int) -> EvaluationTask:
    """The same question about labels that say nothing of a clip: what the probe reaches by its capacity alone.

    A random permutation gives every group (speaker) the labels of one group, its own included, and deals them to its
    clips in random order; a group with fewer clips than its donor takes some of the labels, one with more takes them
    again. So labels stay as even or uneven within a group as they were, a label that is one and the same for a whole
    group stays so, and what a probe could gain from groups in training it can still gain. Dealing within groups alone
    would leave such a label as it is; moving labels in their order alone would leave them in place wherever all groups
    are sorted by label. A clip's labels of a multilabel task move together.

    Source: control tasks and selectivity, Hewitt and Liang, Designing and Interpreting Probes with Control Tasks, 2019,
    where the word's type has the place that the group has here.
    """
    names, member = np.unique(np.array(question.groups, dtype=object).astype(str), return_inverse=True)
    clips_of = [np.flatnonzero(member == number) for number in range(len(names))]
    generator = seeds.generator(seed, "controls", "shuffled")
    donors = np.zeros(len(question.truth), dtype=np.int64)
    for clips, donor in zip(clips_of, generator.permutation(len(names))):
        given = clips_of[donor]
        copies = -(-len(clips) // len(given))
        dealt = np.concatenate([generator.permutation(given) for _ in range(copies)])[: len(clips)]
        donors[clips] = generator.permutation(dealt)
    truth = question.truth[donors]
    agreement = _agreement(question.truth, truth)
    task = replace(question.task, name=f"shuffled-{question.task.name}")
    note = Note("shuffled", {"group": question.group, "share": round(100 * agreement)})
    return replace(question, task=task, truth=truth, notes=(*question.notes, note), donors=donors)


def dealt(store: UnitStore, question: EvaluationTask, seed: int) -> UnitStore:
    """The store of a shuffled question: a unit whose label is another's now has the labels of that one's clips, too."""
    assert question.donors is not None
    ids = np.array(question.folds.ids)
    donors = dict(zip(ids.tolist(), ids[question.donors].tolist()))
    return UnitStore(store.store, store.units.dealt(donors, seeds.generator(seed, "controls", "clips")))


def _agreement(truth: IntArray, other: IntArray) -> float:
    return float((truth == other).mean())


def _alike(one: Store, other: Store) -> bool:
    """Whether two stores were extracted with the same layers and options."""
    return one.layers == other.layers and all(one.settings.get(name) == other.settings.get(name) for name in OPTIONS)


def random_store(store: Store, features: Path, ids: Sequence[str]) -> Store:
    """The store of the same backbone with random weights, made with the same options. ids: the clips in question.

    Raises StoreError with the commands that make it, or where layers, options or clips are not the same.
    """
    name = store.backbone + seeds.RANDOM
    alike = [one.folder.name for one in stores(features) if one.backbone == name and _alike(one, store)]
    try:
        found = find(features, name, alike)
    except StoreError as error:
        if str(error).startswith("Several"):
            raise
        if "acoustic" in store.settings:
            raise StoreError(
                f"--control random: {store.backbone} is an acoustic set, which has no weights; ask it of a backbone"
            ) from None
        if "text" in store.settings:
            raise StoreError(f"--control random: {store.backbone} reads text; it is for models of speech") from None
        if store.imported:
            raise StoreError(
                f"No features of {name!r} for --control random; `toolkit features import {name}` takes those of the "
                "same network untrained"
            ) from None
        raise StoreError(
            f"No features of {name!r} for --control random; `toolkit models randomise {store.backbone}` and then "
            f"`toolkit extract --model {name}`, with the options that {store.backbone} was extracted with, make them"
        ) from None
    if not _alike(found, store):
        raise StoreError(
            f"{found.folder.name} was not extracted with the layers and options of {store.folder.name}; expected both "
            "alike"
        )
    audio, ours = found.audio_sha256, store.audio_sha256
    if other := sorted(clip for clip in ids if audio.get(clip) != ours.get(clip)):
        raise StoreError(
            f"{found.folder.name} and {store.folder.name}: clip {other[0]!r} is in one of the two only, or another "
            f"recording there (and {len(other) - 1} more); extract both from the same manifest"
        )
    return found
