"""ONNX graphs as backbones: every layer is what torch gives each clip alone; a sentence for what cannot be one."""

import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from tests.models import onnx_files, own, tiny
from tests.models.onnx_files import Net
from toolkit.core.errors import CheckpointError, InputError, MachineError
from toolkit.corpus.place import silent
from toolkit.models.load import load
from toolkit.models.own_code import OwnCheckpoint, locate_or_run
from toolkit.models.proof import own_states, relative_error

CLIPS = [tiny.speech_like(seconds, seed=n) for n, seconds in enumerate((0.31, 1.7, 0.02, 0.9, 0.31))]


def found(folder: Path, typed: object) -> OwnCheckpoint:
    checkpoint = locate_or_run(str(typed), folder / "models", silent)
    assert isinstance(checkpoint, OwnCheckpoint)
    return checkpoint


def loaded(checkpoint: OwnCheckpoint) -> Any:
    return load(checkpoint, torch.device("cpu"), torch.float32)


def compare(encoder: Any, layers: slice, net: nn.Module | None = None) -> None:
    with torch.no_grad():
        for states, clip in zip(own_states(encoder, CLIPS, len(CLIPS)), CLIPS, strict=True):
            padded = torch.zeros(1, max(len(clip), 400))
            padded[0, : len(clip)] = torch.from_numpy(clip)
            expected = (net or Net().eval())(padded)[layers]
            assert len(states) == len(expected)
            assert max(relative_error(one, other[0]) for one, other in zip(states, expected)) < 1e-5


@pytest.mark.parametrize(("free", "modes"), [((0, 1), {"equal", "alone"}), ((1,), {"alone"})])
def test_every_layer_is_what_torch_gives_a_clip_alone(free: tuple[int, ...], modes: set[str], tmp_path: Path) -> None:
    checkpoint = found(tmp_path, onnx_files.write(tmp_path / "net.onnx", free=free))
    row = checkpoint.backbone
    assert (checkpoint.name, row.layers, row.width, row.frame_rate) == ("net-onnx", 2, 16, 50)
    encoder = loaded(checkpoint)
    assert encoder.mode in modes and encoder.proof.clips == 24 and encoder.proof.worst <= 1e-5
    assert encoder.layer_names == ("encoder.0", "encoder.1", "encoder.2")
    compare(encoder, slice(3))
    if "equal" in modes:
        compare(encoder.in_mode("equal"), slice(3))
        compare(encoder.in_mode("alone"), slice(3))


def test_outputs_are_chosen_by_name(tmp_path: Path) -> None:
    file = onnx_files.write(tmp_path / "net.onnx")
    for names, layers in [("hidden.*", slice(3)), ("hidden.[12]", slice(1, 3)), ("*2", slice(2, 3))]:
        encoder = loaded(found(tmp_path, f"{file}:{names}"))
        compare(encoder, layers)
        assert encoder.layer_names[-1] == ("encoder.2" if names == "hidden.*" else "encoder.1")


def test_weights_in_a_file_beside_it_are_taken_and_hashed(tmp_path: Path) -> None:
    file = onnx_files.write(tmp_path / "net.onnx")
    whole = found(tmp_path, file)
    onnx.save_model(
        onnx.load(file), file, save_as_external_data=True, location="weights.bin", size_threshold=0
    )  # as torch's newer exporter does
    apart = found(tmp_path, file)
    compare(loaded(apart), slice(3))
    content = bytearray((tmp_path / "weights.bin").read_bytes())
    content[1] ^= 1  # the least of a number's bits
    (tmp_path / "weights.bin").write_bytes(content)
    other = found(tmp_path, file)
    assert other.stated == apart.stated and len({each.weights_sha256 for each in (whole, apart, other)}) == 3
    with pytest.raises(CheckpointError, match="its factory gives other weights each time"):
        loaded(apart)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(CheckpointError, match=r"net-onnx: net\.onnx is no graph that ONNX Runtime can run: "):
        found(tmp_path, file)


def test_a_graph_of_other_inputs_is_used_by_a_file_of_code(tmp_path: Path) -> None:
    class Frames(nn.Module):
        def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
            return frames[..., :16] * 2, torch.tanh(frames[..., :16])

    onnx_files.write(tmp_path / "net.onnx", Frames(), (1, 7, 320))
    new = f"OnnxGraph({str(tmp_path / 'net.onnx')!r})"
    file = own.write(tmp_path, "OwnModel(Net()", f"OwnModel({new}")
    text = file.read_text().replace('"frames":', '"samples":').replace("import torch\n", f"import torch\n{IMPORT}\n", 1)
    file.write_text(text)
    encoder = loaded(found(tmp_path, f"{file}:large"))
    frames = torch.from_numpy(CLIPS[1][: len(CLIPS[1]) // 320 * 320].reshape(-1, 320))
    (states,) = own_states(encoder, CLIPS[1:2], 1)
    assert all(relative_error(one, other) < 1e-5 for one, other in zip(states, Frames()(frames), strict=True))


IMPORT = "from toolkit.models.onnx_graph import OnnxGraph"


class Halved(Net):
    def forward(self, samples: Tensor) -> tuple[Tensor, ...]:
        return tuple(each.half() for each in super().forward(samples))


class Pooled(Net):
    def forward(self, samples: Tensor) -> tuple[Tensor, ...]:
        return super().forward(samples)[-1:]


class Swapped(Net):
    def forward(self, samples: Tensor) -> tuple[Tensor, ...]:
        return tuple(each.transpose(1, 2) for each in super().forward(samples)[:3])


class Widened(Net):
    def forward(self, samples: Tensor) -> tuple[Tensor, ...]:
        one, two, _, _ = super().forward(samples)
        return one, two, two.repeat(1, 1, 2)


class Spectrum(nn.Module):
    def forward(self, mel: Tensor) -> tuple[Tensor, ...]:
        return (mel.transpose(1, 2),)


@pytest.mark.parametrize(
    ("net", "sizes", "free", "sentence"),
    [
        (Pooled(), (1, 8_000), (0, 1), "net.onnx has no output '*' of three axes, (batch, frames, width); its outputs"),
        (Halved(), (1, 8_000), (0, 1), "net.onnx gives hidden.0 (axis0, "),
        (Spectrum(), (1, 80, 50), (0, 2), "net.onnx takes samples (axis0, 80, axis2) in float, expected samples alone"),
        (Net(), (1, 8_000), (0,), "net.onnx takes samples (axis0, 8000) in float, expected samples alone"),
        (Swapped(), (1, 8_000), (0, 1), "its layers give (1, 16, 36) and (1, 16, 70) of two clips, expected (1, "),
        (Widened(), (1, 8_000), (0, 1), "its layers give (1, 36, 32) and (1, 70, 32) of two clips, expected (1, "),
    ],
    ids=["no states", "float16", "spectrogram", "one length", "channels first", "widths"],
)
def test_a_graph_that_does_not_do_is_one_sentence(
    net: nn.Module, sizes: tuple[int, ...], free: tuple[int, ...], sentence: str, tmp_path: Path
) -> None:
    refused(tmp_path, onnx_files.write(tmp_path / "net.onnx", net, sizes, free), sentence)


def refused(folder: Path, typed: object, sentence: str, kind: type[Exception] = CheckpointError) -> None:
    with pytest.raises(kind) as refusal:
        loaded(found(folder, typed))
    text = str(refusal.value)
    assert sentence in text and "\n" not in text and str(folder) not in text, text


def test_other_kinds_of_input_names_and_files_are_one_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = onnx_files.write(tmp_path / "net.onnx")
    refused(tmp_path, f"{file}:layer.*", "net.onnx has no output 'layer.*' of three axes")
    refused(tmp_path, tmp_path / "gone.onnx", "--model gone.onnx: the file cannot be read: No such file", InputError)
    for cut in (0, 100, file.stat().st_size // 2):
        (tmp_path / "cut.onnx").write_bytes(file.read_bytes()[:cut])
        refused(tmp_path, tmp_path / "cut.onnx", "cut-onnx: cut.onnx is no graph that ONNX Runtime can run: ")
    half = helper.make_tensor_value_info("samples", TensorProto.FLOAT16, ["batch", "n"])
    states = helper.make_tensor_value_info("states", TensorProto.FLOAT16, ["batch", "n", 1])
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [2])
    graph = helper.make_graph(
        [helper.make_node("Unsqueeze", ["samples", "axis"], ["states"])], "net", [half], [states], [axis]
    )
    onnx.save(
        helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "half.onnx"
    )
    refused(tmp_path, tmp_path / "half.onnx", "half.onnx gives states (batch, n, 1) in float16, expected float32")
    (tmp_path / "models" / "net-onnx").mkdir(parents=True)
    refused(tmp_path, file, "net.onnx would be called net-onnx, as another backbone is; rename one", InputError)
    assert capfd.readouterr().err == ""  # ONNX Runtime's own log


def test_without_onnx_runtime_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = onnx_files.write(tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MachineError, match=r"net\.onnx takes ONNX Runtime, which is not installed; `pip install 'spe"):
        found(tmp_path, file)
