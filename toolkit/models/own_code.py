"""A backbone that is code: a factory in a Python file, an ONNX graph, or what a package adds by an entry point.

A file is run, with all that its user may do: where a person typed its name, and nowhere else. All other commands ask
`checkpoint.locate`, which refuses it.
"""

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.audio.decode import SAMPLE_RATE, Samples
from toolkit.core.artifacts import CODE_SETTING, code_file, code_name
from toolkit.core.errors import CheckpointError, InputError, ToolkitError, is_out_of_memory, one_of
from toolkit.models.checkpoint import Checkpoint, locate
from toolkit.models.families import Family, Feed
from toolkit.models.network import WATCHED_SECONDS, Network, layer_modules, noise
from toolkit.models.onnx_graph import OnnxGraph
from toolkit.models.registry import BACKBONES, FACTORIES, Backbone

FAMILY = "own code"  # what a Backbone calls it


@dataclass(frozen=True)
class OwnModel:
    """What a factory returns.

    Attributes:
        module: Gives states when it is called with what `prepare` returns, as keywords. It is put in evaluation mode
            and float32.
        prepare: From one clip, (n_samples,) float32 at 16 kHz, to what the forward takes: tensors (1, ...) by name, the
            features first. The same clip must give the same values each time.
        layers: Names of the modules whose outputs are the states, (batch, frames, width), a star for one part of a
            name: "layers.*". Of an output that is a tuple the first counts.
        sample_rate: That `prepare` expects; 16,000 is the only one there is.
        mask: Which of the tensors marks, by 1 or True, where a clip is; "" for none.
        shortest: Samples; a shorter clip is padded with zeros.
    """

    module: nn.Module
    prepare: Callable[[Samples], Mapping[str, Tensor]]
    layers: str
    sample_rate: int = SAMPLE_RATE
    mask: str = ""
    shortest: int = 400


@dataclass(frozen=True)
class OwnCheckpoint(Checkpoint):
    """A factory that was run once, and what it made was described.

    folder: the file, or the name of an entry point. build: runs it again. feed: how the module is fed. source: what a
    store's settings say of the code.
    """

    build: Callable[[], OwnModel] = field(repr=False, kw_only=True)
    feed: Feed = field(kw_only=True)
    source: Mapping[str, Mapping[str, str]] = field(kw_only=True)

    @property
    def family(self) -> Family:
        return Family("", "", encoder="toolkit.models.generic:GenericEncoder", trainable="", feed=self.feed)

    @property
    def stated(self) -> Mapping[str, Mapping[str, str]]:
        return self.source

    def built(self) -> OwnModel:
        """What the factory makes. Raises CheckpointError for other weights than it made before."""
        code = self.build()
        if _sha256(code.module) != self.weights_sha256:
            raise CheckpointError(
                f"{self.name}: its factory gives other weights each time; expected weights that are loaded, or drawn "
                "from a seed"
            )
        return code


def locate_or_run(name: str, models_folder: Path, say: Callable[[str], None], text: bool = False) -> Checkpoint:
    """What `checkpoint.locate` finds; else the backbone that is code, which is run, and reported for a file.

    Raises InputError for a file, a factory or a name that does not do, CheckpointError for code that fails or makes
    what cannot be extracted, and all that `locate` does.
    """
    if file := code_file(name):
        return _of_file(*file, models_folder, say)
    if name in BACKBONES or name not in FACTORIES:
        return locate(name, models_folder, text=text)
    if (models_folder / name).exists():
        raise InputError(
            f"{name} is a folder in {models_folder.name}/ and a model of an installed package; rename the folder"
        )
    build = _guarded(FACTORIES[name], name, name)
    return _described(name, Path(name), build, FACTORIES.stated(name))


def _of_file(file: Path, factory: str, models_folder: Path, say: Callable[[str], None]) -> OwnCheckpoint:
    graph = file.suffix == ".onnx"
    if not (factory or graph):
        raise InputError(f"--model {file.name} names no factory, expected {file.name}:FACTORY")
    typed = ":".join(filter(None, (file.name, factory)))
    factory = factory or "*"
    try:
        code = file.read_bytes()
    except OSError as error:
        raise InputError(f"--model {typed}: the file cannot be read: {error.strerror}") from None
    name = code_name(file, factory)
    if name in BACKBONES or name in FACTORIES or (models_folder / name).exists():
        raise InputError(f"{typed} would be called {name}, as another backbone is; rename one of them")
    say(f"{file.name} is code of your own, and is run")
    sha256 = hashlib.sha256(code).hexdigest()
    source = {CODE_SETTING: {"file": file.name, "factory": factory, "sha256": sha256}}
    if graph:
        return _described(name, file, lambda: _of_graph(name, file, factory), source)
    module = _guarded(lambda: _executed(file, code, sha256), name, file.name, kind=ModuleType)()
    made: Any = getattr(module, factory, None)
    if not callable(made):
        functions = [each for each, one in vars(module).items() if getattr(one, "__module__", "") == module.__name__]
        raise InputError(f"{file.name}: {one_of('factory', factory, functions)}")
    return _described(name, file, _guarded(made, name, f"{file.name}:{factory}"), source)


def _of_graph(name: str, file: Path, outputs: str) -> OwnModel:
    """A graph of samples."""
    try:
        graph = OnnxGraph(file, outputs)
        samples = graph.samples_name()
    except (CheckpointError, OSError) as error:
        raise CheckpointError(f"{name}: {error}") from error
    return OwnModel(graph.eval(), lambda clip: {samples: torch.from_numpy(clip)[None]}, layers="layers.*")


def _executed(file: Path, code: bytes, sha256: str) -> ModuleType:
    """The very bytes that were hashed; no compiled ones are read or left."""
    module = ModuleType(f"own_code_{sha256[:12]}")
    module.__file__ = str(file.resolve())
    sys.modules[module.__name__] = module  # where dataclasses and pickle look for it
    exec(compile(code, module.__file__, "exec"), module.__dict__)  # noqa: S102 - the user named it
    return module


def _guarded(call: Callable[[], Any], name: str, what: str, kind: type = OwnModel) -> Callable[[], Any]:
    """A call of the user's code, whatever it raises or returns instead as a CheckpointError."""

    def guarded() -> Any:
        try:
            made = call()
        except (Exception, SystemExit) as error:
            if is_out_of_memory(error):
                raise
            raise CheckpointError(f"{name}: {what} fails: {type(error).__name__} {error}") from error
        if not isinstance(made, kind):
            raise CheckpointError(
                f"{name}: {what} returns a {type(made).__name__}, expected a toolkit.models.own_code.OwnModel"
            )
        if isinstance(made, OwnModel):
            made.module.eval().requires_grad_(False).float()
        return made

    return guarded


def _described(
    name: str, place: Path, build: Callable[[], OwnModel], source: Mapping[str, Mapping[str, str]]
) -> OwnCheckpoint:
    """By running it once on each of two clips. Raises CheckpointError for states that cannot be stored."""
    code = build()
    if code.sample_rate != SAMPLE_RATE:
        raise CheckpointError(f"{name}: {one_of('sample_rate', code.sample_rate, [SAMPLE_RATE])}")
    modules = layer_modules(code.module, code.layers) if code.layers else []
    if not modules:
        known = [each for each, _ in code.module.named_modules() if each]
        raise CheckpointError(
            f"{name}: no module is called {code.layers!r}, expected names such as {', '.join(known[:8]) or 'none'}"
        )
    weights = _sha256(code.module)
    clips = [noise(round(seconds * SAMPLE_RATE)) for seconds in WATCHED_SECONDS]
    try:
        item = prepared(code, clips[0])
        feed = Feed(
            next(iter(item)), code.mask, prepare=f"{__name__}:prepared", states=code.layers, shortest=code.shortest
        )
        network = Network(code.module, code, torch.device("cpu"), len(modules), feed)
        with torch.inference_mode():
            runs = [network.run(network.prepare(clip)).states for clip in clips]
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = str(error) if isinstance(error, ToolkitError) else f"its model fails: {type(error).__name__} {error}"
        raise CheckpointError(f"{name}: {reason}") from error
    first, width, frame_rate = _layers(name, [[tuple(states.shape) for states in run] for run in runs], len(modules))
    backbone = Backbone(
        name=name,
        hub_id="",
        family=FAMILY,
        layers=len(modules),
        width=width,
        parameters=sum(weight.numel() for weight in code.module.parameters()),
        licence="unknown",
        frame_rate=frame_rate,
        sample_rate=SAMPLE_RATE,
        normalises_input=False,
        convolution_norm="none",
    )
    return OwnCheckpoint(name, place, backbone, weights, build=build, feed=replace(feed, first=first), source=source)


def _layers(name: str, runs: Sequence[Sequence[tuple[int, ...]]], count: int) -> tuple[int, int, float]:
    """The first layer that is kept (what enters the modules, where it is as wide as what they give), width, and states
    per second. runs: of each clip the shapes, (1, frames, width), of what enters and what each module gives.
    """
    short, long = runs
    if len(short) != count + 1:
        raise CheckpointError(f"{name}: {len(short) - 1} of its {count} layers run, expected each to run once")
    widths = {shape[2] for run in runs for shape in run[1:]}
    if len(widths) > 1:
        raise CheckpointError(
            f"{name}: its layers give {short[-1]} and {long[-1]} of two clips, expected (1, frames, width) with one "
            "width of all layers and clips"
        )
    width, extent = widths.pop(), WATCHED_SECONDS[1] - WATCHED_SECONDS[0]
    more = long[-1][1] - short[-1][1]
    if more <= 0:
        raise CheckpointError(
            f"{name}: its states have no time: {short[-1][1]} frames of {WATCHED_SECONDS[0]} s and {long[-1][1]} of "
            f"{WATCHED_SECONDS[1]} s of audio"
        )
    as_wide = {run[0][1:] == run[1][1:] for run in runs} == {True}
    return int(not as_wide), width, round(more / extent, 1)


def prepared(code: OwnModel, clip: Samples) -> dict[str, Tensor]:
    """What the module takes of one clip. Raises CheckpointError for anything else than tensors (1, ...) by name."""
    item = code.prepare(clip)
    if not (
        isinstance(item, Mapping)
        and item
        and all(isinstance(values, Tensor) and values.ndim > 1 and len(values) == 1 for values in item.values())
    ):
        raise CheckpointError("prepare gives no tensors (1, ...) by the names of the module's arguments")
    if code.mask and code.mask not in item:
        raise CheckpointError(f"prepare gives no {code.mask!r}, which is named as the mask; it gives {list(item)}")
    return dict(item)


def _sha256(module: nn.Module) -> str:
    """Of all parameters and buffers that a checkpoint of it would hold: names, shapes and bytes."""
    whole = hashlib.sha256()
    for name, weight in sorted(module.state_dict().items()):
        if isinstance(weight, Tensor):
            whole.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
            whole.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def check_own_code(features: Mapping[str, Any], run: str, what: str) -> None:
    """Raises InputError where a run's features are those of code. features: a store's settings; what: is refused."""
    if features.get("family") == FAMILY:
        raise InputError(f"{run} probed features of code of your own, which {what}")
