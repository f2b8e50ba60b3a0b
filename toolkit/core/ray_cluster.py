"""Ray, where one machine is not enough: joining a cluster, and a room's work as its tasks."""

import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from toolkit.core import errors, ray_task
from toolkit.core.errors import InputError, MachineError, one_of
from toolkit.core.ray_task import Need, Refusal, Work, last_line, versions

LOCAL = "local"  # the address of a Ray that this run starts for itself
LOCAL_OBJECT_STORE_BYTES = 100_000_000  # tasks hand over files, not arrays
MOST_CORES = 4  # of one task; what they compute does not depend on it
AHEAD = 512  # tasks that wait in Ray at a time: enough for every node that joins, and few for the driver's memory
RETRIES = 4  # of a task whose worker or node died
CONNECT_TIMEOUT = 10.0  # that a head may take to answer
LOOK_EVERY_SECONDS = 0.5  # whether the run was interrupted
DEVICES = ("auto", "cpu", "cuda")
# Bytes of a path before "/ray/session_..._microseconds_process/sockets/plasma_store"; a socket has 107.
LONGEST_SOCKET = 107 - 4 - 45 - 21


class Cluster:
    """A Ray cluster that this process drives; `joined` gives it."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def need(self, device: str = "cpu", most_cores: int | None = None) -> Need:
        """What one task of this cluster may ask for, so that it fits on every node that can take it.

        device: one of DEVICES; "auto" is a GPU each where any node has one. Raises InputError, MachineError.
        """
        if device not in DEVICES:
            raise InputError(one_of("device with --ray", device, DEVICES))
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        with_cores = [node for node in nodes if node.get("CPU", 0) >= 1]
        with_gpus = [node for node in with_cores if node.get("GPU", 0) >= 1]
        if not with_cores:
            raise MachineError("No node of the Ray cluster has a core to give; start one with `ray start --address`")
        if device == "cuda" and not with_gpus:
            raise MachineError("No node of the Ray cluster has a GPU; `--device cpu` works everywhere")
        if with_gpus and device != "cpu":
            fair = min(int(node["CPU"] / node["GPU"]) for node in with_gpus)
            return Need(max(1, min(fair, most_cores or fair)), 1)
        return Need(min(most_cores or MOST_CORES, *(int(node["CPU"]) for node in with_cores)))

    def places(self, need: Need) -> int:
        """How many tasks with this need the cluster runs at a time, as it is now."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        room = [int(node.get("CPU", 0) / need.cores) for node in nodes]
        if need.gpus:
            room = [min(cores, int(node.get("GPU", 0))) for cores, node in zip(room, nodes)]
        return sum(room)

    def run(
        self, work: Work, common: Any, items: Iterable[Any], need: Need, folders: Sequence[Path]
    ) -> Generator[tuple[Any, Any], None, None]:
        """Each item with its result, as they get done: work(common, item, place) as a Ray task.

        work: a function of a module, so that a node finds its own. folders: absolute; every node must see them.
        A task whose worker or node died is tried again elsewhere, RETRIES times. What still waits or runs when the
        iterator is closed ends with the connection, and is not cancelled: Ray 2.60 aborts this process where a task is
        cancelled that is just giving its answer.

        Raises the ToolkitError that a task raised; MachineError for a node that has other versions than this one or
        lacks a folder, and for a task that keeps dying; ToolkitError for a fault.
        """
        ray = self._ray
        # As bytes, since arrays that Ray hands over are read-only; in a list, so that Ray hands on the reference, and
        # it is read after the versions are checked.
        shared = [ray.put(ray.cloudpickle.dumps((work, common)))]
        task = ray.remote(ray_task.task).options(
            num_cpus=need.cores, num_gpus=need.gpus, max_retries=RETRIES, name=work.__name__.lstrip("_")
        )
        todo = iter(items)
        running: dict[Any, Any] = {}
        while True:
            for item in islice(todo, AHEAD - len(running)):
                running[task.remote(versions(), [str(folder) for folder in folders], shared, item, need)] = item
            if not running:
                return
            with _signals_wait():
                ready, _ = ray.wait(list(running), timeout=LOOK_EVERY_SECONDS)
                results = [self._result(done) for done in ready]
            for done, result in zip(ready, results):
                yield running.pop(done), result

    def _result(self, done: Any) -> Any:
        try:
            outcome = self._ray.get(done)
        except self._ray.exceptions.RayTaskError as error:
            raise MachineError(f"A node could not begin its task: {last_line(error)}") from None
        except self._ray.exceptions.RayError as error:
            raise MachineError(
                f"A task died {RETRIES + 1} times, with its process or its node ({type(error).__name__}); what was "
                "committed stays. Ray's logs on that node say more"
            ) from None
        if isinstance(outcome, Refusal):
            raise getattr(errors, outcome.kind)(outcome.sentence)
        return self._ray.cloudpickle.loads(outcome)


@contextmanager
def joined(address: str, say: Callable[[str], None]) -> Iterator[Cluster]:
    """A Ray cluster for the length of the block.

    address: LOCAL starts Ray on this host alone, with all its cores and GPUs, and stops it in the end; otherwise
    HOST:PORT of a head that `ray start --head` made, or "auto" for the one of this host. say: gets what the user
    should know. Raises InputError for an address of another form, MachineError where Ray is not installed, or no
    cluster answers.
    """
    if address not in (LOCAL, "auto"):
        _check_listening(address)
    folder = None
    settings: dict[str, Any] = {"address": address}
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address == LOCAL:
        longest = LONGEST_SOCKET - len("/toolkit-ray-12345678")
        if len(os.fsencode(tempfile.gettempdir())) > longest:
            raise MachineError(
                f"The path of the folder for temporary files is too long for Ray's sockets: {longest} bytes at most; "
                "set TMPDIR to a shorter one, such as TMPDIR=/tmp"
            )
        folder = Path(tempfile.mkdtemp(prefix="toolkit-ray-"))  # of mode 700; Ray makes its own folders 777
        settings |= {
            "_temp_dir": str(folder / "ray"),
            "include_dashboard": False,
            "object_store_memory": LOCAL_OBJECT_STORE_BYTES,
        }
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray's switch for listening on 127.0.0.1 alone
        os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"] = "token", secrets.token_hex(32)
        say(f"Ray's logs are in {folder.name}/ of this host's temporary folder; they stay there after an error only")
    try:
        import ray
    except ImportError:
        raise MachineError("Ray is not installed here; `pip install 'speech-layer-toolkit[ray]'` adds it") from None
    with _signals_wait():
        try:
            ray.init(
                **settings,
                namespace="toolkit",
                log_to_driver=False,
                logging_level=logging.ERROR,
                # Ray would hide all GPUs but a task's own by a variable that a process reads once, yet processes are
                # used again; see ray_task
                runtime_env={"env_vars": {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}},
            )
        except Exception as error:  # Ray's own are of many kinds, some of them bare
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            raise MachineError(f"No Ray cluster at {address!r}: {last_line(error)}") from None
    ray._private.worker.print_to_stdstream = partial(_report, say)
    try:
        yield Cluster(ray)
    except Exception:
        folder = None  # its logs may be wanted
        raise
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _check_listening(address: str) -> None:
    """Whether anything listens there, since Ray would ask for minutes. Raises InputError, MachineError."""
    host, _, port = address.rpartition(":")
    if not (host and "/" not in host and port.isascii() and port.isdigit() and int(port) < 2**16):
        raise InputError(f"Bad --ray {address!r}, expected {LOCAL}, auto, or HOST:PORT of a head")
    try:
        socket.create_connection((host, int(port)), CONNECT_TIMEOUT).close()
    except OSError as error:
        raise MachineError(f"No Ray cluster at {address!r}: {error.strerror or error}") from None


def _report(say: Callable[[str], None], event: dict[str, Any], ignore_prefix: bool = False) -> None:
    """In place of Ray's own function, which prints pages of logs, with paths, among the results."""
    if any("will be retried" in line for line in event["lines"]):
        say("Ray lost a worker or a node; what it was doing is done again elsewhere")


@contextmanager
def _signals_wait() -> Iterator[None]:
    """A signal is handled when the block is over: Ray turns a handler's SystemExit into one of its own, of code 1, and
    its init takes SIGTERM for itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
