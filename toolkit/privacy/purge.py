"""One caller out of everything: the manifest, the stores, the runs, and the search afterwards."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.core.errors import InputError
from toolkit.corpus import manifest as manifests
from toolkit.corpus.manifest import Manifest
from toolkit.corpus.place import Place
from toolkit.corpus.windows import recording_of
from toolkit.features.store import Store
from toolkit.features.texts import every_store
from toolkit.privacy import purge_results
from toolkit.privacy.purge_features import Held, held
from toolkit.privacy.purge_features import purge as purge_store
from toolkit.privacy.purge_results import Touched
from toolkit.privacy.residue_search import Search, is_plain, search


@dataclass(frozen=True)
class Purge:
    """A caller on the way out. ids: of the clips; names: all that is searched for afterwards; lines: in the manifest.

    manifest: as far as it can be read, None where there is none.
    """

    workspace: Path
    manifest: Manifest | None
    ids: frozenset[str]
    names: frozenset[str]
    lines: tuple[int, ...]
    stores: tuple[tuple[Store, Held], ...]
    predicted: tuple[Path, ...]  # folders of `toolkit predict`
    results: Touched

    @classmethod
    def of(cls, workspace: Path, file: Path, speakers: frozenset[str], clips: frozenset[str]) -> "Purge":
        """Who and what is removed, from the manifest and from the runs; a clip whose audio is missing counts too.

        Raises InputError for a name that is nowhere, StoreError for a damaged store or run.
        """
        manifest = manifests.inspect(file)[0]
        rows = manifest.clips if manifest else ()
        known = {clip.id: clip.speaker for clip in rows}
        known |= {
            clip: speaker for clip, speaker in purge_results.speakers(workspace / "result").items() if clip not in known
        }
        ids = frozenset(clip for clip, speaker in known.items() if speaker in speakers or clip in clips) | clips

        def is_removed(clip: str) -> bool:
            return _is_removed(clip, ids)

        found = [(store, held(store, is_removed)) for store in every_store(workspace / "features")]
        results = purge_results.touched(workspace / "result", is_removed)
        strangers = speakers - set(known.values())
        lines = tuple(clip.line for clip in rows if clip.id in ids)
        if strangers:
            raise InputError(
                f"No clip of the speaker {min(strangers)!r} in {file.name} or in any run; where both have lost it, "
                "name the clips: --clip ID"
            )
        hashes = {sha256 for _, of_clip in found for sha256 in of_clip.audio_sha256}
        stored = {clip for _, of_clip in found for clip in of_clip.clips}
        names = speakers | ids | stored | hashes
        predicted = tuple(
            folder for folder in sorted((workspace / "predictions").glob("*/")) if search(folder, names).found
        )
        return cls(workspace, manifest, ids, names, lines, tuple(found), predicted, results)

    @property
    def plain(self) -> bool:
        """Whether some name is too short to be searched for in every file."""
        return any(map(is_plain, self.names))

    def sentences(self, models: bool, manifest_too: bool) -> Iterator[str]:
        """What is touched, a sentence a line."""
        results = self.results
        yield f"{len(self.ids):,} clips go"
        for store, inside in self.stores:
            if inside.clips:
                where = store.folder.relative_to(self.workspace / "features").as_posix()
                yield f"features/{where}: {len(inside.clips):,} clips in {len(inside.shards)} shards"
        for folder in results.runs:
            yield f"result/{folder.name}: " + ("deleted" if models else "made again without them")
        for folder, reason in results.lost.items():
            yield f"result/{folder.name}: deleted; {reason}"
        for folder in results.pages:
            yield f"result/{folder.name}: deleted; the command that made it makes it again"
        for folder in self.predicted:
            yield f"predictions/{folder.name}: deleted; `toolkit predict` makes it again"
        for path in results.folds:
            yield f"result/folds/{path.name}: written anew"
        if results.runs and not models:
            named = ", ".join(folder.name for folder in results.runs)
            yield f"The models of {named} have learnt from them and cannot unlearn it; --models deletes these runs"
        if results.unfinished:
            named = ", ".join(folder.name for folder in results.unfinished)
            yield f"Unfinished, and may have learnt from them: {named}; " + (
                "deleted" if models else "--models deletes them"
            )
        if self.manifest is None or not self.lines:
            return
        where = f"{self.manifest.name}, {of_lines(self.lines)}"
        if manifest_too:
            yield f"{where}: taken out; the audio files are yours to delete"
        else:
            yield (
                f"{where} and the audio files are yours to delete, or give --manifest-too for the lines; while they "
                "stand, `toolkit extract` computes these clips again"
            )

    def run(self, models: bool, manifest_too: bool) -> None:
        """Runs first, stores next, the manifest last: an interrupted purge still finds the names in it."""

        def is_removed(clip: str) -> bool:
            return _is_removed(clip, self.ids)

        purge_results.purge(self.workspace / "result", self.results, is_removed, models)
        for folder in self.predicted:
            shutil.rmtree(folder)
        for store, inside in self.stores:
            if inside.clips:
                purge_store(store, is_removed)
        if manifest_too and self.manifest is not None and self.lines:
            kept = [clip for clip in self.manifest.clips if clip.id not in self.ids]
            file = self.manifest.home / self.manifest.name
            manifests.write(file, self.manifest.columns, [clip.cells for clip in kept])

    def search(self, manifest_too: bool) -> Search:
        """A residue search for every name, all over the workspace but in what is the user's own."""
        files: list[Path] = []
        if self.manifest is not None:
            files = [self.manifest.audio_path(clip) for clip in self.manifest.clips]
            if not manifest_too:
                files.append(self.manifest.home / self.manifest.name)
        return search(self.workspace, self.names, files, [self.workspace / "models"])


def purge(
    place: Place,
    speakers: Sequence[str],
    clips: Sequence[str],
    models: bool = False,
    manifest_too: bool = False,
    dry_run: bool = False,
) -> Search | None:
    """Take callers or clips out of everything, say what is touched, and search for what is left of them.

    Args:
        place: The study; its `say` gets a sentence for each thing that is touched, before it is.
        speakers: Callers, as in the manifest.
        clips: Ids of clips or recordings.
        models: Delete the runs whose models learnt from them, instead of their rows.
        manifest_too: Take their lines out of the manifest as well; the audio stays.
        dry_run: Touch nothing.

    Returns:
        What the search found, which should be nothing; None where nothing was touched.

    Raises:
        InputError: for nobody, or a name that is in neither manifest nor runs.
        StoreError: for a damaged store or run.
    """
    if not speakers and not clips:
        raise InputError("Say who goes: --speaker NAME, or --clip ID")
    if not dry_run:
        purge_results.finish(place.result)  # what another, interrupted purge has begun
    task = Purge.of(place.folder, place.manifest_file, frozenset(speakers), frozenset(clips))
    for sentence in task.sentences(models, manifest_too):
        place.say(sentence)
    if dry_run:
        return None
    task.run(models, manifest_too)
    left = task.search(manifest_too)
    plain = " (short names and plain numbers as whole values only)" if task.plain else ""
    found = "found still" if left.found else "found nowhere"
    place.say(f"searched {left.files:,} files, {left.bytes:,} bytes{plain}: {found}")
    for name, names in left.found.items():
        more = f" and {len(names) - 1} more names" if len(names) > 1 else ""
        place.say(f"  {name}: {names[0]}{more}")
    return left


def _is_removed(clip: str, ids: frozenset[str]) -> bool:
    """Whether a clip is one of these, or a window of one."""

    return clip in ids or recording_of(clip) in ids


def of_lines(lines: Sequence[int]) -> str:
    """Line numbers, in order, as a person reads them.

    >>> of_lines([2, 3, 4, 9]), of_lines([7])
    ('lines 2-4, 9', 'line 7')
    """
    runs: list[list[int]] = []
    for line in lines:
        if runs and line == runs[-1][-1] + 1:
            runs[-1].append(line)
        else:
            runs.append([line])
    listed = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"{'line' if len(lines) == 1 else 'lines'} {listed}"
