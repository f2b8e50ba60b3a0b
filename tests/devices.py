"""What a test runs on that is no CPU: CUDA's device where there is one, and the made-up device elsewhere.

Never both: a made-up device that is known to torch is where it pins memory, and CUDA's then fails.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

DEVICES: dict[str, Callable[[], AbstractContextManager[torch.device]]]
if torch.cuda.is_available():
    DEVICES = {"cuda": lambda: nullcontext(torch.device("cuda:0"))}
else:
    from tests.fake_device import elsewhere

    DEVICES = {"elsewhere": elsewhere}


@contextmanager
def never_waiting(device: torch.device) -> Iterator[None]:
    """Fails where the host would wait for the device, which then has nothing to do."""
    if device.type != "cuda":
        from tests.fake_device import WAITS

        WAITS.clear()
        yield
        assert not WAITS
        return
    with warnings.catch_warnings(action="ignore"):  # a prototype, it says
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def watch() -> None:
    """The calling thread, until it ends, as within the made-up device's context."""
    if not torch.cuda.is_available():
        from tests.fake_device import watch as watched

        watched()
