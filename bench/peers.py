"""Files to the last layer's score on a corpus of real speech: nkululeko, a loop over scikit-learn, and the toolkit.

    python bench/peers.py --data emodb --model models/whisper-tiny.en --target emotion
    python bench/peers.py --data emodb --model models/whisper-tiny.en --target emotion --nkululeko venv/bin/python

--data: a folder with manifest.csv (id, path, speaker, the target). --model: a Whisper's checkpoint folder. --nkululeko:
the Python of an environment that has it (`pip install nkululeko==1.14.0 torch`), for it wants other versions of pandas.
Each way is a process of its own on one thread, from its imports on, speaker-disjoint in five folds:

    nkululeko          its feature `whisper-...` (last layer, mean over all 30 s), svm, five groups of speakers
    scikit-learn       transformers one clip at a time, float32, the last layer's mean over the clip's own frames;
                       logistic regression, its C of ten by an inner fold
    toolkit, last      `extract --layers LAST`, `probe` of that layer alone with ten trials
    toolkit            `extract`, `probe` of all layers with thirty trials each: a layer a round, intervals

nkululeko takes any file for one of 16 kHz; it gets copies at that rate, made before its time begins. Processor seconds
are of the process and all that it began; on a machine that others use, they are the ones to compare.
"""

import argparse
import csv
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from toolkit.audio.decode import SAMPLE_RATE, Samples, decode

FOLDS, TRIALS = 5, 10
NKULULEKO = """
[EXP]
root = ./
name = results
[DATA]
databases = ['corpus']
corpus = ./corpus.csv
corpus.type = csv
corpus.absolute_path = True
corpus.split_strategy = random
target = {target}
labels = {labels}
[FEATS]
type = ['{name}']
scale = standard
[MODEL]
type = svm
class_weight = True
logo = {folds}
"""


def rows_of(manifest: Path, data: Path, target: str) -> list[tuple[Path, str, str]]:
    """Path, speaker and label of each clip."""
    with manifest.open(encoding="utf-8", newline="") as file:
        return [(data / row["path"], row["speaker"], row[target]) for row in csv.DictReader(file)]


def run(title: str, commands: Sequence[Sequence[str]], folder: Path, score: str) -> None:
    """Print the seconds of commands, one behind the other, and what `score` finds in what they print."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    before, began, printed = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), ""
    for command in commands:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        printed += done.stdout + done.stderr
        if done.returncode:
            print(f"  {title:18} failed: {printed[-600:]}", flush=True)
            return
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = [" ".join(one.replace(")", "").split()) for one in re.findall(score, printed)]
    print(f"  {title:18}{wall:8.1f}{processor:11.1f}  {found[-1] if found else printed[-600:]}", flush=True)


def nkululeko(python: str, rows: Sequence[tuple[Path, str, str]], model: Path, target: str, folder: Path) -> None:
    (folder / "openai").mkdir(parents=True)
    shutil.copytree(model, folder / "openai" / model.name)
    with (folder / "corpus.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "speaker", target))
        for number, (path, speaker, label) in enumerate(rows):
            soundfile.write(folder / f"{number}.wav", decode(path).samples, SAMPLE_RATE)
            writer.writerow((str(folder / f"{number}.wav"), f"s{speaker}", label))
    labels = sorted({label for _, _, label in rows})
    text = NKULULEKO.format(target=target, labels=labels, name=model.name, folds=FOLDS)
    (folder / "experiment.ini").write_text(text, encoding="utf-8")
    command = [str(Path(python).absolute()), "-m", "nkululeko.nkululeko", "--config", "experiment.ini"]
    run("nkululeko", [command], folder, r"LOGO: .*")


def scikit_learn(manifest: Path, data: Path, model: Path, target: str) -> None:
    """The loop itself, in a process of its own."""
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import recall_score
    from sklearn.model_selection import GridSearchCV, GroupKFold, GroupShuffleSplit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from transformers import AutoFeatureExtractor, AutoModel

    rows = rows_of(manifest, data, target)
    encoder = AutoModel.from_pretrained(str(model), dtype=torch.float32).get_encoder().eval()
    extractor = AutoFeatureExtractor.from_pretrained(str(model))

    @torch.inference_mode()
    def mean(samples: Samples) -> np.ndarray:
        inputs = extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
        found: np.ndarray = encoder(inputs).last_hidden_state[0, : -(-len(samples) // 320)].mean(dim=0).numpy()
        return found

    features = np.stack([mean(decode(path).samples) for path, _, _ in rows])
    groups, truth = np.array([speaker for _, speaker, _ in rows]), np.array([label for _, _, label in rows])
    predicted = truth.copy()
    grid = {"logisticregression__C": np.logspace(-5, 1, TRIALS)}
    for train, test in GroupKFold(FOLDS).split(features, truth, groups):
        probe = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
        inner = GroupShuffleSplit(1, test_size=0.25, random_state=0)
        search = GridSearchCV(probe, grid, scoring="balanced_accuracy", cv=inner)
        predicted[test] = search.fit(features[train], truth[train], groups=groups[train]).predict(features[test])
    print(f"UAR {recall_score(truth, predicted, average='macro'):.3f}")


def toolkit(title: str, place: Sequence[str], model: Path, target: str, folder: Path, layers: str, trials: int) -> None:
    (folder / "models").mkdir(parents=True)
    shutil.copytree(model, folder / "models" / model.name)
    toolkit_command = [sys.executable, "-m", "toolkit"]
    place = [*place, "-w", str(folder)]
    extract = [*toolkit_command, "extract", "-m", model.name, *(["--layers", layers] if layers else []), *place]
    probe = [
        *toolkit_command,
        "probe",
        "--model",
        model.name,
        "--target",
        target,
        "--trials",
        str(trials),
        "--workers",
        "1",
        *place,
    ]
    run(title, [extract, probe], folder, r"UAR\)?\s[^\]]*\]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--target", default="emotion")
    parser.add_argument("--nkululeko", help="the Python of its environment")
    parser.add_argument("--every", type=int, default=1, help="of the clips one in so many")
    parser.add_argument("--loop", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.data or not given.model:
        print("Nothing to compare on: --data FOLDER of real speech and --model FOLDER of a Whisper are needed")
        return
    data, model = given.data.resolve(), given.model.resolve()
    if given.loop:
        return scikit_learn(given.loop, data, model, given.target)
    last = max(int(name) for name in re.findall(r"encoder_layers\": (\d+)", (model / "config.json").read_text()))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        head, *lines = (data / "manifest.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        manifest = folder / "manifest.csv"
        manifest.write_text("".join([head, *lines[:: given.every]]), encoding="utf-8")
        rows = rows_of(manifest, data, given.target)
        speakers = len({speaker for _, speaker, _ in rows})
        print(f"{model.name}, {len(rows)} clips of {speakers} speakers, one thread")
        print(f"  {'':18}{'seconds':>8}{'processor':>11}", flush=True)
        if given.nkululeko:
            nkululeko(given.nkululeko, rows, model, given.target, folder / "nkululeko")
        else:
            print("  nkululeko         left out: --nkululeko PYTHON names an environment that has it")
        again = [
            sys.executable,
            __file__,
            "--loop",
            manifest,
            "--data",
            data,
            "--model",
            model,
            "--target",
            given.target,
        ]
        run("scikit-learn", [[str(word) for word in again]], folder, r"UAR .*")
        place = ["--manifest", str(manifest), "--audio-root", str(data)]
        toolkit("toolkit, last", place, model, given.target, folder / "last", f"{last}-{last}", TRIALS)
        toolkit("toolkit", place, model, given.target, folder / "all", "", 30)


if __name__ == "__main__":
    main()
