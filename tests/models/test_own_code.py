"""A backbone that is a user's own code: exact in batches by the same proof; a sentence for each thing that is wrong."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests import plugins
from tests.models import own, tiny
from toolkit.core.errors import CheckpointError, InputError, MachineError
from toolkit.core.registry import Registry
from toolkit.corpus.place import silent
from toolkit.models import checkpoint as checkpoints
from toolkit.models import own_code, registry
from toolkit.models.checkpoint import locate
from toolkit.models.generic import MODES
from toolkit.models.load import load
from toolkit.models.own_code import OwnCheckpoint, locate_or_run
from toolkit.models.registry import BACKBONES

CPU = torch.device("cpu")
CLIPS = [tiny.speech_like(seconds, seed=n) for n, seconds in enumerate((0.31, 1.7, 0.02, 0.9, 0.31))]


def found(folder: Path, file: Path, factory: str = "large", messages: list[str] | None = None) -> OwnCheckpoint:
    checkpoint = locate_or_run(f"{file}:{factory}", folder / "models", silent if messages is None else messages.append)
    assert isinstance(checkpoint, OwnCheckpoint)
    return checkpoint


def test_every_layer_is_what_the_module_gives_a_clip_alone(tmp_path: Path) -> None:
    messages: list[str] = []
    checkpoint = found(tmp_path, own.write(tmp_path), messages=messages)
    assert messages == ["mine.py is code of your own, and is run"]
    row = checkpoint.backbone
    assert (checkpoint.name, row.family, row.layers, row.width, row.frame_rate) == ("mine-large", "own code", 2, 16, 50)
    encoder: Any = load(checkpoint, CPU, torch.float32)
    assert (
        encoder.mode in MODES
        and encoder.proof.clips == 24
        and encoder.layer_names == ("encoder.0", "encoder.1", "encoder.2")
    )
    plain = checkpoint.build()
    expected: list[list[np.ndarray]] = []
    with torch.no_grad():
        for clip in CLIPS:
            padded = np.pad(clip, (0, max(0, 400 - len(clip))))
            states = [plain.module.enter(plain.prepare(padded)["frames"])]
            for layer in plain.module.layers:
                states.append(layer(states[-1]))
            expected.append([each[0].numpy() for each in states])
    for mode in MODES:
        for number, layer in enumerate(encoder.in_mode(mode).states(CLIPS)):
            for clip, length in enumerate(layer.lengths.tolist()):
                alone = expected[clip][number]
                error = np.linalg.norm(layer.values[clip, :length].numpy() - alone) / np.linalg.norm(alone)
                assert length == len(alone) and (error < 1e-5 or mode == "masked"), (mode, clip, number)


def test_what_enters_the_layers_is_left_out_where_it_is_of_another_width(tmp_path: Path) -> None:
    checkpoint = found(tmp_path, own.write(tmp_path, "Net()", "Net(12)"))
    assert load(checkpoint, CPU, torch.float32).layer_names == ("encoder.1", "encoder.2")
    swapped = own.write(
        tmp_path, "convolution(states.transpose(1, 2)))).transpose(1, 2)", "convolution(states.transpose(1, 2))))"
    )
    swapped.write_text(swapped.read_text().replace("for layer in self.layers:", "for layer in self.layers[:1]:"))
    swapped.write_text(swapped.read_text().replace('"layers.*"', '"layers.0"'))
    with pytest.raises(
        CheckpointError, match=r"its layers give \(1, 16, 36\) and \(1, 16, 70\) of two clips, expected"
    ):
        found(tmp_path, swapped)


def test_weights_and_source_are_told_apart(tmp_path: Path) -> None:
    first = found(tmp_path, own.write(tmp_path))
    commented = found(tmp_path, own.write(tmp_path, "def prepare", "# a remark\n\n\ndef prepare"))
    reseeded = found(tmp_path, own.write(tmp_path, "manual_seed(3)", "manual_seed(4)"))
    assert first.weights_sha256 == commented.weights_sha256 != reseeded.weights_sha256
    assert len({each.stated["own code"]["sha256"] for each in (first, commented, reseeded)}) == 3
    assert not list(tmp_path.glob("**/*.pyc"))


RETURN = ".transpose(1, 2)\n\n\nclass"
WRONG = [  # what is in the file, what takes its place, the sentence
    ("torch.manual_seed(3)", "1 / 0", "mine.py:large fails: ZeroDivisionError division by zero"),
    ("torch.manual_seed(3)", "raise SystemExit(0)", "mine.py:large fails: SystemExit 0"),
    ("import torch\n", "import torch, nowhere\n", "mine.py fails: ModuleNotFoundError No module named 'nowhere'"),
    ("import torch\n", "import torch,\n", "mine.py fails: SyntaxError"),
    ("OwnModel(Net(), prepare, layers=", "dict(module=Net(), layers=", "mine.py:large returns a dict, expected a"),
    ('"layers.*"', '"blocks.*"', "no module is called 'blocks.*', expected names such as enter, layers, layers.0"),
    ('"layers.*"', '""', "no module is called ''"),
    ('"layers.*"', '"layers.*", sample_rate=8_000', "Bad sample_rate 8000, expected one of [16000]"),
    ("manual_seed(3)", "seed()", "its factory gives other weights each time; expected weights that are"),
    (RETURN, ".transpose(1, 2).mean(1)[None]\n\n\nclass", "its states have no time: 1 frames of 0.73 s and 1 of"),
    (RETURN, ".transpose(1, 2).mean((0, 1))\n\n\nclass", "a layer gives states of shape (16,), expected (batch"),
    (RETURN, ".repeat(1, 2, 1)\n\n\nclass", "its model fails: RuntimeError"),
    ("self.norm(torch.tanh(", "self.norm(1 / (0 * ", "its states of a clip alone are not finite numbers"),
    ('"frames":', '"given":', "its model fails: TypeError"),
    ("320).copy())", "320).copy())[0]", "prepare gives no tensors (1, ...) by the names of the module's arguments"),
    ('"layers.*"', '"layers.*", mask="mask"', "prepare gives no 'mask', which is named as the mask; it gives"),
    (".copy())}", ".copy()) + torch.randn(1)}", "gives other values each time, expected one without dither"),
    ("in self.layers:", "in self.layers[:1]:", "1 of its 2 layers run, expected each to run once"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "sentence"), WRONG, ids=[new for _, new, _ in WRONG])
def test_what_is_wrong_with_the_code_is_one_sentence(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    with pytest.raises(CheckpointError) as refused:
        load(found(tmp_path, own.write(tmp_path, old, new)), CPU, torch.float32)
    text = str(refused.value)
    assert text.startswith("mine-large: ") or text.startswith("mine"), text
    assert sentence in text and "\n" not in text and str(tmp_path) not in text, text
    assert refused.value.exit_code == 4


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("gone.py:large", "--model gone.py:large: the file cannot be read: No such file or directory"),
        ("mine.py", "--model mine.py names no factory, expected mine.py:FACTORY"),
        ("mine.py:", "--model mine.py names no factory, expected mine.py:FACTORY"),
        (
            "mine.py:lagre",
            "mine.py: Bad factory 'lagre', expected one of ['Layer', 'Net', 'prepare', 'large']; did you mean",
        ),
    ],
)
def test_what_is_typed_wrongly_is_bad_input(tmp_path: Path, typed: str, sentence: str) -> None:
    own.write(tmp_path)
    with pytest.raises(InputError) as refused:
        locate_or_run(str(tmp_path / typed), tmp_path / "models", silent)
    assert sentence in str(refused.value) and refused.value.exit_code == 2


def test_nothing_is_shadowed_and_only_who_may_runs_it(tmp_path: Path) -> None:
    file = own.write(tmp_path, name="whisper.py", old="def large", new="def small():\n    return 1\n\n\ndef large")
    (tmp_path / "models" / "whisper-large").mkdir(parents=True)
    renamed = own.write(tmp_path, "def large", "def base960", name="hubert.py")
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setitem(BACKBONES, "hubert-base960", BACKBONES["whisper-tiny"])
        with pytest.raises(InputError, match=r"hubert\.py:base960 would be called hubert-base960, as another"):
            found(tmp_path, renamed, "base960")
    with pytest.raises(InputError, match=r"whisper\.py:large would be called whisper-large, as another backbone is"):
        found(tmp_path, file)
    with pytest.raises(InputError, match=r"mine\.py:large is code of your own, no checkpoint: `toolkit extract`"):
        locate("mine.py:large", tmp_path / "models")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with a model, known to all that asks for one."""
    folder = tmp_path / "site"
    folder.mkdir()
    own.write(folder, name="their_backbone.py")
    plugins.describe(folder, "their-backbone", {"speech_layer_toolkit.models": {"theirs": "their_backbone:large"}})
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "their_backbone", raising=False)
    for module in (registry, own_code, checkpoints):
        monkeypatch.setattr(module, "FACTORIES", Registry("model", "models", object, BACKBONES))
    return folder


def test_an_installed_package_adds_a_model_by_name(tmp_path: Path, site: Path) -> None:
    messages: list[str] = []
    checkpoint = locate_or_run("theirs", tmp_path / "models", messages.append)
    assert isinstance(checkpoint, OwnCheckpoint) and checkpoint.name == "theirs" and not messages
    stated = checkpoint.stated["model plugin"]
    assert (stated["distribution"], stated["version"], len(stated["sha256"])) == ("their-backbone", "1.0", 64)
    assert load(checkpoint, CPU, torch.float32).layer_names[-1] == "encoder.2"
    with pytest.raises(InputError, match="theirs is code of your own, no checkpoint"):
        locate("theirs", tmp_path / "models")
    (tmp_path / "models" / "theirs").mkdir(parents=True)
    with pytest.raises(InputError, match="theirs is a folder in models/ and a model of an installed package"):
        locate_or_run("theirs", tmp_path / "models", silent)


def test_a_package_may_not_take_a_built_in_name(site: Path) -> None:
    plugins.describe(site, "thief", {"speech_layer_toolkit.models": {"whisper-small": "their_backbone:large"}})
    with pytest.raises(MachineError, match=r"The toolkit and thief 1\.0 both have the model 'whisper-small'"):
        locate_or_run("theirs", site / "models", silent)


def test_the_page_s_file_is_taken_as_it_stands(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
    file = tmp_path / "mine.py"
    file.write_text(page.split('```python title="mine.py"\n')[1].split("```")[0], encoding="utf-8")
    torch.manual_seed(0)
    network = nn.ModuleDict({"layers": nn.ModuleList(nn.GRU(width, 64, batch_first=True) for width in (40, 64, 64))})
    save_file(network.state_dict(), tmp_path / "recurrent.safetensors")
    encoder: Any = load(found(tmp_path, file, "recurrent"), CPU, torch.float32)
    assert encoder.layer_names == ("encoder.1", "encoder.2", "encoder.3") and encoder.proof.worst <= 1e-5
