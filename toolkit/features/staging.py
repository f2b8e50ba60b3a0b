"""Shards that other processes compute for the one that holds a store: staged under its lease, committed by the holder.

Only the holder renames into the store, so a process that outlives its run can change nothing there; and a lease is a
folder, which the next holder deletes, so such a process has nowhere left to write.
"""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.core.artifacts import make_folder
from toolkit.core.errors import StoreError, disk_full_is_named
from toolkit.core.platform import sync_folder

PREFIX = ".lease-"


@contextmanager
def granted(store: Path) -> Iterator[Path]:
    """A new lease on a store that this process holds; all that was staged and not adopted goes with it."""
    folder = make_folder(store / f"{PREFIX}{secrets.token_hex(8)}")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clear(store: Path) -> None:
    """Withdraw the leases of interrupted runs, with what was staged under them."""
    for folder in store.glob(f"{PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)  # a process of that run may still be writing into it


def attempt(lease: Path) -> Path:
    """A folder under a lease for one attempt at a shard: two attempts never write the same file. Raises StoreError."""
    folder = lease / secrets.token_hex(8)
    try:
        with disk_full_is_named(lease):
            folder.mkdir()
    except FileNotFoundError:
        raise _taken_over(lease) from None
    return folder


def adopt(staged: Path, number: int) -> None:
    """Commit shard `number`, which is whole and durable in an attempt's folder, to the store of the lease.

    Raises StoreError where another run has taken the store over, DiskFullError.
    """
    store = staged.parent.parent
    try:
        with disk_full_is_named(store):
            for suffix in (".h5", ".json"):  # the sidecar is the commit, so its data is durable before it
                name = f"shard-{number:05d}{suffix}"
                (staged / name).rename(store / name)
                sync_folder(store)
    except FileNotFoundError:
        raise _taken_over(staged.parent) from None
    staged.rmdir()


def _taken_over(lease: Path) -> StoreError:
    return StoreError(f"Another run took {lease.parent.name} over; wait for it to end, then start again.")
