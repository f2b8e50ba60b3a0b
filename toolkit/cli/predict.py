"""`toolkit predict`: what a finished run's models say of other audio."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli.common import (
    HERE,
    AudioRoot,
    PageLanguage,
    Spellings,
    Unknown,
    Workspace,
    relative,
    remark,
    workspace_folder,
)
from toolkit.core.errors import SOME_CLIPS_FAILED, InputError, one_of


def add_to(app: typer.Typer) -> None:
    """Register the command on the root command."""
    app.command()(predict)


def predict(
    origin: Annotated[str, typer.Option("--from", help="A run: its folder, or its name in result/.")],
    audio: Annotated[list[Path] | None, typer.Argument(help="Audio files, and folders of them.")] = None,
    workspace: Workspace = HERE,
    manifest: Annotated[Path | None, typer.Option("--manifest", help="In place of AUDIO: a corpus.")] = None,
    audio_root: AudioRoot = None,
    round_: Annotated[
        int | None,
        typer.Option(
            "--round",
            help="For audio that is new to the run: the model of the round that tests this fold.",
            show_default="the mean of all rounds' models",
        ),
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(
            help="Cut longer recordings into windows of so many seconds, for a timeline.",
            show_default="as the run's clips were",
        ),
    ] = None,
    hop: Annotated[
        float | None, typer.Option(help="Seconds from one window's start to the next.", show_default="the window")
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(
            help="Of files with several, where no manifest names one: 0, 1 ..., or average.",
            show_default="the one that all of the run's clips are of, else the average",
        ),
    ] = None,
    spellings: Spellings = "refuse",
    unknown: Unknown = "refuse",
    negative: Annotated[
        str | None,
        typer.Option(help="Labels that count as negative in the summary, with commas.", show_default="by their names"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="A new folder for all of it.", show_default="predictions/RUN-... in the workspace"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int | None, typer.Option(min=1, help="That decode audio.", show_default="cores")] = None,
    language: PageLanguage = "en",
) -> None:
    """What a saved probe, or a fine-tuned model that was kept (--keep best), says of audio: a CSV with every label's
    probability and the decision; with windows a timeline, figures, Audacity label tracks and a summary per recording.

    A clip that the run itself tested, told by its audio, gets the model of its own round, which never heard it, and so
    the run's own prediction. Any other clip gets the mean of all rounds' models. Windows that are near silent are "no
    speech" in a timeline: no label holds there, and shares are of the speech. Started again after an interruption, it
    goes on. Files that cannot be decoded are named and make the exit code 3.

    Example: toolkit predict --from negative-whisper-medium-linear-0123456789ab calls/ --window 10 --hop 5
    """  # fmt: skip
    import shutil
    from contextlib import nullcontext

    from toolkit.audio.decode import SAMPLE_RATE
    from toolkit.cli.hearing import notes_on, of_channel
    from toolkit.core.artifacts import command_line, committed_folder, cores, sha256_of_file, signature
    from toolkit.core.i18n import of
    from toolkit.core.progress import bar
    from toolkit.corpus.adhoc import gather
    from toolkit.corpus.manifest import read
    from toolkit.corpus.material import Material
    from toolkit.corpus.spellings import Rules
    from toolkit.corpus.windows import Windows, cut
    from toolkit.finetune.audio_cache import record
    from toolkit.models.load import choose_device
    from toolkit.predict import files
    from toolkit.result import run as result_run
    from toolkit.result.negative import negative_labels

    if bool(audio) == (manifest is not None):
        raise InputError("Say what to predict: audio files or folders, or --manifest; one of the two")
    if output is not None and (output.exists() or output.is_symlink()):
        raise InputError(
            f"{output.resolve().name} is there already, and nothing is written over; name another --output"
        )
    folder = result_run.find_run(origin, workspace_folder(workspace) / "result")
    run = result_run.read(folder)
    if round_ is not None and round_ not in [choice.fold for choice in run.choices]:
        raise InputError(one_of("--round", round_, [choice.fold for choice in run.choices]))
    choose_device(device)
    rules, material = Rules(spellings, unknown), Material.kept_in(run.provenance)
    windows = Windows.of(window, hop) or _windows_of(run)
    if negative is not None and windows is None:
        raise InputError(
            f"--negative {negative!r} where no recording is cut into windows; it is for the summary of these, so give "
            "--window too, or leave it out"
        )
    bad = negative_labels(run.task) if negative is None else _labels(negative, run.task.labels)
    if windows and not bad:
        remark(f"no negative share: none of {list(run.task.labels)} is known to be negative by its name; name those "
               "that are with --negative")  # fmt: skip
    models = _Tuned(folder, run, workspace, device) if run.tuned else _Probe(folder, run, workspace, device)
    corpus = gather(audio, remark) if audio else read(manifest, audio_root)  # type: ignore[arg-type]
    corpus = cut(of_channel(corpus, channel, material), windows)
    with bar("decode", len(corpus.clips), "clips") as advance:
        heard = record(corpus, [clip.id for clip in corpus.clips], workers or cores(), advance)
    what = {
        "run": sha256_of_file(folder / result_run.RUN),
        "round": round_,
        "windows": [windows.seconds, windows.hop] if windows else None,
        "negative": list(bad),
        "clips": [(clip.id, clip.recording) for clip in corpus.clips],
        "rules": [spellings, unknown],
        "truth": {column: corpus.cells(column) for column in run.task.columns if column in corpus.columns},
        "audio_sha256": dict(heard.sha256),
    }
    place = output or workspace / "predictions" / f"{folder.name}-{signature(what)[:12]}"
    failed = dict(heard.failed)
    stood, say = place.is_dir(), of(language)
    if stood and (windows is None or (place / say.file(files.PAGE)).is_file()):
        remark("these predictions stood already, finished and whole")
        return _end(place, workspace, failed, "", say)
    features = place.parent / f".{folder.name}-{signature(what)[:12]}.features"
    ids, applied, more = models.ask(corpus, heard, round_, features)
    failed |= more
    by_id = {clip.id: clip for clip in corpus.clips}
    known = files.known_of(run.task, run.predictions.group, corpus, ids, remark, rules)
    notes = notes_on(material, windows is not None, heard, ids)
    made = {"run": folder.name, "run_sha256": what["run"], "round": round_, "windows": what["windows"],
            "command": command_line(), "negative": list(bad)}  # fmt: skip
    with nullcontext(place) if stood else committed_folder(place) as unfinished:  # stood: only a language was missing
        answer = files.write(
            unfinished, applied, [by_id[clip] for clip in ids], [heard.lengths[clip] / SAMPLE_RATE for clip in ids],
            failed, known, windows is not None, bad, folder.name, made,
            [by_id[clip].recording or clip for clip in failed], say, [heard.levels[clip] for clip in ids], notes,
        )  # fmt: skip
    shutil.rmtree(features, ignore_errors=True)
    _end(place, workspace, failed, answer, say)


def _end(place: Path, workspace: Path, failed: Mapping[str, str], answer: str, say: Any) -> None:
    from toolkit.predict.files import PAGE, PAPER, PREDICTIONS

    for clip, reason in failed.items():
        remark(f"failed: clip {clip!r} {reason}")
    if answer:
        print(answer)
    name = relative(place, workspace)
    print(f"predictions in {name}/{PREDICTIONS}")
    if (place / say.file(PAGE)).is_file():
        print(f"timeline, tracks, figures and a summary beside the page {name}/{say.file(PAGE)}")
    if (place / PAPER).is_file():
        print(f"the truth is known: `toolkit score {name}/{PREDICTIONS}` gives every metric")
    if failed:
        raise typer.Exit(SOME_CLIPS_FAILED)


def _labels(text: str, labels: Sequence[str]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in labels:
            raise InputError(one_of("--negative", name, labels))
    return names


def _windows_of(run: Any) -> Any:
    """What the clips of a run were cut by, a `toolkit.corpus.windows.Windows` or None."""
    from toolkit.corpus.windows import Windows

    return Windows.kept_in(run.provenance.get("features", run.provenance))


def _assigned(folder: Path, run: Any, ids: Sequence[str], heard: Any, only: int | None) -> Any:
    """Which rounds' models each clip is for, an `Assignment`; said aloud."""
    from toolkit.predict.inference import assign
    from toolkit.result.clips import read_clips

    assigned = assign(run, read_clips(folder), [(clip, heard.sha256[clip]) for clip in ids], only)
    own = int((assigned.own >= 0).sum())
    if own:
        remark(f"{own:,} of {len(ids):,} clips are the run's own; each gets the model that was not taught by it")
    if assigned.heard:
        remark(f"{len(assigned.heard):,} of them taught or chose the only model there is: its word on them flatters")
    if own < len(ids):
        which = f"the mean of {len(assigned.folds)} rounds' models" if only is None else f"the model of round {only}"
        remark(f"{len(ids) - own:,} clips are new to the run; they get {which}")
    return assigned


def _left(ids: Sequence[str], failed: Mapping[str, str]) -> None:
    if not ids:
        clip, reason = next(iter(failed.items()))
        raise InputError(f"None of {len(failed):,} clips can be predicted; the first, {clip!r}, {reason}")


class _Tuned:
    """The fine-tuned models of a run."""

    def __init__(self, folder: Path, run: Any, workspace: Path, device: str) -> None:
        from toolkit.finetune.apply import of_run
        from toolkit.models.checkpoint import locate

        self.folder, self.run, self.device = folder, run, device
        self.checkpoint = locate(run.backbone, workspace / "models")
        self.kept = of_run(folder, run, self.checkpoint)

    def ask(self, corpus: Any, heard: Any, only: int | None, features: Path) -> tuple[list[str], Any, dict[str, str]]:
        """Ids, what is said of them (`Applied`), and reasons by id where more clips failed."""
        from toolkit.core.progress import bar
        from toolkit.finetune.apply import apply
        from toolkit.predict.inference import together

        ids = [clip.id for clip in corpus.clips if clip.id in heard.sha256]
        _left(ids, heard.failed)
        assigned = _assigned(self.folder, self.run, ids, heard, only)
        asked = sum(map(len, assigned.rows))
        with bar("predict", asked, "clips") as advance:
            found = apply(self.run.task, self.kept, self.checkpoint, heard, ids, assigned.rows, self.device, advance)
        return ids, together(self.run.task, assigned, self.kept, found), {}


class _Probe:
    """The probes that a run kept, on features of its own store, or extracted now as those were."""

    def __init__(self, folder: Path, run: Any, workspace: Path, device: str) -> None:
        from toolkit.probe.apply import of_run

        self.folder, self.run, self.workspace, self.device = folder, run, workspace, device
        self.winners = of_run(folder, run)

    def ask(self, corpus: Any, heard: Any, only: int | None, features: Path) -> tuple[list[str], Any, dict[str, str]]:
        """As `_Tuned.ask`. features: a folder for what is extracted now; the caller deletes it."""
        from toolkit.predict.inference import together
        from toolkit.probe.apply import Joined, stored
        from toolkit.probe.winners import apply

        store, before = stored(self.run, self.workspace / "features", heard.sha256)
        missing = [clip for clip in corpus.clips if clip.id in heard.sha256 and clip.id not in before]
        parts = [(store, before)] if store and before else []
        failed: dict[str, str] = {}
        if missing:
            new = self._extract(corpus, missing, features)
            failed = {clip.id: new.failed[clip.id] for clip in missing if clip.id in new.failed}
            parts.append((new, {clip.id: clip.id for clip in missing if clip.id not in failed}))
        found = {clip for _, own in parts for clip in own}
        ids = [clip.id for clip in corpus.clips if clip.id in found]
        _left(ids, {**heard.failed, **failed})
        assigned = _assigned(self.folder, self.run, ids, heard, only)
        joined = Joined(parts)
        rows = [joined.rows_of([ids[row] for row in own]) for own in assigned.rows]
        probability = apply(joined, self.winners, rows)
        return ids, together(self.run.task, assigned, self.winners, probability), failed

    def _extract(self, corpus: Any, clips: Sequence[Any], features: Path) -> Any:
        """A `Store` with the layers that the winners read."""
        from dataclasses import replace

        from toolkit.core.errors import CheckpointError
        from toolkit.extract.run import extract
        from toolkit.extract.setup import Options
        from toolkit.models.checkpoint import locate

        settings = self.run.provenance["features"]
        checkpoint = locate(self.run.backbone, self.workspace / "models")
        if checkpoint.weights_sha256 != settings["weights_sha256"]:
            raise CheckpointError(
                f"The checkpoint {checkpoint.name} has other weights than those that {self.folder.name} probed"
            )
        needed = {layer for winner in self.winners for layer in winner.layers}
        decoder = any(layer.startswith("decoder.") for layer in needed)
        numbers = [int(layer.removeprefix("encoder.")) for layer in needed if layer.startswith("encoder.")]
        options = Options(
            dtype=settings["dtype"], context=settings["context"] if checkpoint.backbone.decoder_layers else "full",
            decoder=decoder, layers=None if decoder else (min(numbers), max(numbers)), device=self.device,
        )  # fmt: skip
        return extract(replace(corpus, clips=tuple(clips)), checkpoint, features, options, remark).store
