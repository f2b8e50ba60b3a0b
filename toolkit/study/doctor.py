"""What this machine can do, and what of a workspace is whole: one screen, with no name of a file, clip or person."""

import importlib.util
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from toolkit.core import artifacts, platform
from toolkit.core.errors import ManifestError, ToolkitError
from toolkit.core.i18n import ENGLISH
from toolkit.core.progress import of_bytes
from toolkit.corpus.place import Place

# The extras, by the module that shows each, and what it is for.
EXTRAS = {
    "pyarrow": "[parquet]: datasets' parquet files",
    "av": "[formats]: M4A, AMR, WMA, WebM, video",
    "pyworld": "[acoustic]: acoustic features",
    "onnxruntime": "[onnx]: ONNX graphs as backbones",
    "silero_vad": "[segment]: turns of whole calls",
    "ray": "[ray]: clusters and several GPUs",
}


@dataclass(frozen=True)
class Finding:
    """A line. about: its subject. found: in words. well: whether nothing is to be done about it."""

    about: str
    found: str
    well: bool = True


@dataclass(frozen=True)
class Examination:
    """lines: of the machine, then of the workspace."""

    lines: tuple[Finding, ...]

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(line) for line in self.lines]


def examine(place: Place) -> Examination:
    """Nothing is changed and no audio is decoded. A damaged thing is a line, not an error."""
    return Examination((*_machine(), *_workspace(place)))


def _machine() -> Iterator[Finding]:
    from toolkit.audio.decode import SUFFIXES
    from toolkit.models.load import choose_device
    from toolkit.models.precision import ladder

    made = artifacts.provenance("")
    yield Finding("toolkit", f"{made['toolkit']}, Python {made['python']}, {made['machine']}")
    yield Finding("packages", ", ".join(f"{name} {version}" for name, version in made["packages"].items()))
    device = choose_device("auto")
    _, reason = ladder("auto", device)
    yield Finding("device", f"{device.type}; {reason}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    yield Finding("memory", f"{memory / 1e9:.1f} GB, {artifacts.cores()} cores may be used" if memory else "unknown")
    yield Finding("audio", " ".join(suffix.removeprefix(".") for suffix in SUFFIXES))
    for module, purpose in EXTRAS.items():
        there = importlib.util.find_spec(module) is not None
        yield Finding("extra", f"{purpose}: {'installed' if there else 'not installed'}")
    for sentence in platform.lacking():
        yield Finding("system", sentence, well=False)


def _workspace(place: Place) -> Iterator[Finding]:
    free = shutil.disk_usage(place.folder).free
    yield Finding("disk", f"{free / 1e9:.1f} GB free for the workspace", well=free > 1e9)
    for about, check in (("manifest", _manifest), ("models", _models), ("features", _features), ("result", _runs)):
        yield _checked(about, check, place)


def _checked(about: str, check: Callable[[Place], Finding], place: Place) -> Finding:
    try:
        return check(place)
    except ManifestError as error:
        return Finding(about, f"{len(error.defects)} defects; `toolkit manifest check` names them", well=False)
    except (ToolkitError, OSError, ValueError, KeyError) as error:
        return Finding(about, f"not readable ({type(error).__name__})", well=False)


def _manifest(place: Place) -> Finding:
    if not place.manifest_file.is_file():
        return Finding("manifest", "none yet; `toolkit manifest` makes one", well=False)
    corpus = place.corpus(cells=False)
    return Finding("manifest", f"{len(corpus.clips):,} clips, {len(corpus.columns)} columns, no defects")


def _models(place: Place) -> Finding:
    from toolkit.models.checkpoint import inspect, installed

    families, bad = Counter[str](), 0
    for name, folder in installed(place.models).items():
        try:
            families[inspect(folder, name).backbone.family] += 1
        except ToolkitError:
            bad += 1
    counted = [f"{count} {family}" for family, count in sorted(families.items())]
    counted += [f"{bad} damaged or of no known family; `toolkit models show NAME` says which" if bad else ""]
    return Finding("models", ", ".join(filter(None, counted)) or "none yet; `toolkit models fetch NAME`", well=not bad)


def _features(place: Place) -> Finding:
    from toolkit.features.finding import stores

    totals = [store.total() for store in stores(place.features)]
    clips, failed = sum(one.clips for one in totals), sum(len(one.failed) for one in totals)
    size = sum(one.bytes for one in totals)
    return Finding(
        "features",
        f"{ENGLISH.counted(len(totals), 'store')}, {clips:,} clips, {failed:,} failed, {of_bytes(size)}; "
        "`toolkit features verify` compares their hashes",
    )


def _runs(place: Place) -> Finding:
    from toolkit.result.listing import listing

    states = Counter(str(row["state"]) for row in listing(place.result).rows)
    counted = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no runs yet"
    return Finding("result", counted, well=not states["damaged"])
