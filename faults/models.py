"""Damaged model files: checkpoints, LightGBM's text, CTranslate2's container."""

import collections
import json
import random
import shutil
from pathlib import Path

import numpy as np
import torch

from faults import study
from faults.children import run
from faults.rows import Outcome
from tests.models import ct2_writer
from toolkit.core.errors import ToolkitError
from toolkit.models.checkpoint import inspect, locate
from toolkit.models.convert import ct2
from toolkit.models.load import load
from toolkit.probe import winners

EACH = 75


def damaged(folder: Path) -> Outcome:
    """75 each of safetensors, configuration files, LightGBM text and CTranslate2 containers."""
    made = study.make(folder / "study")
    assert not run(lambda: study.extract(made)).code
    assert not (ended := run(lambda: study.probe(made, "--probe", "lightgbm"))).code, ended.output
    log = folder / "log"
    ended = run(lambda: log.write_text(json.dumps(_all(made, folder))))
    assert not ended.code, f"it crashed: {ended.code} {ended.output}"
    counts = collections.Counter({tuple(key.split("/")): count for key, count in json.loads(log.read_text()).items()})
    by = {what: sum(count for (_, found), count in counts.items() if found == what) for _, what in counts}
    kinds = ", ".join(f"{counts[kind, 'refused']} {kind}" for kind in sorted({kind for kind, _ in counts}))
    sentence = (
        f"{by.get('refused', 0)} refused by name ({kinds}), {by.get('same', 0)} where a byte without meaning was hit "
        f"and the model is the same, {by.get('loaded', 0)} loaded, 0 crashes; never used before, so without a pin, the "
        f"checkpoints' {2 * EACH}: {by.get('unpinned-refused', 0)} refused, {by.get('unpinned-loaded', 0)} loaded as "
        f"another valid model, {by.get('fault', 0)} faults of ours"
    )
    total = sum(by.get(what, 0) for what in ("refused", "same", "loaded"))
    return Outcome(total, sentence, total == 4 * EACH and not by.get("loaded") and not by.get("fault"))


def _all(made: Path, folder: Path) -> dict[str, int]:
    generator = random.Random(0)
    found: collections.Counter[str] = collections.Counter()
    pinned = locate("mine", made / "models").weights_sha256
    model = made / "models" / "mine"
    for kind, names in (("safetensors", ["model.safetensors"]), ("configurations", ["config.json",
                        "preprocessor_config.json"])):  # fmt: skip
        for number in range(EACH):
            path = model / generator.choice(names)
            whole = path.read_bytes()
            path.write_bytes(_spoilt(whole, generator, number % 3))
            try:
                found[f"{kind}/{'same' if locate('mine', made / 'models').weights_sha256 == pinned else 'loaded'}"] += 1
            except ToolkitError:
                found[f"{kind}/refused"] += 1
            try:
                load(inspect(model, "mine"), torch.device("cpu"), torch.float32)
                found[f"{kind}/unpinned-loaded"] += 1
            except ToolkitError:
                found[f"{kind}/unpinned-refused"] += 1
            except Exception as error:
                found[f"{kind}/fault"] += 1
                print(path.name, repr(error)[:200])
            path.write_bytes(whole)
    (kept,) = made.glob("result/*/winners")
    for number in range(EACH):
        path = generator.choice(sorted(kept.glob("*.txt")))
        whole = path.read_bytes()
        path.write_bytes(_spoilt(whole, generator, number % 3))
        try:
            winners.read(kept)
            found["LightGBM/loaded"] += 1
        except ToolkitError:
            found["LightGBM/refused"] += 1
        path.write_bytes(whole)
    values = {f"layer{number}/weight": ct2_writer.float32(np.ones((7, 5)) * number) for number in range(20)}
    container = ct2_writer.container(values, {"other": "layer1/weight"})
    path = folder / "model.bin"
    for number in range(EACH):
        at, length = generator.randrange(4, len(container)), generator.randrange(1, 60)
        if number % 3 == 0:
            spoilt = container[:at]
        elif number % 3 == 1:
            spoilt = container[:at] + container[at + length :]
        else:
            spoilt = container[:at] + generator.randbytes(length) + container[at:]
        path.write_bytes(spoilt)
        try:
            ct2.read(path)
            found["CTranslate2/loaded"] += 1
        except ToolkitError:
            found["CTranslate2/refused"] += 1
    shutil.rmtree(folder / "study")
    return dict(found)


def _spoilt(whole: bytes, generator: random.Random, kind: int) -> bytes:
    at, length = generator.randrange(len(whole)), generator.randrange(1, 40)
    if kind == 0:
        return whole[:at]
    if kind == 1:
        return whole[:at] + bytes([whole[at] ^ 1 << generator.randrange(8)]) + whole[at + 1 :]
    return whole[:at] + generator.randbytes(min(length, len(whole) - at)) + whole[at + length :]
