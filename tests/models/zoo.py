"""Tiny random checkpoints of the families that run by transformers' own forward, as the hub lays them out."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as T
from safetensors.torch import save_file

from tests.models import tiny
from tests.models import zoo_models as models
from toolkit.audio.decode import SAMPLE_RATE, Samples
from toolkit.models.checkpoint import inspect
from toolkit.models.families import FAMILIES


@dataclass(frozen=True)
class Entry:
    """One of the zoo.

    build: the model as the hub keeps it, with its feature extractor. mode: the first exact one. tower: of the model,
    what hears; "" for all of it. given: from what the extractor returns to what the tower's forward takes. call: what
    the extractor is called with. last: of the tower, the last layer, where what transformers records of it is pooled.
    stack: of the tower, its layers, where transformers records none. alone: the tower is built without the rest of the
    model, of which much else would be needed.
    """

    build: Callable[[], tuple[Any, Any]]
    mode: str = "mended"
    tower: str = ""
    given: Callable[[Any], dict[str, Any]] = dict
    call: Mapping[str, Any] = field(default_factory=dict)
    last: str = ""
    stack: str = ""
    alone: bool = False


def _model(name: str, *config: Mapping[str, Any]) -> tuple[Any, Any]:
    kind = getattr(T, f"{name}Model")
    return kind(
        kind.config_class(**{key: value for part in config for key, value in part.items()})
    ), models.samples_extractor()


def _features(found: Any) -> dict[str, Any]:
    return {"input_features": found["input_features"]}


def _packed(found: Any) -> dict[str, Any]:
    features = found["input_features"][0]
    return {"input_features": features, "feature_lens": torch.tensor([features.shape[1]])}


def _phi4(found: Any) -> dict[str, Any]:
    features = found["audio_input_features"]
    return {"hidden_states": features, "mask": torch.ones(features.shape[:2], dtype=torch.bool)}


def _gemma3n(found: Any) -> dict[str, Any]:
    return {"audio_mel": found["input_features"], "audio_mel_mask": ~found["input_features_mask"].bool()}


def _gemma4(found: Any) -> dict[str, Any]:
    return {"input_features": found["input_features"], "attention_mask": found["input_features_mask"]}


def _emotion2vec(found: Any) -> dict[str, Any]:
    samples = found["input_values"]
    return {"input_values": samples, "attention_mask": torch.ones(samples.shape, dtype=torch.long)}


def _qwen3(found: Any) -> dict[str, Any]:
    (mask,) = (name for name in found if "mask" in name)
    return {**_features(found), "input_features_mask": found[mask]}


def _codec(name: str) -> Callable[[Any], dict[str, Any]]:
    return lambda found: {name: found["input_values"]}


GEMMA = {"padding": True, "pad_to_multiple_of": None}
UNCUT = {"padding": "do_not_pad", "truncation": False}
W2V = [models.STACK, models.CONVOLUTIONS]
ZOO: dict[str, Entry] = {
    "wav2vec2-bert": Entry(models.w2v_bert, "masked"),
    "wav2vec2-bert-relative": Entry(
        lambda: models.w2v_bert(position_embeddings_type="relative", max_source_positions=400), "masked"
    ),
    "wav2vec2-conformer-relative": Entry(lambda: models.conformer("relative")),
    "wav2vec2-conformer-rotary": Entry(lambda: models.conformer("rotary")),
    "sew": Entry(lambda: _model("SEW", models.SEW)),
    "sew-d": Entry(lambda: _model("SEWD", models.SEW, {"max_position_embeddings": 64, "position_buckets": 32})),
    "speecht5": Entry(models.speecht5, tower="speecht5.encoder"),
    "moonshine": Entry(models.moonshine, tower="model.encoder"),
    "moonshine_streaming": Entry(
        models.moonshine_streaming, tower="model.encoder", call={"padding": True, "pad_to_multiple_of": 80}
    ),
    "seamless_m4t": Entry(models.seamless_m4t, "masked", "speech_encoder", last="encoder.layers.2"),
    "seamless_m4t_v2": Entry(models.seamless_m4t_v2, "masked", "speech_encoder", last="encoder.layers.2"),
    "speech_to_text": Entry(models.speech_to_text, tower="model.encoder"),
    "parakeet_ctc": Entry(models.parakeet, "masked", "encoder"),
    "parakeet_rnnt": Entry(lambda: models.parakeet("RNNT"), "masked", "encoder"),
    "parakeet_tdt": Entry(lambda: models.parakeet("TDT"), "masked", "encoder"),
    "lasr_ctc": Entry(models.lasr, "masked", "encoder"),
    "granite_speech": Entry(
        models.granite_speech, "equal", "model.encoder", lambda found: {"hidden_states": found["input_features"]}
    ),
    "granite_speech_plus": Entry(
        lambda: models.granite_speech("plus"),
        "equal",
        "model.encoder",
        lambda found: {"hidden_states": found["input_features"]},
    ),
    "canary": Entry(models.canary, "masked", "model.encoder"),
    "cohere_asr": Entry(models.cohere, "masked", "model.encoder"),
    "musicflamingo": Entry(
        lambda: models.audioflamingo3("MusicFlamingo"),
        "masked",
        "model.audio_tower",
        lambda found: {**_features(found), "input_features_mask": found["attention_mask"]},
        {"return_attention_mask": True},
        "layers.2",
    ),
    "fun_asr_nano": Entry(models.fun_asr_nano, "masked", "model.audio_tower"),
    "qwen2_audio": Entry(models.qwen2_audio, "masked", "model.audio_tower", _features, last="layers.2"),
    "voxtral": Entry(models.voxtral, "masked", "model.audio_tower", _features),
    "audioflamingo3": Entry(
        models.audioflamingo3,
        "masked",
        "model.audio_tower",
        lambda found: {**_features(found), "input_features_mask": found["attention_mask"]},
        {"return_attention_mask": True},
        "layers.2",
    ),
    "glmasr": Entry(models.glmasr, "mended", "model.audio_tower", _features, UNCUT),
    "qwen2_5_omni": Entry(models.qwen2_5_omni, "masked", "thinker.model.audio_tower", _packed, UNCUT),
    "qwen3_omni_moe": Entry(models.qwen3_omni_moe, "equal", "thinker.model.audio_tower", _packed, UNCUT),
    "qwen3_asr": Entry(models.qwen3_asr, "masked", "model.audio_tower", _qwen3, {"return_attention_mask": True}),
    "phi4_multimodal": Entry(
        models.phi4, tower="model.embed_tokens_extend.audio_embed.encoder", given=_phi4, stack="encoders"
    ),
    "gemma3n": Entry(models.gemma3n, given=_gemma3n, call=GEMMA, stack="conformer", alone=True),
    "gemma4": Entry(models.gemma4, "masked", given=_gemma4, call=GEMMA, stack="layers", alone=True),
    "voxtral_realtime": Entry(models.voxtral_realtime, "masked", "model.audio_tower", _features),
    "encodec": Entry(models.encodec, "equal", "encoder", _codec("hidden_states"), stack="layers"),
    "dac": Entry(models.dac, "mended", "encoder", _codec("hidden_state"), stack="block"),
    "mimi": Entry(models.mimi, "equal", "encoder", _codec("input_values"), stack="encoder_transformer.layers"),
    "clap": Entry(
        models.clap,
        "masked",
        "audio_model",
        _features,
        {"padding": "repeatpad", "truncation": "rand_trunc"},
        stack="audio_encoder.layers",
    ),
    "emotion2vec": Entry(models.emotion2vec, "masked", given=_emotion2vec, stack="layers"),
    "sensevoice": Entry(models.sensevoice, "masked", stack="layers"),
    "audio-spectrogram-transformer": Entry(
        lambda: (T.ASTModel(T.ASTConfig(**models.STACK)), T.ASTFeatureExtractor()), "masked"
    ),
}


def save(name: str, folder: Path, seed: int = 0) -> Path:
    """The checkpoint folder of one of ZOO, named by it."""
    model, feature_extractor = ZOO[name].build()
    tiny.save(folder, model, feature_extractor, seed)
    if ZOO[name].alone:
        config = {"model_type": name, "audio_config": json.loads((folder / "config.json").read_text())}
        (folder / "config.json").write_text(json.dumps(config))
        weights = {FAMILIES[name].prefix + key: weight for key, weight in model.state_dict().items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


class Reference:
    """A checkpoint of the zoo, loaded and run by transformers alone."""

    def __init__(self, folder: Path) -> None:
        self._entry = ZOO[folder.name]
        model, extractor = self._entry.build()
        T.utils.logging.disable_progress_bar()
        if self._entry.alone or folder.name in ("qwen2_5_omni", "qwen3_omni_moe"):  # which ask for a file of voices
            tiny.randomise(model, 0)
        else:
            model = type(model).from_pretrained(str(folder), local_files_only=True, dtype=torch.float32)
        self.tower = model.eval().get_submodule(self._entry.tower)
        self._extractor = extractor
        if isinstance(extractor, T.FeatureExtractionMixin):
            self._extractor = type(extractor).from_pretrained(str(folder), local_files_only=True)
        self._feed: Any = FAMILIES[inspect(folder, folder.name).backbone.family].feed
        self._kept: list[torch.Tensor] = []
        if self._entry.last:
            self.tower.get_submodule(self._entry.last).register_forward_hook(self._keep)
        elif self._entry.stack:
            layers: Any = self.tower.get_submodule(self._entry.stack)
            layers[0].register_forward_pre_hook(lambda _, given: self._keep(_, None, given))
            for layer in layers:
                layer.register_forward_hook(self._keep)

    def _keep(self, module: Any, args: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output
        self._kept.append(states.transpose(1, 2) if self._feed.channels_first else states)

    @torch.no_grad()
    def states(self, clip: Samples) -> dict[str, np.ndarray]:
        """{layer name: (own frames, width) float32}: of what the extractor gives, uncut."""
        samples = np.pad(clip, (0, max(0, self._feed.shortest - len(clip))))
        given = [samples] if self._entry.alone else samples
        found = self._extractor(given, sampling_rate=self._feed.rate, return_tensors="pt", **self._entry.call)
        self._kept = []
        if self._entry.stack:
            self.tower(**self._entry.given(found))
            states = self._kept
        else:
            states = self.tower(**self._entry.given(found), output_hidden_states=True).hidden_states
            states = [*states[:-1], *(self._kept or states[-1:])]
        own = None
        if self._feed.special == 2:
            states = [state[:, 2:].view(1, 12, 101, -1).transpose(1, 2).reshape(1, 1212, -1) for state in states]
            own = 12 * math.ceil(len(clip) * 101 / (10.24 * SAMPLE_RATE))
        elif self._feed.fixed and not self._feed.whole:
            own = math.ceil(len(clip) * states[0].shape[1] / (self._feed.fixed * SAMPLE_RATE))
        return {
            f"encoder.{number}": state.view(-1, state.shape[-1])[:own].numpy()
            for number, state in enumerate(states)
            if number >= self._feed.first
        }
