"""Options without effect are refused by name: the table's every row, and no option that nobody thought about."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import typer

import toolkit
from tests.conftest import Run
from toolkit import cli
from toolkit.cli.combinations import RULES
from toolkit.core.errors import InputError
from toolkit.core.options import check_idle, typed
from toolkit.extract.options import ExtractOptions
from toolkit.finetune.options import FinetuneOptions
from toolkit.predict.options import PredictOptions
from toolkit.probe.options import ProbeOptions
from toolkit.result.options import CompareOptions, ScoreOptions
from toolkit.segment.options import SegmentOptions

STAGES = {
    "extract": ExtractOptions,
    "finetune": FinetuneOptions,
    "probe": ProbeOptions,
    "predict": PredictOptions,
    "compare": CompareOptions,
    "score": ScoreOptions,
    "manifest segment": SegmentOptions,
}
EVERY = [
    (command, rule)
    for command, rules in [*((name, stage.RULES) for name, stage in STAGES.items()), *RULES.items()]
    for rule in rules
]
FROM = ("finetune", "--from", "RUN")
BY_HAND = ("finetune", "--model", "m", "--target", "t")
PROBE = ("probe", "--model", "m", "--target", "t")
# A command line for each row of the table, in its order, that the row must refuse.
REFUSED: list[tuple[str, ...]] = [
    ("extract", "--model", "m", "--dtype", "float32", "--bound", "0.1"),
    (*BY_HAND, "--kind", "classes", "--threshold", "8"),
    (*BY_HAND, "--levels", "low,high"),
    (*BY_HAND, "--kind", "regression", "--labels", "joy"),
    (*FROM, "--model", "m"),
    (*FROM, "--target", "t"),
    (*FROM, "--layer", "3"),
    (*FROM, "--folds", "5"),
    (*FROM, "--group-by", "nonsense"),
    (*FROM, "--split-by", "clip"),
    (*FROM, "--window", "10"),
    (*FROM, "--hop", "5"),
    (*FROM, "--repeats", "3"),
    (*FROM, "--spellings", "merge"),
    (*FROM, "--unknown", "keep"),
    (*FROM, "--unlabelled", "skip"),
    (*FROM, "--labels", "joy,fear"),
    (*FROM, "--kind", "ordinal", "--levels", "low,high"),
    (*FROM, "--kind", "classes"),
    (*FROM, "--threshold", "8"),
    (*BY_HAND, "--loss", "ccc"),
    (*BY_HAND, "--top", "2"),
    (*FROM, "--top", "2", "--depth", "full"),
    (*FROM, "--top", "2", "--train", "encoder-frozen"),
    (*FROM, "--depth", "best", "--train", "encoder-frozen"),
    (*FROM, "--top", "2", "--search", "9"),
    (*BY_HAND, "--depth", "full", "--layer", "2"),
    (*FROM, "--learning-rate", "1e-5", "--train", "head"),
    (*FROM, "--layer-decay", "0.9", "--search", "5", "--train", "head,top-1"),
    (*FROM, "--gradient-checkpointing", "--train", "head"),
    (*FROM, "--lora-rank", "8", "--search", "5", "--train", "full,head"),
    (*FROM, "--train-convolutions", "--train", "lora"),
    (*PROBE, "--kind", "classes", "--threshold", "8"),
    (*PROBE, "--levels", "low,high"),
    (*PROBE, "--kind", "regression", "--labels", "joy"),
    (*PROBE, "--kind", "regression", "--loss", "ccc"),
    (*PROBE, "--unit-label", "max"),
    (*PROBE, "--unit", "call", "--split-by", "clip"),
    (*PROBE, "--unit", "call", "--model", "a+b"),
    (*PROBE, "--unit", "call", "--ray", "local"),
    (*PROBE, "--unit", "call", "--nuisance", "loudness"),
    (*PROBE, "--trials", "30", "--minutes", "2"),
    (*PROBE, "--minutes", "2", "--ray", "local"),
    (*PROBE, "--fusion", "late"),
    (*PROBE, "--device", "cuda", "--ray", "local"),
    (*PROBE, "--shuffles", "5", "--control", "random"),
    (*PROBE, "--workers", "2", "--ray", "local"),
    ("predict", "--from", "RUN", "a.wav", "--audio-root", "."),
    ("predict", "--from", "RUN", "a.wav", "--spellings", "merge"),
    ("predict", "--from", "RUN", "a.wav", "--unknown", "keep"),
    ("predict", "--from", "RUN", "a.wav", "--unit", "call"),
    ("predict", "--from", "RUN", "a.wav", "--final", "--round", "0"),
    ("compare", "--subgroups", "none", "--spellings", "merge"),
    ("compare", "--subgroups", "none", "--unknown", "keep"),
    ("score", "p.csv", "--levels", "low,high"),
    ("score", "p.csv", "--threshold", "8"),
    ("manifest", "segment", "calls.csv", "--speakers", "1", "--model", "m"),
    ("manifest", "segment", "calls.csv", "--layer", "encoder.1"),
    ("compare", "--subgroups", "none", "--manifest", "m.csv"),
    ("compare", "--subgroups", "none", "--audio-root", "."),
    ("models", "check", "m", "--dtype", "float32", "--bound", "0.1"),
    ("manifest", "anonymise", "--key", "k", "--out", "o", "--who", "a", "--manifest", "m.csv"),
    ("manifest", "anonymise", "--key", "k", "--out", "o", "--who", "a", "--audio-root", "."),
    ("manifest", "anonymise", "--key", "k", "--out", "o", "--who", "a", "--keep-text"),
]
# Options that always change something, or say what to do, by command; "*" of every command that has them. Whoever adds
# an option decides: a row of the table where it may be idle, or a word here.
ALWAYS = {
    "*": {"workspace", "language", "name", "note", "seed", "json", "quiet", "help"},
    "manifest table": {
        "FILE", "audio-root", "spellings", "unknown", "path", "speaker", "label", "start", "end", "channel", "id",
        "out", "overwrite", "first-channel",
        "sheet", "encoding",  # of a file of the other kind refused by `corpus.sheet`
    },
    "manifest segment": {
        "CALLS", "audio-root", "threshold", "crosstalk", "min-turn", "max-turn", "min-pause", "pad", "out", "overwrite",
        "caller-channel",  # of a call of one channel refused by the command
        "speakers",  # of calls of two channels alone: what 2 needs is refused where it has no effect
    },
    "manifest folder": {"ROOT", "out", "label-column", "speaker-regex", "regex", "label-names", "overwrite"},
    "manifest corpus": {
        "LAYOUT", "ROOT", "out", "text", "overwrite", "list",
        "write-audio",  # of a layout whose audio is in files refused by the command
    },
    "manifest hotline": {"ROOT", "out", "overwrite"},
    "manifest check": {"manifest", "audio-root", "spellings", "unknown"},
    "manifest anonymise": {"key", "out", "also", "who"},
    "models show": {"NAME"},
    "models fetch": {"NAME"},
    "models convert": {"SOURCE", "OUT"},
    "models randomise": {"NAME"},
    "models export": {"RUN", "OUT", "round"},
    "models check": {"NAME", "dtype", "context", "decoder", "device"},
    "models accept": {"NAME"},
    "features verify": {"STORE"},
    "features export": {"STORE", "OUT"},
    "features import": {"NAME", "FILE", "ids", "manifest", "audio-root"},
    "features remove": {"STORE"},
    "features purge": {"speaker", "clip", "manifest", "models", "manifest-too", "dry-run"},
    "transcribe": {
        "model", "manifest", "audio-root", "window", "hop", "device", "workers", "retry-failed", "changed",
    },
    "extract": {
        "text", "cut-text",  # where nothing reads text refused by `extract.stage.plan`
        "model", "manifest", "audio-root", "dtype", "context", "decoder", "layers", "frames", "statistics", "window",
        "device", "workers", "retry-failed", "changed", "ray",
        "hop",  # without --window refused by `Windows.of`
    },
    "probe": {
        "inner-folds", "seeds",
        "repeats",  # of a fixed split refused by the command
        "model", "store", "target", "manifest", "audio-root", "probe", "folds", "group-by", "split-by", "control",
        "nuisance", "ray", "explain", "spellings", "unknown", "unlabelled", "threshold", "online",
    },
    "finetune": {
        "from", "manifest", "audio-root", "context", "train", "search", "class-weights", "statistics",
        "refit-on-development", "seeds", "weight-decay", "warmup",
        "epochs", "batch-size", "grad-accum-steps", "max-grad-norm", "dtype", "device", "workers", "save-weights",
        "report-to",
        "head-lr",
        "head-epochs",  # 0 for none; the head's rate is its rate in the epochs behind, too
        "patience",  # as many as --epochs, or more: no stop before the end
        "spec-augment", "layer-drop",  # with --train head too: what enters the head is then noisy
    },
    "predict": {
        "AUDIO", "from", "manifest", "final", "window", "negative", "output", "device", "workers", "hop", "channel",
        "own-code",  # of a run on other features refused by `predict.models.of`
    },
    "compare": {"RESULTS", "subgroups"},
    "contrast": {
        "from", "by", "groups", "unit", "negative", "least-clips", "manifest", "audio-root", "spellings", "unknown",
    },
    "score": {"FILE", "spellings", "unknown", "unlabelled", "kind"},
    "doctor": set(),
    "run": {"RECIPE", "dry-run", "own-code"},
}  # fmt: skip


def name_of(parameter: Any) -> str:
    """A click parameter's name as it is typed, without dashes; an argument's as the help shows it."""
    long = [word for word in parameter.opts if word.startswith("--")]
    return long[0].removeprefix("--") if long else str(parameter.name).upper()


def commands(group: Any = None, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in (group or typer.main.get_command(cli.app)).commands.items():
        path = f"{above} {name}".strip()
        if hasattr(command, "commands"):
            yield from commands(command, path)
        else:
            yield path, command


@pytest.mark.parametrize(
    ("rule", "words"),
    [(rule, words) for (_, rule), words in zip(EVERY, REFUSED, strict=True)],
    ids=[" ".join(words) for words in REFUSED],
)
def test_an_option_without_effect_is_refused_by_name(
    run: Run, tmp_path: Path, rule: Any, words: tuple[str, ...]
) -> None:
    place = () if words[0] == "score" else ("-w", tmp_path)
    code, out, err = run(*words, *place)
    assert (code, out) == (2, "")
    assert err == f"toolkit: {typed(rule.option)} {rule.because}\n"


def test_from_python_it_is_refused_by_its_keyword(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^shuffles has no effect without control shuffled$"):
        toolkit.open(tmp_path).probe("m", target="t", shuffles=5)


def test_what_is_not_typed_is_not_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_WORKSPACE", str(tmp_path))
    code, _, err = run("compare", "--subgroups", "none")
    assert code == 2 and "No finished run to compare" in err


@pytest.mark.parametrize(
    ("more", "idle"),
    [
        ({}, True),
        ({"control": ["random"]}, True),
        ({"control": ["shuffled"]}, False),
        ({"control": ["shuffled"], "shuffles": 0}, True),
        ({"nuisance": "sex,loudness"}, False),
    ],
)
def test_beside_rays_nodes_this_machine_reads_loudness_and_fits_shuffles(more: dict[str, Any], idle: bool) -> None:
    options = ProbeOptions(model="m", target="t", ray="local", workers=2, **more)
    refused = pytest.raises(InputError, match="--workers has no effect with --ray, which takes every core")
    with refused if idle else nullcontext():
        check_idle([rule for rule in ProbeOptions.RULES if rule.option == "workers"], ["workers"], options)


def test_every_option_of_every_command_always_counts_or_has_a_row() -> None:
    rows = {(command, typed(rule.option).removeprefix("--")) for command, rule in EVERY}
    found = set()
    for path, command in commands():
        own = {name_of(parameter) for parameter in command.params} - ALWAYS["*"]
        with_row = {option for name, option in rows if name == path}
        assert own == with_row | ALWAYS.get(path, set()), path
        found |= {(path, option) for option in own}
    assert rows <= found
