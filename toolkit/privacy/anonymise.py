"""Ids and speakers as keyed hashes: what is computed from such a manifest names no one, and only the key links it."""

import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from toolkit.core.errors import InputError, one_of
from toolkit.core.platform import sync_folder
from toolkit.corpus import manifest as manifests
from toolkit.corpus.manifest import RECORDING, TEXT, Manifest

ALWAYS = ("id", "speaker", RECORDING)  # columns that are hashed where there are any
HASH_DIGITS = 16  # of 64: two of 100,000 names share them with a chance of 3 in 10,000,000,000; it is checked
KEY = re.compile(r"[0-9a-f]{64}\n?")


@dataclass(frozen=True)
class Key:
    """A secret of 32 bytes. Who has it can check whether a hash is a name's; without it no one can try names."""

    secret: bytes

    def pseudonym(self, column: str, name: str) -> str:
        """HMAC-SHA256 (RFC 2104) of column and name; begins with a letter, so that no program reads it as a number."""
        digest = hmac.new(self.secret, f"{column}\0{name}".encode(), hashlib.sha256).hexdigest()
        return f"{column[0] if column[0].isalpha() and column[0].isascii() else 'x'}{digest[:HASH_DIGITS]}"


def key_of(path: Path, forbidden: Collection[Path]) -> Key:
    """Read a key, or make one where there is no such file, for the owner alone.

    forbidden: folders that are made to be passed on; a key in one of them would undo it. Raises InputError.
    """
    place = path.resolve()
    for folder in forbidden:
        if place.is_relative_to(folder.resolve()):
            raise InputError(
                f"The key may not be in {folder.resolve().name}/, with what it protects; take another place"
            )
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(place)
    except OSError as error:
        raise InputError(f"The key file {path.name} cannot be made: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    sync_folder(place.parent)
    return _read(place)


def _read(path: Path) -> Key:
    try:
        mode, text = path.stat().st_mode, path.read_text("ascii", errors="replace") if path.is_file() else ""
    except OSError as error:
        raise InputError(f"The key file {path.name} cannot be read: {error.strerror}") from None
    if not KEY.fullmatch(text):
        raise InputError(f"{path.name} is no key, expected 64 hexadecimal digits; a new file's name makes one")
    if stat.S_IMODE(mode) & 0o077:
        raise InputError(f"The key file {path.name} can be read by others; `chmod 600` it first")
    return Key(bytes.fromhex(text))


def anonymise(manifest: Manifest, out: Path, key: Key, also: Collection[str] = (), keep_text: bool = False) -> int:
    """Write a manifest with keyed hashes for ids and speakers, everything else as it is; returns the hashed columns.

    also: more columns that name someone. keep_text: the column `text` too, by which people are known and which is left
    out otherwise. Paths stay: the audio is not moved. Raises InputError for an unknown
    column, for `out` that is there already, and where two names share a hash.
    """
    free = [column for column in manifest.columns if column not in manifests.RESERVED]
    for column in also:
        if column not in free:
            raise InputError(one_of("--also", column, free))
    if out.exists():
        raise InputError(f"{out.resolve().name} is there already and is not overwritten; give another --out")
    if out.parent.resolve() != manifest.home:
        raise InputError(f"--out {out.name}: expected a file in the folder that the manifest's paths start from")
    hashed = [column for column in manifest.columns if column in (*ALWAYS, *also)]
    cells = {column: list(manifest.cells(column)) for column in manifest.columns}
    for column in hashed:
        names = cells[column]
        cells[column] = [key.pseudonym(column, name) if name else "" for name in names]
        if len(set(cells[column])) != len(set(names)):
            raise InputError(f"Two names of the column {column!r} share a hash; take another key")
    kept = [column for column in manifest.columns if column != TEXT or keep_text or TEXT in also]
    manifests.write(out, kept, list(zip(*(cells[column] for column in kept))))
    return len(hashed)
