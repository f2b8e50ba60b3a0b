"""Files cut off and bits flipped: each damage is found and named before a number is read, and mended alone."""

import random
from collections.abc import Callable
from pathlib import Path

from faults import study
from faults.children import run
from faults.rows import Outcome
from toolkit.core.errors import ToolkitError
from toolkit.corpus import splits
from toolkit.features.finding import stores
from toolkit.finetune import apply as tuned
from toolkit.models.checkpoint import locate
from toolkit.probe import winners
from toolkit.result import run_files

CUTS = FLIPS = 100


def damage(folder: Path) -> Outcome:
    """100 truncations and 100 flipped bits, over shards, sidecars, kept models, folds and predictions."""
    made = study.make(folder / "study")
    for command in (study.extract, study.probe, study.finetune):
        ended = run(lambda command=command: command(made))
        assert not ended.code, ended.output
    whole = study.contents(made)
    (probed,) = made.glob("result/high-mine-linear-*/run.json")
    (trained,) = made.glob("result/high-mine-finetune-*/run.json")
    checkpoint = locate("mine", made / "models")
    store = next(made.glob("features/*"))

    def layers() -> None:
        for one in stores(made / "features"):
            for name in one.layers:
                one.layer(name)

    def weights() -> None:
        tuned.of_run(trained.parent, run_files.read(trained.parent), checkpoint)

    kinds: list[tuple[list[Path], Callable[[], object]]] = [
        (sorted(store.glob("shard-*.h5")), layers),
        (sorted(store.glob("shard-*.json")), layers),
        ([*sorted(probed.parent.glob("winners/*"))], lambda: winners.read(probed.parent / "winners")),
        ([*sorted(trained.parent.glob("weights/*"))], weights),
        ([probed.with_name("folds.json")], lambda: (run_files.read(probed.parent), splits.read(probed.with_name(
            "folds.json")))),
        ([path.with_name("predictions.csv") for path in (probed, trained)],
         lambda: (run_files.read(probed.parent), run_files.read(trained.parent))),
    ]  # fmt: skip
    generator = random.Random(0)
    found = missed = 0
    silent = []
    for number in range(CUTS + FLIPS):
        files, read = kinds[number % len(kinds)]
        path = generator.choice(files)
        content = path.read_bytes()
        path.write_bytes(_cut(content, generator) if number < CUTS else _flipped(content, generator))
        try:
            read()
        except ToolkitError as error:
            named = path.name in str(error) or path.stem in str(error)
            found += named
            silent += [] if named else [f"{path.name} ({error})"]
        else:
            missed += 1
            silent.append(path.name)
        path.write_bytes(content)
    read_all = [read() for _, read in kinds]
    assert read_all and study.contents(made) == whole
    redone = _mended(made, probed.parent, store, whole)
    sentence = (
        f"{found} of {CUTS + FLIPS} found and named, {missed} read as if they were whole"
        f"{': ' + ', '.join(silent[:3]) if silent else ''}; {redone}"
    )
    return Outcome(CUTS + FLIPS, sentence, found == CUTS + FLIPS and "other" not in redone)


def _cut(content: bytes, generator: random.Random) -> bytes:
    return content[: generator.randrange(len(content))]


def _flipped(content: bytes, generator: random.Random) -> bytes:
    damaged = bytearray(content)
    damaged[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    return bytes(damaged)


def _mended(made: Path, probed: Path, store: Path, whole: dict[str, bytes]) -> str:
    """As the sentences advise: a shard's two files, or run.json, deleted and the command started again."""
    log = made.parent / "computed"
    for suffix in (".h5", ".json"):
        (store / f"shard-00003{suffix}").unlink()

    def extract() -> None:
        from toolkit.extract.pipeline import Pipeline

        honest = Pipeline._window

        def reporting(self, window, *rest):  # type: ignore[no-untyped-def]
            with log.open("a") as file:
                file.write("clip\n" * len(window))
            return honest(self, window, *rest)

        Pipeline._window = reporting  # type: ignore[method-assign]
        study.extract(made)

    def probe() -> None:
        from toolkit.probe import optuna_study as study_file

        def again(*_):  # type: ignore[no-untyped-def]
            with log.open("a") as file:
                file.write("trial\n")
            raise AssertionError("a trial was run again")

        study_file._evaluate_batch = again
        study.probe(made)

    assert not (ended := run(extract)).code, ended.output
    (probed / "predictions.csv").write_bytes(b"damaged")
    (probed / "run.json").unlink()
    assert not (ended := run(probe)).code, ended.output
    computed = log.read_text().split()
    same = "the same" if study.contents(made) == whole else "other"
    return (
        f"mended as advised, {computed.count('clip')} of {study.CLIPS} clips (one shard) and {computed.count('trial')} "
        f"trials were redone, and {same} bytes came out"
    )
