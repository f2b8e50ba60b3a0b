"""Folds that keep every group (a caller by default) on one side, written to a file with a hash."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from toolkit.core import seeds
from toolkit.core.artifacts import commit_hashed, read_hashed, signature
from toolkit.core.errors import SplitError, one_of
from toolkit.corpus.labels import IntArray

RESTARTS = 64
MAX_ASSIGNMENTS = 50_000  # of groups to folds, in all restarts together: a second or so
SPLIT_NAMES = {
    "train": "train",
    "dev": "dev",
    "development": "dev",
    "val": "dev",
    "validation": "dev",
    "test": "test",
}
FIXED_PARTS = ("test", "dev", "train")  # the folds 0, 1, 2 of a fixed split


@dataclass(frozen=True)
class Round:
    """One fit-and-test: positions of the clips in `Folds.ids`, disjoint in groups. `fold` is the test fold's number."""

    fold: int
    train: IntArray
    development: IntArray
    test: IntArray


@dataclass(frozen=True)
class Folds:
    """Which clip is tested when.

    ids, groups: of length n_clips. fold: (n_clips,) the fold of each clip.
    scheme "kfold": fold k is the test, fold k + 1 (mod K) the development set, the rest trains, for each k.
    scheme "fixed": a single round; the folds 0, 1, 2 are test, development, train.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    fold: IntArray
    group_by: str
    seed: int
    scheme: Literal["kfold", "fixed"] = "kfold"

    @property
    def count(self) -> int:
        """K, or 3 parts for a fixed split."""
        return int(self.fold.max()) + 1

    @property
    def content(self) -> dict[str, Any]:
        return {
            "format": 1,
            "scheme": self.scheme,
            "group_by": self.group_by,
            "seed": self.seed,
            "ids": list(self.ids),
            "groups": list(self.groups),
            "fold": [int(fold) for fold in self.fold],
        }

    @property
    def sha256(self) -> str:
        """The hash that two runs must share to be compared."""
        return signature(self.content)

    def rounds(self) -> Iterator[Round]:
        """K rounds, or one for a fixed split."""
        for fold in range(self.count if self.scheme == "kfold" else 1):
            development = self.fold == (fold + 1) % self.count
            test = self.fold == fold
            yield Round(fold, *(np.flatnonzero(part) for part in (~development & ~test, development, test)))

    @property
    def partition(self) -> frozenset[frozenset[str]]:
        """The groups of each fold, whatever its number."""
        members: dict[int, set[str]] = {}
        for group, fold in zip(self.groups, self.fold.tolist()):
            members.setdefault(fold, set()).add(group)
        return frozenset(map(frozenset, members.values()))

    def without(self, left_out: set[str]) -> "Folds":
        """The same folds less some clips (those that failed in extraction); no clip moves to another fold.

        Raises SplitError when a part is left empty.
        """
        keep = [clip not in left_out for clip in self.ids]
        fold = self.fold[np.array(keep, dtype=bool)]
        ids, groups = tuple(compress(self.ids, keep)), tuple(compress(self.groups, keep))
        folds = Folds(ids, groups, fold, self.group_by, self.seed, self.scheme)
        if len(np.unique(fold)) < self.count:
            raise SplitError(
                f"After {len(left_out)} clips were left out a fold is empty; {self.count} filled folds are needed"
            )
        return folds

    def write(self, path: Path) -> None:
        """Commit to JSON, with the content's hash inside."""
        commit_hashed(path, self.content)


def read(path: Path) -> Folds:
    """Read a folds file and verify its hash. Raises SplitError."""
    try:
        content = read_hashed(path)
        folds = Folds(
            tuple(content["ids"]),
            tuple(content["groups"]),
            np.array(content["fold"], dtype=np.int64),
            content["group_by"],
            content["seed"],
            content["scheme"],
        )
        if folds.content != content:
            raise ValueError("it holds more than folds")
    except FileNotFoundError:
        raise SplitError(f"No folds file {path.name}") from None
    except OSError as error:
        raise SplitError(f"{path.name} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise SplitError(f"{path.name} is not a folds file, or is damaged: {error}") from None
    return folds


def make(
    ids: Sequence[str],
    groups: Sequence[str],
    indicators: npt.NDArray[np.int64],
    count: int,
    seed: int,
    group_by: str = "speaker",
) -> Folds:
    """K folds with every group in one of them, labels and sizes as even as the groups allow.

    ids, groups: n_clips each; indicators: (n_clips, n_labels) of 0 and 1, one-hot or multilabel.
    Groups go one by one, largest first, to the fold where the squared deviation from an even share (of every label,
    relative to its frequency, and of the clips) grows least; of up to RESTARTS slightly shuffled orders the best is
    kept. Seed 0 tries the order without a shuffle too, so that other seeds are not drawn to that same deal.

    Raises SplitError for fewer than 3 folds, fewer groups than folds, or a group without a proper name.
    """
    if count < 3:
        raise SplitError(f"--folds {count}: at least 3 are needed, to train, to choose (development) and to test")
    _check_names(ids, groups, group_by)
    names, member = np.unique(np.array(groups, dtype=str), return_inverse=True)
    if len(names) < count:
        raise SplitError(
            f"--folds {count} needs at least {count} different values of {group_by!r}; the clips have {len(names)}. "
            "Ask for fewer folds or another --group-by"
        )
    weights = np.column_stack([np.ones(len(ids)), indicators]).astype(np.float64)
    totals = np.zeros((len(names), weights.shape[1]))
    np.add.at(totals, member, weights)
    totals /= np.maximum(weights.sum(axis=0), 1)
    generator = seeds.generator(seed, "splits", count, group_by)
    best, best_cost = np.zeros(len(names), dtype=np.int64), np.inf
    for restart in range(max(1, min(RESTARTS, MAX_ASSIGNMENTS // len(names)))):
        noise = 0.1 * (restart + (seed != 0)) / RESTARTS  # the first order of seed 0 is exactly largest first
        order = np.argsort(-totals.max(axis=1) * (1 + noise * generator.standard_normal(len(names))), kind="stable")
        assigned, cost = _assign(totals[order], count)
        if cost < best_cost - 1e-12:
            best_cost = cost
            best[order] = assigned
    return Folds(tuple(ids), tuple(groups), best[member], group_by, seed)


def _check_names(ids: Sequence[str], groups: Sequence[str], group_by: str) -> None:
    """Clips without a group would be one big group, and "a" and "a " two."""
    for clip, group in zip(ids, groups, strict=True):
        if not group or group != group.strip():
            raise SplitError(f"Clip {clip!r}: {group_by} {group!r}, expected text without spaces around it")


def _assign(totals: npt.NDArray[np.float64], count: int) -> tuple[IntArray, float]:
    """Greedy assignment of groups, in the order given, to folds. totals: (n_groups, 1 + n_labels), columns sum to 1."""
    share = np.zeros((count, totals.shape[1]))
    assigned = np.zeros(len(totals), dtype=np.int64)
    empty = np.ones(count, dtype=bool)
    for number, group in enumerate(totals):
        # of (share + group)^2 - share^2, what depends on the fold; rounded, so that ties fall alike on every machine
        growth = (share * group).sum(axis=1).round(12)
        if empty.sum() >= len(totals) - number:  # as many groups left as empty folds
            growth[~empty] = np.inf
        fold = int(np.argmin(growth))
        assigned[number] = fold
        empty[fold] = False
        share[fold] += group
    return assigned, float(((share - 1 / count) ** 2).sum())


def fixed(ids: Sequence[str], groups: Sequence[str], split: Sequence[str], group_by: str, seed: int) -> Folds:
    """The manifest's own `split` column: train / dev / test, or the number of a fold for each clip.

    Without a dev part, groups of the train part are set aside as one, a fifth of them drawn by the seed.
    Raises SplitError for other values, for missing parts, and for groups on both sides.
    """
    _check_names(ids, groups, group_by)
    values = sorted(set(split))
    if all(value.isascii() and value.isdigit() for value in values):
        numbers = sorted({int(value) for value in values})
        if len(numbers) < 3:
            raise SplitError(f"The split column numbers {len(numbers)} folds; at least 3 are needed")
        fold = np.searchsorted(numbers, [int(value) for value in split]).astype(np.int64)
        return _without_leaks(Folds(tuple(ids), tuple(groups), fold, group_by, seed))
    for value in values:
        if value.lower() not in SPLIT_NAMES:
            raise SplitError(one_of("split", value, ["train", "dev", "test", "a fold's number"]))
    parts = np.array([SPLIT_NAMES[value.lower()] for value in split], dtype=object)
    for part in ("train", "test"):
        if part not in parts:
            raise SplitError(f"The split column has no clip for {part!r}; it has {values}")
    if "dev" not in parts:
        trained = sorted({group for group, part in zip(groups, parts) if part == "train"})
        if len(trained) < 2:
            raise SplitError(f"The train part has a single {group_by}; two are needed to set one aside for development")
        chosen = seeds.generator(seed, "splits", "development").permutation(trained)[: max(1, len(trained) // 5)]
        parts[(parts == "train") & np.isin(np.array(groups, dtype=str), chosen)] = "dev"
    fold = np.array([FIXED_PARTS.index(part) for part in parts], dtype=np.int64)
    return _without_leaks(Folds(tuple(ids), tuple(groups), fold, group_by, seed, "fixed"))


def _without_leaks(folds: Folds) -> Folds:
    leaks = audit(folds, {})
    if leaks:
        raise SplitError(
            f"The split column leaks: {leaks[0]}" + (f" (and {len(leaks) - 1} more)" if len(leaks) > 1 else "")
        )
    return folds


def audit(folds: Folds, audio_sha256: Mapping[str, str], speakers: Mapping[str, str] | None = None) -> list[str]:
    """Every leak: a group, a speaker, or the same audio under two ids, on both sides of a split; a sentence each.

    audio_sha256: hash of the decoded audio by clip id; speakers: speaker by clip id, where that is not the group.
    """
    leaks = []
    places = [f"fold {fold}" for fold in range(folds.count)] if folds.scheme == "kfold" else list(FIXED_PARTS)
    for what, value_of in (
        (folds.group_by, dict(zip(folds.ids, folds.groups))),
        ("audio", audio_sha256),
        ("speaker", speakers or {}),
    ):
        seen: dict[str, tuple[str, int]] = {}
        reported: set[str] = set()
        for clip, fold in zip(folds.ids, folds.fold):
            value = value_of.get(clip)
            if value is None:
                continue
            first, first_fold = seen.setdefault(value, (clip, int(fold)))
            if first_fold != fold and value not in reported:
                reported.add(value)
                name = "the same audio" if what == "audio" else f"{what} {value!r}"
                leaks.append(
                    f"{name} is in {places[first_fold]} (clip {first!r}) and in {places[int(fold)]} (clip {clip!r})"
                )
    return leaks
