"""`toolkit transcribe`: what is said in every clip, by a local Whisper."""

from pathlib import Path

from toolkit.cli.common import CommandResult, place_of, remark
from toolkit.cli.options import command
from toolkit.core.errors import DONE, SOME_CLIPS_FAILED
from toolkit.core.imports import uncollected
from toolkit.extract.options import TranscribeOptions


@command(TranscribeOptions)
def transcribe(
    options: TranscribeOptions,
    workspace: Path,
    manifest: Path | None,
    audio_root: list[Path] | None,
) -> CommandResult:
    """Write down what is said in every clip into features/transcripts/, for an encoder of text to read.

    Greedily, without timestamps, in the language given. Nothing leaves the machine, and no text is shown: what is said
    is personal data. Started again, it does only what is missing. Clips that cannot be decoded, and near-silent ones,
    are named, and make the exit code 3.

    Example: toolkit transcribe --model whisper-small --language zh
    """
    with uncollected():
        from toolkit.extract import transcribe as stage

    place = place_of(workspace, manifest, audio_root)
    done = stage.plan(place, options).run()
    for clip, reason in done.failed.items():
        remark(f"failed: clip {clip!r} {reason}")
    flagged = "".join(f", {count:,} {flag}" for flag, count in sorted(done.flags.items()))
    print(
        f"{done.store.backbone}: {done.new:,} clips tried, {done.before:,} there before, {len(done.failed):,} "
        f"failed{flagged}; transcripts in {place.shown(done.store.folder)} ({done.seconds:,.1f} s)"
    )
    return CommandResult((), not done.new, SOME_CLIPS_FAILED if done.failed else DONE)
