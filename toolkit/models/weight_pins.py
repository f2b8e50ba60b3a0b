"""Weights pinned at their first use: a checkpoint that changes afterwards is refused until a person accepts it."""

import errno
import hashlib
import json
from pathlib import Path

from toolkit.core.artifacts import commit_json, make_folder
from toolkit.core.errors import CheckpointError

FORMAT_VERSION = 1
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


def hold(models: Path, name: str, folder: Path, weights_sha256: str, accept: bool) -> None:
    """Compare a checkpoint's hash with the one in `models`/NAME.pin.json, which the first use writes.

    A checkpoint elsewhere than in `models` has its path's hash in that name. accept: write it again. Raises
    CheckpointError with both hashes where they differ. A `models` that may not be written keeps no pin.
    """
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    is_ours = folder.parent.resolve() == models.resolve()
    pin = models / f"{folder.name if is_ours else f'{name}-{place}'}.pin.json"
    again = f"`toolkit models accept {name}`"
    if pin.exists() and not accept:
        try:
            content = json.loads(pin.read_text(encoding="utf-8"))
            pinned = content["weights_sha256"] if content["format"] == FORMAT_VERSION else None
        except (OSError, ValueError, KeyError, TypeError):
            pinned = None
        if not isinstance(pinned, str):
            raise CheckpointError(
                f"{models.name}/{pin.name} is damaged; {again} writes it anew, if {name} is to be used"
            )
        if pinned != weights_sha256:
            raise CheckpointError(
                f"{name} is not what it was at its first use here: SHA-256 {weights_sha256}, pinned {pinned} in "
                f"{models.name}/{pin.name}. Restore its files; or, if you changed them, {again}"
            )
        return
    try:
        make_folder(models)
        commit_json(pin, {"format": FORMAT_VERSION, "weights_sha256": weights_sha256})
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
