"""Signatures, folders and commits: what a run is called, what it was made with, and how a file becomes durable."""

import errno
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from toolkit.core.errors import InputError, MachineError, StoreError, disk_full_is_named
from toolkit.core.options import last_part
from toolkit.core.platform import lock, sync_folder
from toolkit.core.version import __version__

OWN_CODE = re.compile(r"(.+\.(?:py|onnx))(?::(.*))?")
CODE_SETTING = "own code"  # what a store's settings call it
STUDY_FILE = "study.jsonl"  # of a run's Optuna studies, see `core.study_file`
RUN_NAME = re.compile(r"[^\W_][\w.-]{0,49}")
LOCK_WAIT_SECONDS = 2.0  # a dying process can hold a lock for a moment
PROVENANCE_PACKAGES = (
    "torch",
    "transformers",
    "h5py",
    "numpy",
    "scikit-learn",
    "lightgbm",
    "optuna",
    "soxr",
    "soundfile",
)
EXTRA_PACKAGES = ("av",)  # that decide about numbers where they are installed


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def signature(what_changes_the_numbers: Mapping[str, Any]) -> str:
    """SHA-256 (64 hex digits) of everything that changes the numbers; leave out workers, device and paths.

    >>> signature({"a": 1, "b": 2}) == signature({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(canonical_json(what_changes_the_numbers).encode()).hexdigest()


def run_folder(result: Path, task: str, model: str, sha256: str, name: str | None = None) -> Path:
    """Where the run of a signature is, or goes: result/[NAME-]TASK-MODEL-SIG12; one that is there keeps its name."""
    there = sorted(result.glob(f"*-{sha256[:12]}"))
    return there[0] if there else result / "-".join(filter(None, (name, task, model, sha256[:12])))


def check_run_name(name: str | None) -> None:
    """Raises InputError for what cannot begin a folder's name."""
    if name is not None and not RUN_NAME.fullmatch(name):
        raise InputError(f"Bad --name {name!r}, expected up to 50 letters, digits, _ . and -, a letter or digit first")


def cores() -> int:
    """Processors that this process may use, a job's share of the machine where the system says so."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # of Linux alone
        return os.cpu_count() or 1


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def commit_file(path: Path, write: Callable[[Path], None]) -> None:
    """Write `path` so that it is there whole or not at all.

    `write` gets a temporary path in the same folder; then fsync, rename, fsync of the folder. A failed write leaves
    nothing behind.

    Raises DiskFullError when there is no space, MachineError where nothing may be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_full_is_named(path.parent), _refusal_is_named(path):
        try:
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.rename(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _refusal_is_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS) and path.parent.is_dir():
            raise
        place = "/".join(path.absolute().parts[-2:])
        raise MachineError(f"{place} cannot be written: {error.strerror}") from None


def commit_text(path: Path, text: str) -> None:
    """`commit_file` for UTF-8 text, with the newlines it has."""

    def write(temporary: Path) -> None:
        temporary.write_bytes(text.encode())

    commit_file(path, write)


def commit_json(path: Path, value: Any) -> None:
    """`commit_file` for JSON a person may read; NaN is refused."""
    commit_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def commit_hashed(path: Path, content: Mapping[str, Any], name: str = "sha256") -> None:
    """`commit_json` with the content's signature inside, under this name."""
    commit_json(path, {**content, name: signature(content)})


def read_hashed(path: Path, name: str = "sha256") -> dict[str, Any]:
    """What `commit_hashed` wrote. Raises OSError, and ValueError for what is not as it was written."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.pop(name, None) != signature(content):
        raise ValueError("it has been changed since it was written: its hash does not fit")
    return content


def make_folder(folder: Path) -> Path:
    """Create `folder` and its parents, durably: else a power cut could take a folder with all that it holds.

    Raises DiskFullError, and MachineError where a folder may not be made or a file is in the way.
    """
    new = folder
    try:
        missing = [parent for parent in (folder, *folder.parents) if not parent.is_dir()]
        for new in reversed(missing):
            with disk_full_is_named(new.parent):
                new.mkdir(exist_ok=True)
                sync_folder(new.parent)
    except OSError as error:
        raise MachineError(f"The folder {new.name}/ cannot be made: {error.strerror}") from None
    return folder


@contextmanager
def committed_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder next to `folder` to write into; on leaving it is made durable and renamed to `folder`.

    A failure leaves nothing behind. Raises InputError when `folder` is there already, DiskFullError without space.
    """
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder.parent.name}/{folder.name} is there already; remove it or choose another place")
    parent = make_folder(folder.parent)
    holder = parent / f".{folder.name}.{os.getpid()}.tmp"
    shutil.rmtree(holder, ignore_errors=True)
    temporary = holder / folder.name  # so that errors about what is in it name the folder as it will be
    try:
        with disk_full_is_named(parent):
            temporary.mkdir(parents=True)
            yield temporary
            for path in sorted(temporary.rglob("*")):
                if path.is_dir():
                    sync_folder(path)
                    continue
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            sync_folder(temporary)
            _rename(temporary, folder)
            sync_folder(parent)
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def _rename(temporary: Path, folder: Path) -> None:
    try:
        temporary.rename(folder)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        raise InputError(
            f"{folder.parent.name}/{folder.name} was made by another run meanwhile; that one stays"
        ) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process alone.

    Raises StoreError after `LOCK_WAIT_SECONDS` if another run holds it.
    """
    with disk_full_is_named(folder), _refusal_is_named(folder / ".lock"):
        file = (folder / ".lock").open("w")
    with file:
        deadline = time.monotonic() + LOCK_WAIT_SECONDS
        while True:
            try:
                lock(file)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    place = "/".join(folder.resolve().parts[-2:])
                    raise StoreError(f"Another run is writing {place}; wait for it to end, then start again.") from None
                time.sleep(0.05)
        yield


def package_versions() -> dict[str, str]:
    """Of every package that decides about numbers; one of an extra that is not installed is not there."""
    versions = {name: metadata.version(name) for name in PROVENANCE_PACKAGES}
    for name in EXTRA_PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def model_name(path: Path) -> str:
    """What a checkpoint's folder is called: by its last part; in a cache of the Hugging Face hub as the hub calls it.

    >>> model_name(Path("hub/models--facebook--hubert-base-ls960/snapshots/0123")), model_name(Path("../my-hubert"))
    ('hubert-base-ls960', 'my-hubert')
    """
    repository = path.parent.parent if path.parent.name == "snapshots" else path
    owned = repository.name.startswith("models--")
    return repository.name.rpartition("--")[2] if owned else path.resolve().name


def code_file(name_or_path: str) -> tuple[Path, str] | None:
    """File and factory of a `--model` that is a Python file, or file and outputs of an ONNX graph; None for any other.

    >>> code_file("mine.py:large"), code_file("net.onnx:hidden.*"), code_file("whisper-small")
    ((PosixPath('mine.py'), 'large'), (PosixPath('net.onnx'), 'hidden.*'), None)
    """
    found = OWN_CODE.fullmatch(name_or_path)
    return (Path(found[1]), found[2] or "") if found and not Path(name_or_path).is_dir() else None


def code_name(file: Path, factory: str) -> str:
    """What its features are called.

    >>> code_name(Path("my/mine.py"), "large"), code_name(Path("net.onnx"), "hidden.*")
    ('mine-large', 'net-onnx')
    """
    return f"{file.stem}-{factory if file.suffix == '.py' else 'onnx'}"


def provenance(command: str) -> dict[str, Any]:
    """What a figure's footnote needs: the command, versions and kind of machine; no path, host or user name."""
    return {
        "command": command,
        "toolkit": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {cores()} cores",
        "packages": package_versions(),
    }


def command_line() -> str:
    """The command as typed, with folders stripped from absolute paths, so that a report can show it."""
    # `--option=/folder/file` is one word
    words = ["=".join(map(last_part, word.split("=", 1))) for word in sys.argv[1:]]
    command = shlex.join(["toolkit", *words])
    return re.sub(r"(--ray[= ])(?!local\b)\S+", r"\1ADDRESS", command)  # a host's name is private too
