"""Optuna studies on disk: finished trials alone, in Optuna's own journal, whole after a kill or a power cut."""

import json
import os
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial

from toolkit.core.artifacts import commit_file
from toolkit.core.errors import StoreError, disk_full_is_named

SIGNATURE, SUM = "signature", "crc32"


class StudyFile:
    """The studies of one run, in one journal of Optuna's (optuna-dashboard opens it).

    Only finished trials are ever written, a batch at a time, which is on the disk when `append` returns. What a kill or
    a power cut left of a batch is read up to its first torn line. Each line ends in a checksum of all up to it, so that
    one which was changed, doubled or lost is seen. Safe to share between threads, not processes: who
    writes holds the run's lock.

    Raises:
        StoreError: the file is no journal, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._name, self._lock, self._journal = path.name, Lock(), _Journal(path)
        try:
            self._storage = JournalStorage(self._journal)
            names = optuna.get_all_study_names(self._storage)
            self._studies = {name: optuna.load_study(study_name=name, storage=self._storage) for name in names}
        except Exception as error:  # whatever Optuna makes of entries that are none
            raise _unreadable(path, f" ({type(error).__name__})") from error

    def kept(self, name: str) -> list[FrozenTrial]:
        """The finished trials of a study, whatever it was made with; none where there is no study yet."""
        with self._lock:
            return self._studies[name].get_trials(deepcopy=False) if name in self._studies else []

    def finished(self, name: str, signature: str) -> list[FrozenTrial]:
        """The finished trials of a study, in order; the study is created if it is not there.

        Args:
            signature: Of everything that changes a score.

        Raises:
            StoreError: The study was made with another signature.
        """
        with self._lock:
            if name not in self._studies:  # whose sampler and pruner are never asked
                self._studies[name] = optuna.create_study(study_name=name, storage=self._storage, direction="minimize")
            study = self._studies[name]
            trials = study.get_trials(deepcopy=False)
            stored = study.user_attrs.get(SIGNATURE)
            if stored is None and not trials:
                study.set_user_attr(SIGNATURE, signature)
                self._journal.commit()
            elif stored != signature:
                raise StoreError(
                    f"{self._name}: the study {name!r} was made with other clips, labels, folds, seed or search "
                    "space; expected the same. Move the file away, or take another --workspace."
                )
            return trials

    def append(self, name: str, trials: Sequence[FrozenTrial]) -> None:
        """Add finished trials to a study that `finished` has opened, in order."""
        with self._lock:
            self._studies[name].add_trials(trials)
            self._journal.commit()


class _Journal(BaseJournalBackend):
    """A file of one process: entries, a line of JSON each, are on the disk when `commit` returns.

    Optuna's own backend locks the file and waits for the disk at each entry.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._entries, self._new, self._size, self._sum = path, list[dict[str, Any]](), b"", 0, 0
        try:
            content = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise StoreError(f"{path.name} cannot be read: {error.strerror}") from None
        for line, entry in _whole(content):
            stated = entry.pop(SUM, None) if isinstance(entry, dict) else None
            self._sum = _sum(entry, self._sum)
            if stated != self._sum:
                why = "changed since it was written" if stated else f"without the {SUM} that each line ends in"
                raise _unreadable(path, f": line {len(self._entries) + 1} is {why}")
            self._entries.append(entry)
            self._size += len(line)
        if content and not self._entries:
            raise _unreadable(path)

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        yield from self._entries[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        entries = [json.loads(_text(log)) for log in logs]
        self._entries += entries
        self._new += self._lines(entries)

    def commit(self) -> None:
        """Write what was appended behind what is on the disk, over what a write that failed has left there."""
        if not self._path.exists():  # not yet, or somebody has deleted it
            self._size, self._sum = 0, 0
            self._new = self._lines(self._entries)
            commit_file(self._path, self._write)  # its first line is never a torn one
        else:
            with disk_full_is_named(self._path.parent):
                self._write(self._path)
        self._size += len(self._new)
        self._new = b""

    def _lines(self, entries: Iterable[dict[str, Any]]) -> bytes:
        lines = b""
        for entry in entries:
            self._sum = _sum(entry, self._sum)
            lines += _text({**entry, SUM: self._sum}) + b"\n"
        return lines

    def _write(self, path: Path) -> None:
        with path.open("r+b" if self._size else "wb") as file:
            file.truncate(self._size)
            file.seek(self._size)
            file.write(self._new)
            file.flush()
            os.fsync(file.fileno())


def _unreadable(path: Path, why: str = "") -> StoreError:
    return StoreError(f"{path.name} is not a readable Optuna study file{why}; move it away to begin the search anew")


def _text(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode()


def _sum(entry: dict[str, Any], before: int) -> int:
    return zlib.crc32(_text(entry), before)


def _whole(content: bytes) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The lines up to the first that is torn, each with what it says."""
    for line in content.splitlines(keepends=True):
        try:
            entry = json.loads(line)
        except ValueError:
            return
        if not line.endswith(b"\n"):
            return
        yield line, entry
