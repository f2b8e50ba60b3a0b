"""`toolkit compare`: is training the backbone worth it?"""

from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli.common import (
    HERE,
    AudioRoot,
    Made,
    ManifestFile,
    PageLanguage,
    Spellings,
    Unknown,
    Workspace,
    relative,
    remark,
    show,
)
from toolkit.core.errors import InputError, ManifestError


def compare(
    results: Annotated[
        list[str] | None,
        typer.Argument(help="Runs: folders, or names in result/.", show_default="all finished ones of the workspace"),
    ] = None,
    workspace: Workspace = HERE,
    manifest: ManifestFile = None,
    audio_root: AudioRoot = None,
    gaps: Annotated[
        str | None,
        typer.Option(
            help="Columns of the manifest whose groups are held against each other, with commas; or none.",
            show_default="sex, gender, age where they are there",
        ),
    ] = None,
    spellings: Spellings = "refuse",
    unknown: Unknown = "refuse",
    language: PageLanguage = "en",
) -> Made:
    """Frozen and fine-tuned side by side: scores, paired differences with intervals, and what each cost.

    Runs of one task on the same folds belong together; others are refused, or left out with the reason. Of --gaps,
    --spellings and --unknown are asked too; what stands for an unknown value is shown as not known unless it is kept.

    Example: toolkit compare --gaps sex,age_band
    """
    from toolkit.core import i18n as languages
    from toolkit.corpus.spellings import Rules
    from toolkit.result import compare as comparing
    from toolkit.result.report import compare_files, compare_narrative
    from toolkit.result.run import find_run

    say, result, rules = languages.of(language), workspace / "result", Rules(spellings, unknown)
    groups, left_out = comparing.gather(result, [find_run(name, result) for name in results or ()])
    for sentence in left_out:
        remark(f"left out: {sentence}")
    if not groups:
        raise InputError("No two runs of one task on the same folds; `toolkit finetune --from RUN` makes the second")
    folders = []
    for group in groups:
        comparison = comparing.compare(group, _columns(workspace, manifest, audio_root, gaps, rules, group))
        show(compare_files.terminal(comparison))
        print(f"\n{compare_narrative.answer(comparison)}")
        folder = compare_files.write(result, comparison, say)
        page = relative(folder / say.file(comparing.PAGE), workspace)
        print(f"The page, with CSV and LaTeX beside it: {page}")
        folders.append(folder)
    return Made(tuple(folders))


def _columns(
    workspace: Path, named: Path | None, audio_root: Path | None, gaps: str | None, rules: Any, runs: Any
) -> dict[str, dict[str, str]]:
    """What `--gaps` names, or what is usual; nothing where no whole manifest is there and none is asked for."""
    from toolkit.corpus.manifest import read
    from toolkit.corpus.spellings import known_names
    from toolkit.result.subgroups import USUAL, columns

    file, asked = named or workspace / "manifest.csv", named is not None or gaps is not None
    if gaps == "none" or not (asked or file.is_file()):
        return {}
    try:
        manifest = read(file, audio_root)
    except ManifestError:
        if asked:
            raise
        remark(f"{file.name} is not whole any more, so no gaps between groups are shown")
        return {}
    names = None if gaps is None else [name.strip() for name in gaps.split(",")]
    for name in names or USUAL:
        if name in manifest.columns:
            manifest = manifest.with_cells({name: known_names(name, manifest.cells(name), manifest.lines, rules)})
    return columns(manifest, names, [run.predictions for run in runs.values()])
