"""`toolkit manifest`: make one from a known layout, and check it."""

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.common import (
    HERE,
    AudioRoot,
    CommandResult,
    ManifestFile,
    Spellings,
    Unknown,
    Workspace,
    place_of,
    show,
)
from toolkit.cli.options import command
from toolkit.core.errors import BAD_INPUT, DONE, SOME_CLIPS_FAILED, InputError
from toolkit.core.options import names
from toolkit.corpus.options import TableOptions
from toolkit.segment.options import SegmentOptions

app = typer.Typer(
    no_args_is_help=True,
    help="The corpus: import known layouts, check what is there.\n\n"
    "manifest.csv is UTF-8 CSV, one row a clip: id (unique), path (from the manifest's folder), optional start and end "
    "(seconds), channel (from 0), duration (seconds), speaker, split (train, dev, test, or a fold's number), and any "
    "label columns.",
)

Out = Annotated[
    Path | None, typer.Option("--out", help="The manifest to write.", show_default="manifest.csv in the workspace")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Write over a manifest that is there.")]


@app.command()
@command(TableOptions, ("workspace", "audio_root"))
def table(options: TableOptions, workspace: Path, audio_root: list[Path] | None) -> CommandResult:
    """Make a manifest of a table with a row for each clip: Excel's, or CSV as any program saves it.

    Paths may have backslashes, another case or no suffix; times may be by the clock; yes and no may be 是 and 否. It
    prints what it understood, and the line of every row that it did not: these are left out.

    Example: toolkit manifest table calls.xlsx --path 音频 --speaker 来电者 --label 情绪
    """
    from toolkit.corpus.table import table as run

    place = place_of(workspace)
    out = options.out or place.manifest_file
    done = run(options.file, out, options, audio_root)
    show(f"{done}\nwritten to {place.shown(out)}")
    return CommandResult((), exit_code=SOME_CLIPS_FAILED if done.left_out else DONE)


@app.command()
def folder(
    root: Annotated[Path, typer.Argument(help="Folder with one folder per label: ROOT/LABEL/**/FILE.")],
    workspace: Workspace = HERE,
    out: Out = None,
    label_column: Annotated[str, typer.Option(help="Name of the label column.")] = "label",
    speaker_regex: Annotated[
        str | None, typer.Option(help="Searched in each path; its first group is the speaker.")
    ] = None,
    regex: Annotated[
        str | None,
        typer.Option(
            help="Searched in each path; each named group is a column: (?P<speaker>..), label, start, sex ..."
        ),
    ] = None,
    label_names: Annotated[
        str | None, typer.Option(help="What codes of labels stand for, with commas: W=anger,T=sadness.")
    ] = None,
    overwrite: Overwrite = False,
) -> CommandResult:
    """Make a manifest of one folder per label, or of files whose names say it.

    Example: toolkit manifest folder corpus --label-column emotion --speaker-regex '/([0-9]+)_'

    CREMA-D: toolkit manifest folder AudioWAV --regex '(?P<speaker>[0-9]+)_[A-Z]+_(?P<label>[A-Z]+)_'
    """
    from toolkit.corpus.importers import folder as run

    place = place_of(workspace)
    made = out or place.manifest_file
    codes = names(label_names)
    done = run(root, made, label_column=label_column, speaker_regex=speaker_regex, regex=regex, label_names=codes,
               overwrite=overwrite)  # fmt: skip
    show(f"{done}\nwritten to {place.shown(made)}")
    return CommandResult((), exit_code=SOME_CLIPS_FAILED if done.left_out else DONE)


@app.command()
def corpus(
    layout: Annotated[str, typer.Argument(help="A known corpus or format; --list names all.")] = "",
    root: Annotated[Path | None, typer.Argument(help="Its folder.")] = None,
    workspace: Workspace = HERE,
    out: Out = None,
    text: Annotated[
        bool, typer.Option("--text", help="Keep what is said, where the corpus has it: personal data.")
    ] = False,
    overwrite: Overwrite = False,
    write_audio: Annotated[
        Path | None, typer.Option(help="Write audio that parquet files hold there, a new folder of personal data.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Name the layouts and the folder that each expects.")] = False,
) -> CommandResult:
    """Make a manifest of a known corpus: CASIA, CREMA-D, DAIC-WOZ, IEMOCAP, MSP-Podcast ..., or of a known format.

    Speakers, sex, age, emotions and scales are those of the corpus; so is a split that keeps speakers apart.

    Example: toolkit manifest corpus ravdess ../RAVDESS
    """
    from toolkit.corpus.layouts.importing import corpus as run
    from toolkit.corpus.layouts.registry import LAYOUTS

    if listed or not layout:
        print("\n".join(f"{name:20} {row.about}\n{'':20} {row.source}" for name, row in LAYOUTS.items()))
        return CommandResult(())
    if root is None:
        raise InputError(f"ROOT: expected the corpus's folder: toolkit manifest corpus {layout} ../FOLDER")
    place = place_of(workspace)
    made = out or place.manifest_file
    done = run(layout, root, made, text=text, overwrite=overwrite, write_audio=write_audio)
    show(f"{done}\nwritten to {place.shown(made)}")
    return CommandResult((), exit_code=SOME_CLIPS_FAILED if done.left_out else DONE)


@app.command()
def hotline(
    root: Annotated[Path, typer.Argument(help="Folder with CALL.csv and CALL/INDEX.wav for every call.")],
    workspace: Workspace = HERE,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a manifest of the hotline's layout: one CSV per call with index, role and the 11 labels (0 or 1).

    Role 1 is the caller, the call is the speaker, and `negative` is 1 where any label is.

    Example: toolkit manifest hotline calls
    """
    from toolkit.corpus.importers import hotline as run

    place = place_of(workspace)
    made = out or place.manifest_file
    show(f"{run(root, made, overwrite)}\nwritten to {place.shown(made)}")


@app.command()
@command(SegmentOptions, ("workspace", "audio_root"))
def segment(options: SegmentOptions, workspace: Path, audio_root: list[Path] | None) -> CommandResult:
    """Make a manifest of the turns in whole calls: a row for each, with start, end, speaker and the call's own columns.

    A voice activity detector finds them (pip install 'speech-layer-toolkit[segment]'). Two channels are two speakers.
    In one channel two voices are told apart by features of windows, --model; which voice is the caller's is not known.

    Example: toolkit manifest segment calls.csv --caller-channel 1
    """
    from toolkit.segment.stage import plan

    place = place_of(workspace, audio_root=audio_root)
    done = plan(place, options).run()
    show(f"{done}\nwritten to {place.shown(done.file)}")
    return CommandResult((), exit_code=SOME_CLIPS_FAILED if done.failed else DONE)


@app.command()
def check(
    workspace: Workspace = HERE,
    manifest: ManifestFile = None,
    audio_root: AudioRoot = None,
    spellings: Spellings = "refuse",
    unknown: Unknown = "refuse",
) -> None:
    """Counts per label and speaker, durations (seconds), sample rates, and every defect by line; exits with 2 if there
    is one. Nothing is decoded.

    Example: toolkit manifest check --manifest study/manifest.csv
    """
    from toolkit.corpus.manifest_report import render, summarise
    from toolkit.corpus.spellings import Rules

    summary = summarise(place_of(workspace, manifest).manifest_file, audio_root, Rules(spellings, unknown))
    show(render(summary))
    if summary.defects:
        raise typer.Exit(BAD_INPUT)


@app.command()
def anonymise(
    key: Annotated[Path, typer.Option("--key", help="The secret; made if there is no such file. Keep it apart.")],
    out: Annotated[Path, typer.Option("--out", help="The manifest to write, in the folder of the one it is made of.")],
    workspace: Workspace = HERE,
    manifest: ManifestFile = None,
    audio_root: AudioRoot = None,
    also: Annotated[list[str] | None, typer.Option(help="Another column that names someone. May be repeated.")] = None,
    keep_text: Annotated[
        bool, typer.Option("--keep-text", help="Keep the column text, which is left out otherwise.")
    ] = False,
    who: Annotated[str | None, typer.Option(help="Write nothing; print the hashes of this id or speaker.")] = None,
) -> None:
    """Write a manifest whose ids and speakers are keyed hashes (HMAC-SHA256); all that is made of it names no one.

    Paths and labels stay as they are; the column text, by which people are known, is left out. The same key gives the
    same hashes, so new calls join old ones; --who finds the hash of a caller, for `features purge`. Whoever has the key
    can test names: keep it where features/ and result/ never go.

    Example: toolkit manifest anonymise --key /safe/place/key --out anonymous.csv
    """
    from toolkit.corpus.manifest import TEXT, read
    from toolkit.privacy.anonymise import anonymise as run
    from toolkit.privacy.anonymise import key_of

    place = place_of(workspace, manifest)
    secret = key_of(key, [place.features, place.result])
    if who is not None:
        print("\n".join(f"{column}: {secret.pseudonym(column, who)}" for column in ("id", "speaker", *(also or ()))))
        return
    corpus = read(place.manifest_file, audio_root)
    columns = run(corpus, out, secret, also or (), keep_text)
    left = TEXT in corpus.columns and not keep_text and TEXT not in (also or ())
    hashed = f"{columns} columns hashed{', the column text left out' if left else ''}"
    print(f"{out.name}: {len(corpus.clips):,} clips, {hashed}; use it by --manifest {out.name}")
