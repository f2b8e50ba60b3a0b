"""`toolkit models fetch`: the only code that opens a socket. It brings one backbone from the Hugging Face hub."""

import errno
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from toolkit.core.artifacts import commit_json, committed_folder, locked, make_folder, sha256_of_file
from toolkit.core.errors import CheckpointError, DiskFullError, InputError, MachineError, one_of
from toolkit.models.checkpoint import Checkpoint, family_of, inspect
from toolkit.models.convert import pickled
from toolkit.models.files import (
    CONFIG,
    PICKLED_INDEX,
    PICKLED_WEIGHTS,
    PREPROCESSOR,
    PROCESSOR,
    TEXT_FILES,
    TOKENIZERS,
    WEIGHTS,
    WEIGHTS_INDEX,
    prefix_in,
    read_json,
)
from toolkit.models.registry import BACKBONES

RECORD = "fetched.json"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
MIRROR = "HF_ENDPOINT"  # the hub client's own variable
SHA256 = re.compile("[0-9a-f]{64}")
# Weights in the order in which they are preferred: one file, or an index and its shards.
FORMS = (
    (WEIGHTS, ""),
    (WEIGHTS_INDEX, "model-*-of-*.safetensors"),
    (PICKLED_WEIGHTS, ""),
    (PICKLED_INDEX, "pytorch_model-*-of-*.bin"),
)


@dataclass(frozen=True)
class Source:
    """What is fetched. name: of the folder to make. hub_id: "owner/name"."""

    name: str
    hub_id: str


def source_of(name_or_id: str) -> Source:
    """What a name of the table, or an id of the hub, means.

    A folder is called as the table calls the model, else by the id's last part; where that is another model's name in
    the table, by both parts, "owner--name". Raises InputError for what is neither.

    >>> source_of("whisper-small").hub_id, source_of("openai/whisper-small").name, source_of("me/whisper-small").name
    ('openai/whisper-small', 'whisper-small', 'me--whisper-small')
    """
    if name_or_id in BACKBONES:
        return Source(name_or_id, BACKBONES[name_or_id].hub_id)
    if not HUB_ID.fullmatch(name_or_id):
        raise InputError(one_of("model", name_or_id, list(BACKBONES), ", or an id of the hub: owner/name"))
    for row in BACKBONES.values():
        if row.hub_id.lower() == name_or_id.lower():
            return Source(row.name, row.hub_id)
    name = name_or_id.rpartition("/")[2]
    return Source(name_or_id.replace("/", "--") if name in BACKBONES else name, name_or_id)


def fetch(source: Source, models_folder: Path, progress: Callable[[str], None]) -> Checkpoint:
    """Download a checkpoint into `models_folder`/NAME, check it, and return it.

    The hub's current commit is resolved first, every file is taken from that commit, and `fetched.json` keeps it with
    each file's size and SHA-256. Of a large model the shards that hold the audio part are taken, and named by the
    index. Weights that the hub has only as a pickle are read with `weights_only` and written as safetensors. The folder
    appears whole or not at all; until then what has come is in `models_folder`/.NAME.fetching, from where the next call
    resumes, in the middle of a file too. The variable HF_ENDPOINT names a mirror. progress: gets sentences to show.

    Raises MachineError when the hub cannot be reached, CheckpointError when it has something else than expected,
    InputError when the folder is there already, DiskFullError, StoreError while another process fetches it.
    """
    target = models_folder / source.name
    place = f"{models_folder.name}/{source.name}"
    if target.exists() or target.is_symlink():
        raise InputError(f"{place} is there already; remove it to fetch it again")
    commit, sizes = _ask_the_hub(source, place)
    chosen = _choose(source, sizes)
    staging = make_folder(models_folder / f".{source.name}.fetching")
    with locked(staging):
        for other in staging.glob("*/"):
            if other.name != commit:  # what came of it is of no use any more
                shutil.rmtree(other)
        try:
            came = _bring(source, commit, chosen, sizes, staging, place, progress)
            with committed_folder(target) as folder:
                pickles = [file for file in chosen if file.endswith(".bin") or file == PICKLED_INDEX]
                if pickles:
                    progress(f"{pickles[0]} -> safetensors")
                    pickled.write_safetensors(came, folder)
                for file in chosen:
                    if file not in pickles and (came / file).is_file():
                        shutil.move(came / file, folder / file)
                if WEIGHTS_INDEX in chosen:
                    _name_only_what_came(folder)
                files = {
                    path.name: {"bytes": path.stat().st_size, "sha256": sha256_of_file(path)}
                    for path in sorted(folder.iterdir())
                }
                record = {"hub_id": source.hub_id, "commit": commit, "files": files}
                if pickles:
                    record["converted_from"] = pickles[0]
                commit_json(folder / RECORD, record)
                checked = inspect(folder, source.name)
        except CheckpointError:  # the same would come again
            shutil.rmtree(staging)
            raise
    shutil.rmtree(staging, ignore_errors=True)
    return Checkpoint(checked.name, target, checked.backbone, checked.weights_sha256)


def _ask_the_hub(source: Source, place: str) -> tuple[str, dict[str, int | None]]:
    """The commit of the hub's main branch, and the size in bytes of every file there; None: not stated."""
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(source.hub_id, files_metadata=True)
    except Exception as error:
        raise _unreached(source, place, error, "") from error
    if not info.sha or not re.fullmatch("[0-9a-f]+", info.sha):
        raise CheckpointError(f"The hub names no commit of {source.hub_id}")
    return info.sha, {file.rfilename: file.size for file in info.siblings or []}


def _choose(source: Source, sizes: Mapping[str, int | None]) -> list[str]:
    """The files to take: the two configurations, the tokenizer's, and the weights in one form only."""
    plain = [file for file in sizes if PurePosixPath(file).name == file]
    for files in ((CONFIG,), (PREPROCESSOR, PROCESSOR, *TOKENIZERS)):
        if not set(files) & set(plain):
            raise CheckpointError(f"{source.hub_id} has no {files[0]} on the hub; expected a transformers checkpoint")
    chosen = [file for file in (CONFIG, PREPROCESSOR, PROCESSOR, *TEXT_FILES) if file in plain]
    for first, shards in FORMS:
        if first in plain:
            return [*chosen, first, *(file for file in plain if shards and PurePosixPath(file).match(shards))]
    raise CheckpointError(f"{source.hub_id} has neither {WEIGHTS} nor {PICKLED_WEIGHTS} on the hub")


def _bring(
    source: Source,
    commit: str,
    chosen: list[str],
    sizes: Mapping[str, int | None],
    staging: Path,
    place: str,
    progress: Callable[[str], None],
) -> Path:
    """Download what is not there yet, the small files first: the folder that then has all of it.

    Takes shards that nothing of is needed out of `chosen`.
    """
    folder = make_folder(staging / commit)
    small = [file for file in chosen if file.endswith(".json") or file in TEXT_FILES]
    kept = f"What has come is kept in {staging.parent.name}/{staging.name}; the same command goes on from there. "
    _download(source, commit, small, sizes, folder, place, kept)
    config = read_json(folder, CONFIG)
    family = family_of(source.name, config)
    if not family.reads and not {PREPROCESSOR, PROCESSOR} & set(chosen):
        raise CheckpointError(f"{source.hub_id} has no {PREPROCESSOR} on the hub; expected a transformers checkpoint")
    if WEIGHTS_INDEX in chosen:
        others = _others(folder, family.prefix)
        chosen[:] = [file for file in chosen if file not in others]
    known = [sizes[file] for file in chosen]
    total = sum(filter(None, known))
    there = sum(path.stat().st_size for path in folder.iterdir())
    _check_space(staging, total * (2 if PICKLED_WEIGHTS in chosen else 1) - there, place)
    size = "of unknown size" if None in known else f"{total / 1e6:,.0f} MB"
    progress(f"{source.hub_id} at commit {commit[:12]}: {len(chosen)} files, {size}, to {place}")
    if begun := [path for path in folder.iterdir() if path.name not in small]:
        before = sum(path.stat().st_size for path in begun)
        progress(f"{before / 1e6:,.0f} MB of it came before; going on from there")
    _download(source, commit, chosen, sizes, folder, place, kept)
    if None in known:
        came = sum((folder / file).stat().st_size for file in chosen)
        progress(f"{came / 1e6:,.0f} MB came. No sizes are known, so the files are checked by what they say themselves")
    return folder


def _download(
    source: Source,
    commit: str,
    files: Sequence[str],
    sizes: Mapping[str, int | None],
    folder: Path,
    place: str,
    kept: str,
) -> None:
    """Each file that is not there, under its name once it is whole."""
    for file in files:
        if not (folder / file).is_file():
            try:
                part, sha256 = _part(source.hub_id, commit, file, folder)
            except Exception as error:
                raise _unreached(source, place, error, kept) from error
            size, expected = part.stat().st_size, sizes[file]
            if expected not in (None, size) or sha256 not in ("", sha256_of_file(part)):
                part.unlink()
                raise MachineError(
                    f"{file} of {source.hub_id} came damaged or incomplete; start the same command again"
                )
            part.rename(folder / file)


def _part(hub_id: str, commit: str, file: str, folder: Path) -> tuple[Path, str]:
    """Download a file to its end, from where it broke off: its path, and its SHA-256 where the hub states it.

    The client itself throws away what came of a file when its process ends.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    url = hf_hub_url(hub_id, file, revision=commit)
    known = get_hf_file_metadata(url)
    etag = known.etag or ""
    part = folder / f".{file}.{re.sub('[^0-9a-zA-Z]', '', etag)[:16]}.part"
    with part.open("ab") as out:
        http_get(
            url,
            out,
            resume_size=out.tell(),
            headers=build_hf_headers(),
            expected_size=known.size,
            displayed_filename=file,
        )
    return part, etag if SHA256.fullmatch(etag) else ""


def _others(folder: Path, prefix: str) -> set[str]:
    """The files of the index without a weight of the audio part: of seven billion a tenth does."""
    owners = read_json(folder, WEIGHTS_INDEX).get("weight_map")
    if not isinstance(owners, dict):
        return set()  # `inspect` says what is wrong
    prefix = prefix_in(prefix, owners)
    return set(owners.values()) - {file for name, file in owners.items() if name.startswith(prefix)}


def _name_only_what_came(folder: Path) -> None:
    """Take shards that were not fetched out of the index."""
    index = read_json(folder, WEIGHTS_INDEX)
    owners = index.get("weight_map")
    if isinstance(owners, dict):
        kept = {name: file for name, file in owners.items() if (folder / str(file)).is_file()}
        if kept != owners:
            (folder / WEIGHTS_INDEX).unlink()
            commit_json(folder / WEIGHTS_INDEX, {**index, "weight_map": kept})


def _check_space(folder: Path, needed: int, place: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskFullError(f"{place} needs {needed:,} bytes, but {free:,} are free there")


def _unreached(source: Source, place: str, error: Exception, kept: str) -> Exception:
    """The error to raise for what the client raised; a full disk, or what is no network's error, stays as it is.

    kept: where what came before is; "" where nothing did.
    """
    from huggingface_hub.errors import HfHubHTTPError

    # The client lets its HTTP library's errors through, and that library has changed; this is their common root.
    http_error = HfHubHTTPError.__bases__[0]
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or not isinstance(error, OSError | http_error):
        return error
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    hub = f"the mirror that {MIRROR} names" if os.environ.get(MIRROR) else "the Hugging Face hub"
    return MachineError(
        f"{source.hub_id} was not fetched: {hub} could not be reached or refused ({reason}). {kept}On a machine with a "
        f"network, download the repository's {CONFIG}, {PREPROCESSOR} and {WEIGHTS}, and put them into {place}/; "
        "nothing else needs a network."
    )
