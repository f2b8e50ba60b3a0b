"""`toolkit extract`: every layer of every clip, once."""

from pathlib import Path
from typing import Any

from toolkit.cli.common import CommandResult, Json, place_of, remark, show_json
from toolkit.cli.options import command
from toolkit.core.errors import DONE, SOME_CLIPS_FAILED
from toolkit.core.i18n import ENGLISH
from toolkit.core.imports import uncollected
from toolkit.core.progress import of_bytes
from toolkit.extract.options import ExtractOptions


@command(ExtractOptions)
def extract(
    options: ExtractOptions,
    workspace: Path,
    manifest: Path | None,
    audio_root: list[Path] | None,
    as_json: Json = False,
) -> CommandResult:
    """Compute every layer of every clip once, pooled to its mean and standard deviation over time, into features/.

    Started again, it does only what is missing. Clips that cannot be decoded are named and recorded, and make the
    exit code 3. Those that are near-silent, short, clipped, averaged over channels, have an
    offset or state no length are counted.

    Example: toolkit extract --model whisper-medium --model hubert-base-ls960
    """
    with uncollected():
        from toolkit.extract import stage

    return carry_out(stage.plan(place_of(workspace, manifest, audio_root), options), as_json)


def carry_out(planned: Any, as_json: bool = False) -> CommandResult:
    """Run an `extract.stage.Plan` and show what comes of it."""
    from toolkit.audio.decode import averaged

    place = planned.place

    def report(name: str, done: Any) -> None:
        for clip, reason in done.failed.items():
            remark(f"failed: clip {clip!r} {reason}")
        store, flagged = done.store, "".join(f", {count:,} {flag}" for flag, count in sorted(done.flags.items()))
        if done.flags.get("averaged"):
            remark(f"mind: {averaged(done.flags['averaged'], done.new + done.before)}")
        if not as_json:
            layers = ENGLISH.counted(len(store.layers), "layer")
            print(
                f"{name}: {done.new:,} clips tried, {done.before:,} there before, {len(done.failed):,} "
                f"failed{flagged}; {layers} x {store.width} in {place.shown(store.folder)} "
                f"({of_bytes(done.bytes)}, {done.seconds:,.1f} s)"
            )

    done = planned.run(report)
    show_json(as_json, done)
    return CommandResult(done.folders, done.cached, SOME_CLIPS_FAILED if done.failed else DONE)
