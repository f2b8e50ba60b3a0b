"""Numbers that are none, and memory that runs out: the clip is named, the store stays finite, the run goes on."""

import json
import resource
from pathlib import Path

import h5py
import numpy as np
import soundfile
import torch

from faults import study
from faults.children import run
from faults.rows import Outcome

KINDS = {"nan": np.nan, "inf": np.inf, "minus": -np.inf}
LARGE = {"beyond float16": 1e5, "far beyond float16": 1e30, "beyond float32": 1e38}
FITS = (8, 4, 2, 1, 0)  # clips at a time
FAILURES = ("OutOfMemoryError", "MemoryError", "RuntimeError")


def not_finite(folder: Path) -> Outcome:
    """NaN and infinite samples, activations, and states beyond float16 and float32."""
    made = study.make(folder / "study")
    samples = {}
    for number, value in enumerate(KINDS.values()):
        for at in (0, 4_000 // 2, -1):
            clip = number * 3 + (0, 4_000 // 2, -1).index(at)
            sound, _ = soundfile.read(made / f"{clip}.wav", dtype="float32")
            sound[at] = value
            soundfile.write(made / f"{clip}.wav", sound, 16_000, subtype="FLOAT")
            samples[f"clip{clip}"] = "holds NaN or infinite samples"
    spoilt = {9 + number: (layer, value) for number, (layer, value) in enumerate(
        (layer, value) for layer in range(4) for value in KINDS.values())}  # fmt: skip
    large = {21 + number: (layer, value) for number, (layer, value) in enumerate(
        (layer, value) for layer in (0, 3) for value in LARGE.values())}  # fmt: skip

    def extract() -> None:
        from toolkit.models.wav2vec2 import Wav2Vec2Encoder

        honest = Wav2Vec2Encoder.states
        sounds = {clip: soundfile.read(made / f"{clip}.wav", dtype="float32")[0] for clip in (*spoilt, *large)}

        def states(self, given):  # type: ignore[no-untyped-def]
            who = [next((clip for clip, each in sounds.items() if np.array_equal(each, one)), None) for one in given]
            for layer, found in enumerate(honest(self, given)):
                with torch.inference_mode():
                    for row, clip in enumerate(who):
                        if spoilt.get(clip, (None,))[0] == layer:
                            found.values[row, 1, 2] = spoilt[clip][1]
                        if large.get(clip, (None,))[0] == layer:
                            found.values[row, :, 3] *= large[clip][1]
                yield found

        Wav2Vec2Encoder.states = states  # type: ignore[method-assign]
        study.extract(made, "--frames", "encoder.3")

    ended = run(extract)
    failed, broken, float32 = {}, 0, 0
    for path in made.glob("features/*/shard-*.json"):
        failed |= {clip: reason for clip, _, reason in json.loads(path.read_text())["failed"]}
        with h5py.File(path.with_suffix(".h5")) as file:
            arrays = [file["mean"], file["std"], *(file["frames"].values() if "frames" in file else ())]
            broken += sum(not np.isfinite(array[...]).all() for array in arrays)
            float32 += file["mean"].dtype == np.float32
    activations = {f"clip{clip}": f"layer encoder.{layer} is not finite" for clip, (layer, _) in spoilt.items()}
    lost = {f"clip{clip}" for clip, (_, value) in large.items() if value > 1e30}
    wanted = samples | activations
    named = sum(reason in failed.get(clip, "") for clip, reason in wanted.items())
    beyond = sum(f"clip{clip}" in failed for clip in large)
    extra = set(failed) - set(wanted) - {f"clip{clip}" for clip in large}
    sentence = (
        f"{named} of {len(wanted)} clips with NaN or infinite samples ({len(samples)}) or activations "
        f"({len(activations)}) named; of {len(large)} with states beyond float16 {len(large) - beyond} kept, their "
        f"{float32} shards in float32, and {beyond} named (beyond float32 too); {broken} non-finite arrays in the "
        f"store, {len(extra)} other clips lost"
    )
    assert ended.code == 3, ended.output
    right = named == len(wanted) and not broken and not extra and float32 > 0
    return Outcome(len(wanted) + len(large), sentence, right and lost <= set(failed))


def memory(folder: Path) -> Outcome:
    """Memory for so many clips at a time and no more, told in each way that it is told; then for real."""
    made = study.make(folder / "study")
    wrong, done = [], 0
    for most in FITS:
        for failure in FAILURES:
            workspace = study.fresh(made, folder / "scarce")

            def extract(most: int = most, failure: str = failure, workspace: Path = workspace) -> None:
                from toolkit.models.wav2vec2 import Wav2Vec2Encoder

                raised = {
                    "OutOfMemoryError": torch.OutOfMemoryError("CUDA out of memory"),
                    "MemoryError": MemoryError(),
                    "RuntimeError": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
                }
                study.SHARD = study.CLIPS
                honest = Wav2Vec2Encoder.states

                def scarce(self, samples):  # type: ignore[no-untyped-def]
                    long = max(map(len, samples)) >= 16_000 * 0.31
                    if len(samples) > most or (most == 1 and long):
                        raise raised[failure]
                    return honest(self, samples)

                Wav2Vec2Encoder.states = scarce  # type: ignore[method-assign]
                study.extract(workspace)

            ended = run(extract)
            done += 1
            named = ended.output.count("needs more memory than there is")
            longest = sum(number % 7 == 6 for number in range(study.CLIPS))
            expected = {0: (4, 1), 1: (3, longest)}.get(most, (0, 0))
            recorded = any(workspace.glob("features/*/shard-*.json"))  # where none fits, none has failed
            if (ended.code, named) != expected or recorded != bool(most):
                wrong.append(
                    f"{failure} beyond {most}: exit code {ended.code}, {named} clips named {ended.output[-200:]}"
                )
    real = _for_real(made, folder / "real")
    sentence = (
        f"{done} runs with memory for 8, 4, 2, 1 and 0 clips, told in {len(FAILURES)} ways: "
        f"{done - len(wrong)} halved down, and named only what does not fit alone, or ended with 4 where nothing does; "
        f"{real[0]}"
    )
    return Outcome(done + 1, sentence + "".join(wrong[:2]).replace("\n", " "), not wrong and real[1])


def _for_real(made: Path, workspace: Path) -> tuple[str, bool]:
    """The kernel's own limit: an address space in which the short clips fit and one of 20 minutes does not."""
    study.fresh(made, workspace)
    (workspace / "0.wav").unlink()
    soundfile.write(workspace / "0.wav", 0.1 * np.random.default_rng(0).standard_normal(1_200 * 16_000), 16_000)

    def extract() -> None:
        from toolkit.models.wav2vec2 import Wav2Vec2Encoder

        Wav2Vec2Encoder.longest_seconds = 3600.0  # else it is refused by its length
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + 1_500 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        study.extract(workspace)

    ended = run(extract)
    named = "failed: clip 'clip0' at 1200.0 s it needs more memory than there is" in ended.output
    assert ended.code == 3, ended.output
    right = named and f"{study.CLIPS} clips tried" in ended.output
    return (
        "under a real limit of address space a clip of 20 minutes was named and the rest stored"
        if right
        else f"under a real limit: exit code {ended.code} {ended.output[-400:]}"
    ), right
