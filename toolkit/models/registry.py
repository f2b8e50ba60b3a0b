"""Which backbones are known by name. Torch-free: reading this table costs nothing."""

from dataclasses import dataclass
from typing import Any

from toolkit.core.registry import Registry
from toolkit.models.families import GENERIC, ConvolutionNorm

FRAMES_PER_SECOND = 50.0  # of all that is listed here: a step of 320 samples at 16 kHz, 20 ms


@dataclass(frozen=True)
class Backbone:
    """One pretrained model.

    name: what `--model` takes, and the folder's name under models/.
    hub_id: "owner/name" on the Hugging Face hub; empty for a folder of the user's own.
    family: a row of `families.FAMILIES`, `model_type` of its config.json.
    layers: transformer (or conformer) layers of the encoder; there is one hidden state more, what enters the first.
    width: values per frame in every hidden state of the encoder (and of Whisper's decoder).
    parameters: numbers in the backbone alone, without the head that a checkpoint may carry for CTC or pre-training.
    licence: as the hub tags it, an SPDX name; "unknown" for a folder of the user's own.
    frame_rate: hidden states per second of audio. sample_rate: samples per second that it was trained on.
    normalises_input: its own feature extractor brings each clip to zero mean and unit variance: the samples, or for
        wav2vec2-bert each bin of the mel spectrum.
    convolution_norm: "group" (one norm over time, after the first convolution), "layer" (over channels, after each), or
        "none" for models that read a mel spectrum.
    decoder_layers: of Whisper's decoder; 0 for the others.
    mel_bins: of the log-mel spectrum that it reads; 0 for those that read samples.
    """

    name: str
    hub_id: str
    family: str
    layers: int
    width: int
    parameters: int
    licence: str
    frame_rate: float
    sample_rate: int
    normalises_input: bool
    convolution_norm: ConvolutionNorm
    decoder_layers: int = 0
    mel_bins: int = 0


def _samples(
    hub_id: str,
    family: str,
    layers: int,
    width: int,
    parameters: int,
    norm: ConvolutionNorm,
    *,
    normalises: bool = True,
    licence: str = "apache-2.0",
    name: str = "",
) -> Backbone:
    """A row for a model that reads samples; its name is the hub's unless another one is given."""
    name = name or hub_id.split("/")[1]
    return Backbone(
        name, hub_id, family, layers, width, parameters, licence, FRAMES_PER_SECOND, 16_000, normalises, norm
    )


def _whisper(
    hub_id: str,
    layers: int,
    decoder_layers: int,
    width: int,
    parameters: int,
    *,
    mel_bins: int = 80,
    licence: str = "apache-2.0",
    name: str = "",
) -> Backbone:
    return Backbone(
        name=name or hub_id.split("/")[1],
        hub_id=hub_id,
        family="whisper",
        layers=layers,
        width=width,
        parameters=parameters,
        licence=licence,
        frame_rate=FRAMES_PER_SECOND,
        sample_rate=16_000,
        normalises_input=False,
        convolution_norm="none",
        decoder_layers=decoder_layers,
        mel_bins=mel_bins,
    )


def _by_own_forward(hub_id: str, family: str, layers: int, width: int, parameters: int, licence: str) -> Backbone:
    """A row for a family of `families.GENERIC`; parameters are those of the audio part."""
    row = GENERIC[family]
    return Backbone(
        name=hub_id.split("/")[1].lower(),
        hub_id=hub_id,
        family=family,
        layers=layers,
        width=width,
        parameters=parameters,
        licence=licence,
        frame_rate=row.frame_rate,
        sample_rate=16_000,
        normalises_input=row.normalises_input is not False,
        convolution_norm=row.convolution_norm or "layer",
    )


# Parameters were counted by building each configuration with transformers on the meta device. WavLM's authors give
# CC BY-SA 3.0 in the repository that their model card points to; the hub has no tag for it.
_ROWS = (
    _samples("facebook/hubert-base-ls960", "hubert", 12, 768, 94_371_712, "group"),
    _samples("jonatasgrosman/wav2vec2-large-xlsr-53-chinese-zh-cn", "wav2vec2", 24, 1024, 315_438_720, "layer"),
    _whisper("Jingmiao/whisper-small-chinese_base", 12, 12, 768, 241_734_912, name="whisper-small-chinese-base"),
    _whisper("openai/whisper-small", 12, 12, 768, 241_734_912),
    _whisper("openai/whisper-medium", 24, 24, 1024, 763_857_920),
    _whisper("openai/whisper-large-v3", 32, 32, 1280, 1_543_490_560, mel_bins=128),
    _samples("facebook/wav2vec2-base", "wav2vec2", 12, 768, 94_371_712, "group"),
    _samples("facebook/wav2vec2-xls-r-300m", "wav2vec2", 24, 1024, 315_438_720, "layer", name="xls-r-300m"),
    _samples("facebook/hubert-large-ll60k", "hubert", 24, 1024, 315_438_720, "layer"),
    _samples(
        "microsoft/wavlm-base-plus", "wavlm", 12, 768, 94_381_936, "group", normalises=False, licence="cc-by-sa-3.0"
    ),
    _samples("microsoft/wavlm-large", "wavlm", 24, 1024, 315_453_120, "layer", licence="cc-by-sa-3.0"),
    _samples("TencentGameMate/chinese-hubert-base", "hubert", 12, 768, 94_371_712, "group", licence="mit"),
    _samples("TencentGameMate/chinese-hubert-large", "hubert", 24, 1024, 315_438_720, "layer", licence="mit"),
    _samples("TencentGameMate/chinese-wav2vec2-base", "wav2vec2", 12, 768, 94_371_712, "group", licence="mit"),
    _samples("TencentGameMate/chinese-wav2vec2-large", "wav2vec2", 24, 1024, 315_438_720, "layer", licence="mit"),
    _whisper("openai/whisper-tiny", 4, 4, 384, 37_760_640),
    _whisper("openai/whisper-tiny.en", 4, 4, 384, 37_760_256),
    _whisper("openai/whisper-base", 6, 6, 512, 72_593_920),
    _whisper("openai/whisper-large-v3-turbo", 32, 4, 1280, 808_878_080, mel_bins=128, licence="mit"),
    _samples("facebook/data2vec-audio-base", "data2vec-audio", 12, 768, 93_164_288, "layer"),
    _samples("facebook/data2vec-audio-large", "data2vec-audio", 24, 1024, 313_276_416, "layer"),
    Backbone(
        name="w2v-bert-2.0",
        hub_id="facebook/w2v-bert-2.0",
        family="wav2vec2-bert",
        layers=24,
        width=1024,
        parameters=580_493_120,
        licence="mit",
        frame_rate=FRAMES_PER_SECOND,
        sample_rate=16_000,
        normalises_input=True,
        convolution_norm="none",
        mel_bins=80,
    ),
    _by_own_forward(
        "facebook/wav2vec2-conformer-rel-pos-large", "wav2vec2-conformer", 24, 1024, 618_559_104, "apache-2.0"
    ),
    _by_own_forward("facebook/seamless-m4t-v2-large", "seamless_m4t_v2", 24, 1024, 635_046_720, "cc-by-nc-4.0"),
    _by_own_forward("nvidia/parakeet-ctc-1.1b", "parakeet_ctc", 42, 1024, 1_061_489_664, "cc-by-4.0"),
    _by_own_forward("UsefulSensors/moonshine-tiny", "moonshine", 6, 288, 7_681_248, "mit"),
    _by_own_forward("Qwen/Qwen2-Audio-7B", "qwen2_audio", 32, 1280, 636_968_960, "apache-2.0"),
    _by_own_forward(
        "MIT/ast-finetuned-audioset-10-10-0.4593", "audio-spectrogram-transformer", 12, 768, 86_187_264, "bsd-3-clause"
    ),
)

BACKBONES: dict[str, Backbone] = {row.name: row for row in _ROWS}

# Of installed packages: functions without arguments that return an `own_code.OwnModel`; see docs/extending.md.
FACTORIES: Registry[Any] = Registry("model", "models", object, BACKBONES)
