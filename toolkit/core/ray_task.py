"""What a worker of Ray runs: the checks of its node, then the work."""

import os
import platform
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from toolkit.core.artifacts import package_versions
from toolkit.core.errors import MachineError, ToolkitError
from toolkit.core.version import __version__


@dataclass(frozen=True)
class Place:
    """Where a task runs. cores: that are its own. device: "cpu" or "cuda:N". node: how a message calls the node."""

    cores: int
    device: str
    node: str


@dataclass(frozen=True)
class Need:
    """What a task asks Ray for."""

    cores: int
    gpus: int = 0

    def __str__(self) -> str:
        return f"{'a GPU and ' if self.gpus else ''}{self.cores} core{'s' if self.cores > 1 else ''}"


Work = Callable[[Any, Any, Place], Any]  # what all tasks share, what is this one's, where it runs -> its result


@dataclass(frozen=True)
class Refusal:
    """An error that ended a task. kind: its class in `toolkit.core.errors`."""

    kind: str
    sentence: str


def task(expected: dict[str, str], folders: list[str], shared: list[Any], item: Any, need: Need) -> Any:
    """What a worker of Ray runs: the checks, then the work. A ToolkitError comes back as a value, without a path."""
    os.umask(0o077)
    os.environ["HF_HUB_OFFLINE"] = "1"
    import ray

    pickle: Any = ray.cloudpickle
    context = ray.get_runtime_context()
    node = f"{ray._private.worker.global_worker.node_ip_address} ({context.get_node_id()[:8]})"
    try:
        _check(node, expected, folders)
        work, common = pickle.loads(ray.get(shared[0]))
        return pickle.dumps(work(common, item, Place(need.cores, _device(ray, need), node)))
    except ToolkitError as error:
        local = isinstance(error, MachineError) and node not in str(error)  # a disk, a device: which machine's?
        return Refusal(_kind(error), f"Node {node}: {error}" if local else str(error))
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).parent.name}/{Path(frame.filename).name}:{frame.lineno}"
        text = str(error)
        for known in folders:
            text = text.replace(known, Path(known).name)
        return Refusal("ToolkitError", f"a fault of ours on node {node}: {type(error).__name__} at {place}: {text}")


def _kind(error: ToolkitError) -> str:
    """The nearest class in the error's tree that is made of one sentence."""
    return next(kind.__name__ for kind in type(error).__mro__ if "__init__" not in vars(kind))


def _check(node: str, expected: dict[str, str], folders: Sequence[str]) -> None:
    found = versions()
    for package, version in expected.items():
        if found[package] != version:
            raise MachineError(
                f"Node {node} has {package} {found[package]}, the driver {version}; install the same on every node"
            )
    for folder in folders:
        if not Path(folder).is_dir():
            raise MachineError(
                f"Node {node} does not see the folder {Path(folder).name}/; the workspace, the audio and the models "
                "must be on storage that all nodes share, at the same path"
            )


@cache
def versions() -> dict[str, str]:
    """What must be the same on every node for the same numbers; torch's build (+cpu, +cu130) may differ."""
    packages = {name: version.split("+")[0] for name, version in package_versions().items()}
    return {"toolkit": __version__, "Python": platform.python_version(), **packages}


def _device(ray: Any, need: Need) -> str:
    """The GPU that Ray gave this task, by its place among those that the process sees."""
    if not need.gpus:
        return "cpu"
    gpu = ray.get_gpu_ids()[0]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return f"cuda:{visible.split(',').index(str(gpu)) if visible else gpu}"


def last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
