"""The command `toolkit`: thin Typer commands; every heavy import sits inside its command."""

import atexit
import errno
import gc
import os
import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer

from toolkit.cli import combinations, diagnostics, features, manifest, models
from toolkit.cli.common import CommandResult, watched
from toolkit.cli.compare import compare
from toolkit.cli.contrast import contrast
from toolkit.cli.doctor import doctor
from toolkit.cli.extract import extract
from toolkit.cli.finetune import finetune
from toolkit.cli.predict import predict
from toolkit.cli.probe import probe
from toolkit.cli.run import run
from toolkit.cli.runs import runs
from toolkit.cli.score import score
from toolkit.cli.transcribe import transcribe
from toolkit.core import platform
from toolkit.core.errors import DONE, FAULT, MACHINE, ToolkitError, is_out_of_memory
from toolkit.core.version import __version__

EXIT_CODES = """
Exit codes: 0 done; 1 a fault of ours; 2 bad input or usage; 3 done, but some clips failed (they are named);
4 the machine said no (disk, memory, missing checkpoint); 130 and 143 interrupted, start again to go on.
"""

app = typer.Typer(
    name="toolkit",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.add_typer(manifest.app, name="manifest")
app.add_typer(models.app, name="models")
app.add_typer(features.app, name="features")
for one in (transcribe, extract, probe, score, finetune, compare, contrast, predict, runs, run, doctor):
    app.command()(one)
combinations.guard(app)


def _version(given: bool) -> None:
    if given:
        print(f"toolkit {__version__}")
        raise typer.Exit


@app.callback()
def toolkit(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and leave.")
    ] = (False),
) -> None:
    """Which layer of which pretrained speech model carries the emotion, and is fine-tuning worth its price?

    A study: manifest -> models -> extract -> probe -> report. Everything is in one workspace: the current folder,
    or --workspace, or TOOLKIT_WORKSPACE.
    """


def main() -> NoReturn:
    """Run the command line and exit with a documented code."""
    os.umask(0o077)  # embeddings and predictions are personal data
    platform.no_core_dumps()  # and so is our memory
    diagnostics.install()
    for sentence in platform.lacking():
        print(f"mind: {sentence}", file=sys.stderr)
    atexit.register(gc.freeze)  # else the interpreter ends by searching all of torch for garbage: up to a second
    _left.clear()
    watched(True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)
    if sys.argv[1:3] != ["models", "fetch"]:  # the only command that may open a socket
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        left = app(standalone_mode=False)
        code = left.exit_code if isinstance(left, CommandResult) else left
    except ToolkitError as error:
        code = _refuse(str(error), error.exit_code)
    except typer.TyperException as error:  # of the words typed; no words at all are answered by the help
        message = error.format_message()
        code = error.exit_code
        if message.startswith("Usage:"):
            print(message)
        else:
            joint = " " if message.endswith("?") else "; "
            _refuse(f"{message.rstrip('.')}{joint}`--help` after a command tells what it takes", code)
    except Exception as error:
        if os.environ.get("TOOLKIT_DEBUG") and not _left:
            print(diagnostics.trace(error), file=sys.stderr)
        detail = f"{diagnostics.where(error)} (TOOLKIT_DEBUG=1 shows all of it)"
        if is_out_of_memory(error):
            code = _refuse(f"memory ran out; what was committed stays: {detail}", MACHINE)
        else:
            code = _refuse(f"a fault of ours, please report it: {detail}", FAULT)
    sys.exit(_after_output(code if isinstance(code, int) else 0))


def _after_output(code: int) -> int:
    """The exit code, or MACHINE where all went well but what was printed: a disk was full. A reader may leave."""
    if isinstance(sys.stdout, diagnostics.Lasting):
        sys.stdout.flush()
        refusal = sys.stdout.refusal
        if code == DONE and refusal is not None and refusal.errno != errno.EPIPE:
            return _refuse(f"done, but what was printed could not be written: {refusal.strerror}", MACHINE)
    return code


# The exit code of the signal that came. Libraries in C may turn the SystemExit by which it unwinds the stack into an
# error of theirs, which then is no fault to report.
_left: list[int] = []


def _refuse(sentence: str, code: int) -> int:
    if _left:
        return _left[0]
    print(f"toolkit: {sentence}", file=sys.stderr)
    return code


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    """Unwinds the stack, so that folders are unlocked and no temporary file stays. 130 for Ctrl-C, 143 for SIGTERM.

    A second signal ends it at once; what it leaves, the next start clears away.
    """
    for signals in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signals, signal.SIG_DFL)
    _left.append(_refuse("interrupted; what was committed stays, start the same command again to go on", 128 + number))
    sys.exit(_left[0])
