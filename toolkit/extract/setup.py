"""One backbone on one device: what the options mean for it, which precision, which store; loaded late."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from toolkit.audio.decode import Samples
from toolkit.core.artifacts import commit_json
from toolkit.core.i18n import ENGLISH
from toolkit.core.matmul import split_is_faster
from toolkit.core.options import names as given
from toolkit.core.progress import bar
from toolkit.extract.deviation import PRECISION_FILE, Compared, Measured, kept, record_of, relative_errors
from toolkit.extract.layers import frame_layers, layer_names
from toolkit.extract.options import Options
from toolkit.extract.pooled import Pooled
from toolkit.features.layout import STORE_FILE
from toolkit.features.store import Store, create, folder_of
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.encoder import Encoder
from toolkit.models.generic import BOUND, FIXED_PROOF_CLIPS, MEANINGS, MODES, PROOF_CLIPS, GenericEncoder
from toolkit.models.load import choose_device, load
from toolkit.models.pooling import MORE_STATISTICS
from toolkit.models.precision import FLOAT32, PRECISIONS, SPLIT_BFLOAT16, Precision, ladder
from toolkit.models.whisper import Context

CONTEXTS = ("full", "clip")
PROOF_FILE = "proof.json"
# What a store says of the proof of its mode; to be changed with what is compared.
PROOF = (
    f"when loaded {PROOF_CLIPS} clips ({FIXED_PROOF_CLIPS} of a fixed length), then one a window, against each alone: "
    f"every layer within {BOUND:g}"
)


class Session:
    """A checkpoint with the options of a run; a finished store needs no model, so none is loaded before it is needed.

    compared: None for clips that are not the corpus's: what they would show of a precision is not kept with the store.
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
        self.pooled = Pooled(given(options.statistics))
        self._compared = compared
        self.device = choose_device(options.device)
        self._rungs: tuple[Precision, ...] = (FLOAT32,)
        self.reason = "float32, by its own forward."
        if not self._proved:
            self._rungs, self.reason = ladder(options.dtype, self.device)
        self.precision = self._rungs[0]
        self._encoder: Encoder | None = None
        self._mode: str | None = None  # of a family that runs by transformers' own forward: the store's

    def encoder(self) -> Encoder:
        """The loaded backbone, in the precision that was chosen."""
        encoder = self._kept()
        self.say(f"{self.checkpoint.name} on {self.device}, {self.reason}")
        if isinstance(encoder, GenericEncoder):
            self.say(
                f"{MEANINGS[encoder.mode]}: {encoder.proof.clips} clips were off by {encoder.proof.worst:.1e} at most"
            )
        return encoder

    def exact(self) -> Encoder:
        """The backbone in float32, by which the others are measured."""
        return self._kept() if self.precision == FLOAT32 else self._load(FLOAT32)

    def _kept(self) -> Encoder:
        if self._proved and self._mode is None:
            self._begun()  # whose mode is kept
        if self._encoder is None or self._encoder.precision != self.precision:
            self._encoder = self._load(self.precision)
        return self._encoder

    def _load(self, precision: Precision) -> Encoder:
        options = self.options
        last = options.span[1] if options.span else None
        context: Context = "clip" if options.context == "clip" and self._whisper else "full"
        return load(
            self.checkpoint, self.device, precision, context=context, decoder=options.decoder, last_layer=last,
            mode=self._mode,
        )  # fmt: skip

    @property
    def _whisper(self) -> bool:
        return self.checkpoint.family.fixed_context

    @property
    def _context(self) -> str:
        """What the model takes besides the clip."""
        feed = self.checkpoint.family.feed
        return self.options.context if self._whisper else f"{feed.fixed:g} s" if feed and feed.fixed else "clip"

    def store(self) -> Store:
        """The store to fill, made if it is not there."""
        if self._proved:
            return self._store_of_a_mode()
        if self.precision == FLOAT32:
            return self._create()
        measured = self._remembered() or self._measure()
        if measured is None:
            return self._create()
        self._settle(measured)
        store = self._create()
        if record_of(store.folder) != measured:
            commit_json(store.folder / PRECISION_FILE, asdict(measured))
        return store

    def found(self) -> Store | None:
        """The store that `store` would give, if it exists; nothing is measured or written."""
        if self._proved:
            return self._begun()
        if len(self._rungs) > 1:
            measured = self._remembered()
            if measured is None:
                return None
            self._settle(measured)
        folder = self._folder(self.precision)
        return Store(folder) if (folder / STORE_FILE).exists() else None

    @property
    def _proved(self) -> bool:
        """Whether clips run in a mode that is proved when the model is loaded."""
        return self.checkpoint.family.feed is not None

    def _begun(self) -> Store | None:
        """The store of whichever mode, which is kept: another day another mode may be faster."""
        for self._mode in MODES:
            folder = self._folder(self.precision)
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

    def _folder(self, precision: Precision) -> Path:
        return folder_of(self.features, self.checkpoint.name, self._settings(precision))

    def _create(self) -> Store:
        width: int | Sequence[int] = self.checkpoint.backbone.width
        feed = self.checkpoint.family.feed
        if feed and feed.varies:
            encoder = self._kept()
            assert isinstance(encoder, GenericEncoder)
            widths = dict(zip(encoder.layer_names, encoder.widths))
            width = [widths[name] for name in self.names]
        return create(self.features, self.checkpoint.name, self.names, width, self._settings(self.precision))

    def _settings(self, precision: Precision) -> dict[str, Any]:
        """Everything that changes the numbers, and nothing else."""
        return {
            "weights_sha256": self.checkpoint.weights_sha256,
            "family": self.checkpoint.backbone.family,
            **self.checkpoint.stated,
            "layers": list(self.names),
            "dtype": precision.name,
            "context": self._context,
            "preprocessing": f"mono, {self.checkpoint.backbone.sample_rate} Hz by soxr HQ, the checkpoint's own "
            "preprocessor for each clip",
            "pooling": "mean and population std over the clip's own frames, float32",
            "frames": self.frames,
            **({"rounded": precision.rounded} if precision.rounded else {}),
            **({"batches": {"mode": self._mode, "proof": PROOF}} if self._mode else {}),
            **({"windows": asdict(self.windows)} if self.windows else {}),
            **({"statistics": list(self.pooled.names)} if self.pooled.more else {}),
            **{
                f"{name} {key}": value
                for name in self.pooled.more
                for key, value in MORE_STATISTICS.stated(name).items()
            },
        }

    def _remembered(self) -> Measured | None:
        """What `_measure` found when a store of these options was created, in any precision, if that was thorough.

        What held for a pilot of three clips does not for all of the corpus, nor a CPU's, which rounds less, for CUDA.
        """
        records = [record_of(self._folder(rung)) for rung in PRECISIONS.values()]
        here = [one for one in records if one is not None and one.device.startswith(self.device.type)]
        for found in sorted(here, key=lambda one: one.asked, reverse=True):
            rung = found.chosen(self._rungs, self.options.bound)
            few = self._compared is not None and found.asked < self._compared.count
            if rung is not None and not (few and rung != FLOAT32 and found.holds(rung, self.options.bound)):
                return found
        return None

    def _measure(self) -> Measured | None:
        """How far each precision is from float32 on clips of the corpus, up to the first that is close; None where no
        clips can be had.
        """
        clips = self._compared.clips() if self._compared else []
        if self._compared is None or not clips:
            return None
        self.say(f"comparing {self.precision.name} with float32 on {ENGLISH.counted(len(clips), 'clip')}")
        return Measured(self._deviations(clips), len(clips), self._compared.count, str(self.device))

    def _settle(self, measured: Measured) -> None:
        """The fastest precision that is close to float32, or the one that was requested; then a user is warned that it
        is not.
        """
        rung = measured.chosen(self._rungs, self.options.bound)
        assert rung is not None
        self.reason = measured.sentence(self._rungs, rung, self.options.bound, self.reason)
        if rung != self.precision and self._encoder is not None and self._encoder.precision != rung:
            self._encoder = None
        self.precision = rung

    def _deviations(self, clips: list[Samples]) -> dict[str, float | None]:
        """By name the largest relative error of what would be kept, against float32."""
        found: dict[str, float | None] = {}
        with bar("compare float32", len(clips), "clips") as advance:
            exact = kept(self._load(FLOAT32), clips, self.frames, advance, self.pooled)
        for rung in self._rungs:
            if rung == SPLIT_BFLOAT16 and len(self._rungs) > 1 and not split_is_faster():
                found[rung.name] = None
            elif rung != FLOAT32:
                self._encoder = None  # one is in memory at a time
                self._encoder = self._load(rung)
                with bar(f"compare {rung.name}", len(clips), "clips") as advance:
                    other = kept(self._encoder, clips, self.frames, advance, self.pooled)
                found[rung.name] = worst = float(relative_errors(exact, other).max())
                if worst <= self.options.bound:
                    break
        return found
