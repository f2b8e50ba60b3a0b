"""The stages of a study: extract, probe, score."""

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.common import (
    HERE,
    AudioRoot,
    Made,
    ManifestFile,
    RayAddress,
    Spellings,
    Unknown,
    Workspace,
    manifest_file,
    of_bytes,
    relative,
    remark,
    show,
)
from toolkit.cli.probe import probe
from toolkit.core.errors import DONE, SOME_CLIPS_FAILED, InputError

Models = Annotated[
    list[str],
    typer.Option("--model", "-m", help="A name of `toolkit models list`, or a checkpoint folder. May be repeated."),
]


def add_to(app: typer.Typer) -> None:
    """Register the stages on the root command."""
    for command in (extract, probe, score):
        app.command()(command)


def extract(
    model: Models,
    workspace: Workspace = HERE,
    manifest: ManifestFile = None,
    audio_root: AudioRoot = None,
    dtype: Annotated[str, typer.Option(help="auto, float32 or bfloat16; auto says which it takes and why.")] = "auto",
    context: Annotated[
        str, typer.Option(help="What Whisper hears: full (30 s, padded) or clip (a different, cheaper feature).")
    ] = "full",
    decoder: Annotated[bool, typer.Option("--decoder", help="Whisper's decoder too, fed its start token.")] = False,
    layers: Annotated[
        str | None,
        typer.Option(help="Encoder layers to keep, e.g. 0-12; nothing above is computed.", show_default="all"),
    ] = None,
    frames: Annotated[
        list[str] | None,
        typer.Option(help="Keep this layer's frame-level states too, e.g. encoder.7. May be repeated."),
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(help="Cut longer recordings into windows of so many seconds, each a clip of its own."),
    ] = None,
    hop: Annotated[
        float | None, typer.Option(help="Seconds from one window's start to the next.", show_default="the window")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that decode audio.", show_default="cores")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try clips again that failed before.")] = False,
    ray: RayAddress = None,
) -> Made:
    """Compute every layer of every clip once, pooled to its mean and standard deviation over time, into features/.

    Started again, it does only what is missing. Clips that cannot be decoded are named and recorded, and make the
    exit code 3. Those that are near-silent, short, clipped, averaged over channels or have an offset are counted.

    Example: toolkit extract --model whisper-medium --model hubert-base-ls960
    """
    from contextlib import ExitStack
    from functools import partial

    from toolkit.audio.decode import averaged
    from toolkit.core.ray_cluster import joined
    from toolkit.corpus.manifest import read
    from toolkit.extract.ray import Spread
    from toolkit.extract.run import Here
    from toolkit.extract.run import extract as run
    from toolkit.extract.setup import Options, frame_layers
    from toolkit.models.checkpoint import locate

    corpus = read(manifest_file(workspace, manifest), audio_root, cells=False)
    options = Options(
        dtype=dtype,
        context=context,
        decoder=decoder,
        layers=layer_range(layers),
        frames=tuple(frames or ()),
        window=window,
        hop=hop,
        device=device,
        workers=workers,
        retry_failed=retry_failed,
    )
    checkpoints = [locate(name, workspace / "models") for name in model]
    for checkpoint in checkpoints:  # what does not fit one of them is refused before the first is run
        frame_layers(checkpoint, options)
    extracted = []
    with ExitStack() as stack:
        begin = partial(Spread, stack.enter_context(joined(ray, remark))) if ray else Here
        for checkpoint in checkpoints:
            done = run(corpus, checkpoint, workspace / "features", options, remark, begin=begin)
            extracted.append(done)
            for clip, reason in done.failed.items():
                remark(f"failed: clip {clip!r} {reason}")
            store, flagged = done.store, "".join(f", {count:,} {flag}" for flag, count in sorted(done.flags.items()))
            if done.flags.get("averaged"):
                remark(f"mind: {averaged(done.flags['averaged'], done.new + done.before)}")
            print(
                f"{checkpoint.name}: {done.new:,} clips new, {done.before:,} there before, {len(done.failed):,} "
                f"failed{flagged}; {len(store.layers)} layers x {store.width} in {relative(store.folder, workspace)} "
                f"({of_bytes(done.bytes)}, {done.seconds:,.1f} s)"
            )
    failed, new = any(done.failed for done in extracted), any(done.new for done in extracted)
    return Made(tuple(done.store.folder for done in extracted), not new, SOME_CLIPS_FAILED if failed else DONE)


def layer_range(text: str | None) -> tuple[int, int] | None:
    """First and last of "0-12" or "7". Raises InputError."""
    if text is None:
        return None
    first, dash, last = text.partition("-")
    if not (first.isdecimal() and (last.isdecimal() or not dash)):
        raise InputError(f"Bad --layers {text!r}, expected a range such as 0-12")
    return int(first), int(last if dash else first)


def score(
    file: Annotated[Path, typer.Argument(help="predictions.csv, or a CSV with `Predictions` and `Actual Labels`.")],
    spellings: Spellings = "refuse",
    unknown: Unknown = "refuse",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Every metric of a predictions file, with 95 % intervals over speakers.

    Example: toolkit score result/negative-whisper-medium-linear-0123456789ab/predictions.csv
    """
    import json

    from toolkit.corpus.spellings import Rules
    from toolkit.result.report.score import score_file

    scored = score_file(file, rules=Rules(spellings, unknown))
    if as_json:
        print(json.dumps(scored.to_json(), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        show(scored.renderable())
