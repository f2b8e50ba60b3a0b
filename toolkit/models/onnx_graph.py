"""An ONNX graph as a module: ONNX Runtime computes it, and its outputs of states over time are the layers."""

import hashlib
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.core.errors import CheckpointError, MachineError

FLOAT32 = "tensor(float)"
# How a protobuf says that a tensor is in another file: the pair "location" and its name, of less than 128 bytes.
ELSEWHERE = re.compile(rb"\n\x08location\x12([\x01-\x7f])")


class _Output(nn.Module):
    """A place for the hooks of a layer: what the graph gives."""

    def forward(self, entering: Tensor, given: Tensor) -> Tensor:
        return given


class OnnxGraph(nn.Module):
    """On the CPU, in float32.

    Its layers are the modules `layers.*`. Of several outputs the first is what enters them; an only one is a layer.

    Args:
        file: The graph. Weights in files next to it are found.
        outputs: Names of those that are layers, a star for any part of a name; others than (batch, frames, width) are
            left out.

    Raises:
        CheckpointError: For a damaged graph, or one without such outputs.
        MachineError: Where ONNX Runtime is not installed.
        OSError: For a file that cannot be read.
    """

    sha256: Tensor  # (32,) bytes, of the graph and its weights: what a checkpoint of this module consists of

    def __init__(self, file: str | Path, outputs: str = "*") -> None:
        super().__init__()
        self.file = Path(file)
        content = self.file.read_bytes()
        self.session = _session(self.file, content)
        given = self.session.get_outputs()
        states = [one for one in given if len(one.shape or ()) == 3 and fnmatchcase(one.name, outputs)]
        if not states:
            raise CheckpointError(
                f"{self.file.name} has no output {outputs!r} of three axes, (batch, frames, width); its outputs are "
                f"{', '.join(map(_spec, given))}"
            )
        for one in states:
            if one.type != FLOAT32:
                raise CheckpointError(f"{self.file.name} gives {_spec(one)}, expected float32")
        self.outputs = [one.name for one in states]
        self.layers = nn.ModuleList(_Output() for _ in self.outputs[1:] or self.outputs)
        whole = hashlib.sha256(content)
        for name in _elsewhere(content):
            whole.update((self.file.parent / name).read_bytes())
        self.register_buffer("sha256", torch.tensor(list(whole.digest()), dtype=torch.uint8))

    def forward(self, **inputs: Tensor) -> None:
        """inputs: by the names of the graph. What it gives passes through `layers`."""
        (device, *_) = {values.device for values in inputs.values()}
        feeds = {name: values.cpu().numpy() for name, values in inputs.items()}
        try:
            found = self.session.run(self.outputs, feeds)
        except Exception as error:  # of classes that have only that in common
            raise RuntimeError(f"{self.file.name}: {_first_line(error)}") from error
        entering, *states = [torch.from_numpy(values).to(device) for values in found]
        if not states:
            states, entering = [entering], entering[..., :0]
        for layer, values in zip(self.layers, states, strict=True):
            layer(entering, values)

    def samples_name(self) -> str:
        """Of its only input. Raises CheckpointError for other inputs than samples, (batch, any number) in float32."""
        inputs = self.session.get_inputs()
        (one, *more) = inputs or [None]
        if one is None or more or one.type != FLOAT32 or len(one.shape) != 2 or isinstance(one.shape[1], int):
            raise CheckpointError(
                f"{self.file.name} takes {', '.join(map(_spec, inputs)) or 'nothing'}, expected samples alone, (batch, "
                "any number) in float32; anything else is prepared by a file of code, with an OnnxGraph"
            )
        return str(one.name)


def _session(file: Path, content: bytes) -> Any:
    """By the very bytes that are hashed."""
    try:
        import onnxruntime
    except ImportError:
        raise MachineError(
            f"{file.name} takes ONNX Runtime, which is not installed; `pip install 'speech-layer-toolkit[onnx]'` "
            "adds it"
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.enable_mem_pattern = False  # one would be kept for each length
    folder = str(file.resolve().parent)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise CheckpointError(f"{file.name} is no graph that ONNX Runtime can run: {_first_line(error)}") from error


def _elsewhere(content: bytes) -> list[str]:
    """Names of the files that hold weights, each once."""
    found = {content[match.end() : match.end() + match[1][0]] for match in ELSEWHERE.finditer(content)}
    return sorted(name.decode("utf-8", "replace") for name in found)


def _first_line(error: Exception) -> str:
    return str(error).removeprefix("[ONNXRuntimeError] : ").partition("\n")[0]


def _spec(one: Any) -> str:
    """A graph's input or output: name, shape, kind of numbers."""
    shape = ", ".join(str(size) for size in one.shape or ())
    return f"{one.name} ({shape}) in {one.type.removeprefix('tensor(').rstrip(')')}"
