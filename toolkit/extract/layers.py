"""Which layers of a backbone are stored, and of which the frames too."""

from toolkit.core.errors import InputError, one_of
from toolkit.core.options import names as given
from toolkit.extract.options import Options
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.generic import BOUND, FIXED_PROOF_CLIPS, PROOF_CLIPS

CONTEXTS = ("full", "clip")
PROOF_FILE = "proof.json"
# What a store says of the proof of its mode; to be changed with what is compared.
PROOF = (
    f"when loaded {PROOF_CLIPS} clips ({FIXED_PROOF_CLIPS} of a fixed length), then one a window, against each alone: "
    f"every layer within {BOUND:g}"
)


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
