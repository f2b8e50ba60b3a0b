"""Rounds fitted several at a time, each on one thread, so that no figure depends on their number."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

from toolkit.core.errors import MachineError
from toolkit.core.forks import Ask, Item, Result, Run, can_fork, forked


@contextmanager
def one_thread() -> Iterator[None]:
    """torch, numpy and SciPy on one thread: no figure depends on how many there are."""
    import torch  # here, for nothing else of a finished run needs it
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, "blas"):
            yield
    finally:
        torch.set_num_threads(before)


def in_turn(
    run: Run[Item, Result],
    items: Iterable[Item],
    workers: int,
    in_forks: bool,
    serve: Ask = lambda: None,
) -> Iterator[Result]:
    """`run(item, ask)` of every item, `workers` at a time on one thread each, results in order.

    ask, serve: as `core.forks.forked` has them. in_forks: each in a fork where the system has them, for work that is
    many short calls from Python; in threads otherwise, where what waits is dropped when anything fails or interrupts.
    """
    with one_thread():
        if in_forks and workers > 1 and can_fork() and _learns_in_forks():
            yield from forked(run, items, workers, serve)
            return
        waiting = deque[Future[Result]]()
        pool = ThreadPoolExecutor(workers, initializer=_one_thread)
        try:
            for item in items:
                waiting.append(pool.submit(run, item, serve))
                while len(busy := [future for future in waiting if not future.done()]) >= workers:
                    wait(busy, return_when=FIRST_COMPLETED)
                while waiting and waiting[0].done():
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _learns_in_forks() -> bool:
    """Not where torch's autograd has begun threads of its own, as for GPUs it does; nor where a GPU is in use."""
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return False

    def learn(item: object, ask: Ask) -> None:
        torch.ones(1, requires_grad=True).backward()  # type: ignore[no-untyped-call]

    try:
        return list(forked(learn, [None], 1)) == [None]
    except (RuntimeError, MachineError):
        return False


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
