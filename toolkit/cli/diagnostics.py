"""What is reported of a fault of ours, of a warning, and of an error in a thread: never with a folder of this machine.

And that work continues when nobody listens.
"""

import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

# A path from the root, as it is in the messages of Python and of libraries: at the beginning of a word, quoted or
# not. What is quoted may hold spaces.
QUOTED = re.compile(r"""(['"])(?:file://)?/(?:(?!\1)[^\n])*\1""")
BARE = re.compile(r"""(?<![\w.~:/<-])(?:file://)?/(?:[^\s'",;:()\[\]{}<>]+)""")


def without_folders(text: str) -> str:
    """A message with every absolute path cut down to its last part.

    >>> without_folders("No such file: '/home/ann/my study/a.wav' (see /home/ann/b)"), without_folders("1/2 s, and/or")
    ("No such file: 'a.wav' (see b)", '1/2 s, and/or')
    """
    text = QUOTED.sub(lambda match: match[1] + Path(match[0][1:-1]).name + match[1], text)
    return BARE.sub(lambda match: Path(match[0]).name, text)


def where(error: BaseException) -> str:
    """Type, place and message of an error."""
    frames = traceback.extract_tb(error.__traceback__)
    place = next((frame for frame in reversed(frames) if f"{os.sep}toolkit{os.sep}" in frame.filename), frames[-1])
    return f"{type(error).__name__} at {_file(place.filename)}:{place.lineno}: {without_folders(str(error))}"


def trace(error: BaseException) -> str:
    """All of an error, of what it came from and of its calls, the innermost last."""
    lines = []
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        lines.append(f"{trace(cause)}\nand then")
    for frame in traceback.extract_tb(error.__traceback__):
        lines.append(f"  {_file(frame.filename)}:{frame.lineno} in {frame.name}: {without_folders(frame.line or '')}")
    lines.append(f"{type(error).__name__}: {without_folders(str(error))}")
    return "\n".join(lines)


def _file(name: str) -> str:
    path = Path(name)
    return f"{path.parent.name}/{path.name}"


class Lasting:
    """Standard output or error that outlasts its reader and its disk: what cannot be written any more is dropped.

    refusal: what ended it. A pipe's reader that goes (`| head`), or a log on a full disk, must not end hours of work.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.refusal: OSError | None = None

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            self.refusal = error
            nowhere = os.open(os.devnull, os.O_WRONLY)  # for what is buffered still, and all that comes
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def install() -> None:
    """Let Python, too, say no folder: in warnings, and in errors that nothing else takes; and let its output last."""

    def warned(message: Warning | str, category: type[Warning], *_: object, **__: object) -> str:
        return f"{category.__name__}: {without_folders(str(message))}\n"

    def raised(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
        print(f"toolkit: {trace(error)}", file=sys.stderr)

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            print(f"toolkit: in a thread: {trace(args.exc_value)}", file=sys.stderr)

    def ignored(args: "sys.UnraisableHookArgs") -> None:
        if args.exc_value is not None:
            print(f"toolkit: passed over: {trace(args.exc_value)}", file=sys.stderr)

    for name in ("stdout", "stderr"):
        if (stream := getattr(sys, name)) is not None:
            setattr(sys, name, Lasting(stream))
    warnings.formatwarning = warned
    sys.excepthook, threading.excepthook, sys.unraisablehook = raised, in_thread, ignored
