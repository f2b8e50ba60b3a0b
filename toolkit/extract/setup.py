"""One backbone on one device: what the options mean for it, which dtype, which store; loaded as late as possible."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from toolkit.audio.decode import SAMPLE_RATE, Samples
from toolkit.core.artifacts import commit_json
from toolkit.core.errors import InputError, one_of
from toolkit.core.options import names as given
from toolkit.core.progress import Advance, bar, quiet
from toolkit.extract.options import Options
from toolkit.extract.pipeline import name_of
from toolkit.features.layout import STORE_FILE
from toolkit.features.store import Store, create, folder_of
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.encoder import Encoder
from toolkit.models.generic import BOUND, FIXED_PROOF_CLIPS, MEANINGS, MODES, PROOF_CLIPS, GenericEncoder
from toolkit.models.load import choose_device, choose_dtype, load
from toolkit.models.pooling import mean_and_std
from toolkit.models.whisper import Context

CONTEXTS = ("full", "clip")
# Clips that are compared in bfloat16 and float32, one in 25 between these. Now and then a frame of whisper-base
# swells tenfold, by how much is a hair's matter, and one clip in fifteen has a deviation that is off by more than 1e-2:
# 16 clips show it in two cases of three, 64 in 99 of a hundred.
FEWEST_COMPARED, MOST_COMPARED = 16, 64
PRECISION_BOUND = 1e-2  # of the relative error of a mean, a deviation or a clip's kept frames; above it, float32
LEAST = 0.1  # of the mean's size: the error of a smaller deviation (silence has one) is taken relative to this
PRECISION_FILE = "precision.json"
# What a store in bfloat16 tells of it; to be changed with what is rounded, so that no store holds both.
ROUNDED = (
    "what the costly products multiply, and their biases but those of what joins the states; "
    "not where a layer norm follows a convolution, nor in Whisper's first attention"
)


PROOF_FILE = "proof.json"
# What a store tells of the proof of its mode; to be changed with what is compared.
PROOF = (
    f"when loaded {PROOF_CLIPS} clips ({FIXED_PROOF_CLIPS} of a fixed length), then one a window, against each alone: "
    f"every layer within {BOUND:g}"
)


@dataclass(frozen=True)
class Compared:
    """Clips of a corpus that bfloat16 is measured by. clips: gives `count` of them, or all that have audio."""

    count: int
    clips: Callable[[], list[Samples]]


class Session:
    """A checkpoint with the options of a run; a finished store needs no model, so none is loaded before it is needed.

    compared: None for clips that are not the corpus's: what they would tell of bfloat16 is not kept with the store.
    say: gets the sentences that a user should read.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        features: Path,
        options: Options,
        compared: Compared | None,
        say: Callable[[str], None],
    ) -> None:
        self.checkpoint, self.features, self.options, self.say = checkpoint, features, options, say
        self.names = layer_names(checkpoint, options)
        self.frames = frame_layers(checkpoint, options)
        self.windows = options.windows
        self._compared = compared
        self.device = choose_device(options.device)
        self.dtype, self.reason = torch.float32, "float32, by its own forward."
        if not self._proved:
            self.dtype, self.reason = choose_dtype(options.dtype, self.device)
        self._encoder: Encoder | None = None
        self._mode: str | None = None  # of a family that runs by transformers' own forward: the store's

    def encoder(self) -> Encoder:
        """The loaded backbone, in the dtype that stands in the end."""
        encoder = self._kept()
        self.say(f"{self.checkpoint.name} on {self.device}, {self.reason}")
        if isinstance(encoder, GenericEncoder):
            self.say(
                f"{MEANINGS[encoder.mode]}: {encoder.proof.clips} clips were off by {encoder.proof.worst:.1e} at most"
            )
        return encoder

    def exact(self) -> Encoder:
        """The backbone in float32, by which bfloat16 is measured."""
        return self._kept() if self.dtype == torch.float32 else self._load(torch.float32)

    def _kept(self) -> Encoder:
        if self._proved and self._mode is None:
            self._begun()  # whose mode is kept
        if self._encoder is None or self._encoder.dtype != self.dtype:
            self._encoder = self._load(self.dtype)
        return self._encoder

    def _load(self, dtype: torch.dtype) -> Encoder:
        options = self.options
        last = options.span[1] if options.span else None
        context: Context = "clip" if options.context == "clip" and self._whisper else "full"
        return load(
            self.checkpoint, self.device, dtype, context=context, decoder=options.decoder, last_layer=last,
            mode=self._mode,
        )  # fmt: skip

    @property
    def _whisper(self) -> bool:
        return self.checkpoint.family.fixed_context

    @property
    def _context(self) -> str:
        """What the model hears besides the clip."""
        feed = self.checkpoint.family.feed
        return self.options.context if self._whisper else f"{feed.fixed:g} s" if feed and feed.fixed else "clip"

    def store(self) -> Store:
        """The store to fill, made if it is not there."""
        if self._proved:
            return self._store_of_a_mode()
        if self.dtype != torch.bfloat16:
            return self._create()
        measured = self._remembered() or self._measure()
        if measured is None:
            return self._create()
        self._settle(measured)
        store = self._create()
        if _precision_of(store.folder) != measured:
            commit_json(store.folder / PRECISION_FILE, measured)
        return store

    def found(self) -> Store | None:
        """The store that `store` would give, if it was begun; nothing is measured or written."""
        if self._proved:
            return self._begun()
        if self.options.dtype == "auto" and self.dtype == torch.bfloat16:
            measured = self._remembered()
            if measured is None:
                return None
            self._settle(measured)
        folder = self._folder(self.dtype)
        return Store(folder) if (folder / STORE_FILE).exists() else None

    @property
    def _proved(self) -> bool:
        """Whether clips run in a mode that is proved when the model is loaded."""
        return self.checkpoint.family.feed is not None

    def _begun(self) -> Store | None:
        """The store of whichever mode, which is kept: another day another mode may be faster."""
        for self._mode in MODES:
            folder = self._folder(self.dtype)
            if (folder / STORE_FILE).exists():
                return Store(folder)
        self._mode = None
        return None

    def _store_of_a_mode(self) -> Store:
        store = self._begun()
        if store is not None and (store.folder / PROOF_FILE).exists():
            return store
        encoder = self._kept()
        assert isinstance(encoder, GenericEncoder)
        self._mode = self._mode or encoder.mode
        store = self._create()
        commit_json(store.folder / PROOF_FILE, {**asdict(encoder.proof), "device": str(self.device)})
        return store

    def _folder(self, dtype: torch.dtype) -> Path:
        return folder_of(self.features, self.checkpoint.name, self._settings(dtype))

    def _create(self) -> Store:
        width: int | Sequence[int] = self.checkpoint.backbone.width
        feed = self.checkpoint.family.feed
        if feed and feed.varies:
            encoder = self._kept()
            assert isinstance(encoder, GenericEncoder)
            widths = dict(zip(encoder.layer_names, encoder.widths))
            width = [widths[name] for name in self.names]
        return create(self.features, self.checkpoint.name, self.names, width, self._settings(self.dtype))

    def _settings(self, dtype: torch.dtype) -> dict[str, Any]:
        """Everything that changes the numbers, and nothing else."""
        return {
            "weights_sha256": self.checkpoint.weights_sha256,
            "family": self.checkpoint.backbone.family,
            **self.checkpoint.stated,
            "layers": list(self.names),
            "dtype": name_of(dtype),
            "context": self._context,
            "preprocessing": f"mono, {self.checkpoint.backbone.sample_rate} Hz by soxr HQ, the checkpoint's own "
            "preprocessor for each clip",
            "pooling": "mean and population std over the clip's own frames, float32",
            "frames": self.frames,
            **({"rounded": ROUNDED} if dtype == torch.bfloat16 else {}),
            **({"batches": {"mode": self._mode, "proof": PROOF}} if self._mode else {}),
            **({"windows": asdict(self.windows)} if self.windows else {}),
        }

    def _remembered(self) -> dict[str, Any] | None:
        """What `_measure` found when a store of these options was begun, in whichever dtype, if that was thorough.

        What stood for a pilot of three clips does not for all of the corpus, nor a CPU's, which rounds less, for CUDA.
        """
        both = [_precision_of(self._folder(dtype)) for dtype in (torch.bfloat16, torch.float32)]
        here = [one for one in both if one is not None and one["device"].startswith(self.device.type)]
        found = max(here, key=lambda one: int(one["asked"]), default=None)
        if found and self._compared and found["asked"] < self._compared.count and found["deviation"] <= PRECISION_BOUND:
            return None
        return found

    def _measure(self) -> dict[str, Any] | None:
        """How far bfloat16 is from float32 on clips of the corpus; None where none can be had."""
        clips = self._compared.clips() if self._compared else []
        if self._compared is None or not clips:
            return None
        self.say(f"comparing bfloat16 with float32 on {len(clips)} clips")
        deviation = self._deviation(clips)
        return {
            "deviation": deviation,
            "bound": PRECISION_BOUND,
            "clips": len(clips),
            "asked": self._compared.count,
            "device": str(self.device),
        }

    def _settle(self, measured: dict[str, Any]) -> None:
        """bfloat16 stands if it is close to float32, or if it was asked for; then a user is told that it is not."""
        found = f"differs from float32 by {measured['deviation']:.3g} on {measured['clips']} clips"
        found += f" (bound {PRECISION_BOUND:g})"
        if measured["deviation"] <= PRECISION_BOUND:
            self.reason = f"{self.reason.removesuffix('.')}; it {found}."
        elif self.options.dtype == "auto":
            self.dtype, self._encoder = torch.float32, None
            self.reason = f"float32, not bfloat16, which {found}."
        else:
            self.reason = f"bfloat16 as asked for, but it {found}: --dtype float32 is exact."

    def _deviation(self, clips: list[Samples]) -> float:
        """The largest relative error of what would be kept, in bfloat16 against float32."""
        with bar("compare", 2 * len(clips), "clips") as advance:
            exact = kept(self.exact(), clips, self.frames, advance)
            self._encoder = self._load(torch.bfloat16)
            errors = relative_errors(exact, kept(self._encoder, clips, self.frames, advance))
        return float(errors.max())


def _precision_of(folder: Path) -> dict[str, Any] | None:
    """The record of a store's folder; None if there is none, or it is damaged."""
    try:
        found: dict[str, Any] = json.loads((folder / PRECISION_FILE).read_text())
        sound = 0 <= found["deviation"] < math.inf and 0 < found["clips"] <= found["asked"] < math.inf
        return found if sound and isinstance(found["device"], str) else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


Kept = list[tuple[npt.NDArray[np.float32], float]]  # arrays, each with the size that an error of it is relative to


def kept(encoder: Encoder, clips: Sequence[Samples], frames: Sequence[str], advance: Advance = quiet) -> Kept:
    """Each clip run alone: of each layer the mean (width,), the deviation (width,) and, in the layers `frames`, the
    (frames, width).
    """
    found: Kept = []
    for clip in clips:
        for layer in encoder.states([clip]):
            mean, std = (pooled[0].cpu().numpy() for pooled in mean_and_std(layer.values, layer.lengths))
            size = float(np.linalg.norm(mean))
            found += [(mean, size), (std, max(float(np.linalg.norm(std)), LEAST * size))]
            if layer.name in frames:
                own = layer.values[0, : int(layer.lengths[0])]  # copied: a view would keep 30 s
                values = own.to("cpu", torch.float32, copy=True).numpy()
                found.append((values, float(np.linalg.norm(values))))
        advance(1, len(clip) / SAMPLE_RATE)
    return found


def relative_errors(exact: Kept, found: Kept) -> npt.NDArray[np.float64]:
    """(n,): of each array the norm of the difference, relative to the size of the exact one; 1e30 if not finite."""
    pairs = zip(exact, found, strict=True)
    errors = np.array([np.linalg.norm(other - values) / max(size, 1e-30) for (values, size), (other, _) in pairs])
    finite: npt.NDArray[np.float64] = np.nan_to_num(errors, nan=1e30, posinf=1e30)  # JSON has no infinity
    return finite


def layer_names(checkpoint: Checkpoint, options: Options) -> tuple[str, ...]:
    """The layers that will be stored.

    Raises InputError for a dtype, a context, layers or a decoder that the backbone does not have.
    """
    backbone = checkpoint.backbone
    if checkpoint.family.feed and options.dtype not in ("auto", "float32"):
        raise InputError(
            f"{checkpoint.name}: {one_of('dtype', options.dtype, ['auto', 'float32'])}; its family, {backbone.family}, "
            "runs by its own forward, in float32"
        )
    if options.context not in CONTEXTS:
        raise InputError(one_of("context", options.context, CONTEXTS))
    lowest = checkpoint.family.feed.first if checkpoint.family.feed else 0
    first, last = options.span or (lowest, backbone.layers)
    if not lowest <= first <= last <= backbone.layers:
        raise InputError(
            f"Bad layers {first}-{last}, expected a range within {lowest}-{backbone.layers} of {checkpoint.name}"
        )
    if options.decoder and not backbone.decoder_layers:
        raise InputError(f"--decoder: {checkpoint.name} has no decoder; Whisper has")
    if options.decoder and last < backbone.layers:
        raise InputError("--decoder listens to all encoder layers; leave --layers out, or end them with the last")
    names = [f"encoder.{layer}" for layer in range(first, last + 1)]
    if options.decoder:
        names += [f"decoder.{layer}" for layer in range(backbone.decoder_layers + 1)]
    return tuple(names)


def frame_layers(checkpoint: Checkpoint, options: Options) -> list[str]:
    """Those whose frames will be stored, in order, however they were typed.

    Raises InputError for one that is not stored, and all that `layer_names` does.
    """
    names = [name for name in layer_names(checkpoint, options) if name.startswith("encoder.")]
    if options.frames and checkpoint.family.feed and checkpoint.family.feed.varies:
        raise InputError(f"--frames: the layers of {checkpoint.name} have different numbers of frames; leave it out")
    for name in given(options.frames):
        if name not in names:
            raise InputError(one_of("--frames", name, names, f", those extracted of {checkpoint.name}"))
    return [name for name in names if name in given(options.frames)]
