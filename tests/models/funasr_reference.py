"""FunASR's own emotion2vec and SenseVoice: a random checkpoint as its hub lays it out, and the states it gives clips.

Run in a process of its own, with funasr in a folder that is not installed: what its package imports besides these two
networks is left out.

    python funasr_reference.py SITE emotion2vec|sensevoice FOLDER
"""

import importlib
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from tests.models.tiny import randomise, speech_like

CLIPS = [speech_like(seconds, seed=n) for n, seconds in enumerate((0.313, 1.0, 2.003, 0.07))]
AUDIO = {
    "type": "AUDIO", "prenet_depth": 2, "prenet_layerdrop": 0.05, "prenet_dropout": 0.1, "start_drop_path_rate": 0.0,
    "end_drop_path_rate": 0.0, "num_extra_tokens": 10, "init_extra_token_zero": True, "mask_noise_std": 0.01,
    "mask_prob_min": None, "mask_prob": 0.5, "inverse_mask": False, "mask_prob_adjust": 0.05, "keep_masked_pct": 0.0,
    "mask_length": 5, "add_masks": False, "remove_masks": False, "mask_dropout": 0.0, "encoder_zero_mask": True,
    "mask_channel_prob": 0.0, "mask_channel_length": 64, "ema_local_encoder": False, "local_grad_mult": 1.0,
    "use_alibi_encoder": True, "alibi_scale": 1.0, "learned_alibi": False, "alibi_max_pos": None,
    "learned_alibi_scale": True, "learned_alibi_scale_per_head": True, "learned_alibi_scale_per_layer": False,
    "num_alibi_heads": 6, "model_depth": 2, "decoder": None, "extractor_mode": "layer_norm",
    "feature_encoder_spec": "[(24, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] + [(20, 2, 2)]", "conv_pos_width": 95,
    "conv_pos_groups": 4, "conv_pos_depth": 5, "conv_pos_pre_ln": False,
}  # fmt: skip
CONF = {
    "loss_beta": 0.0, "loss_scale": None, "depth": 2, "start_drop_path_rate": 0.0, "end_drop_path_rate": 0.0,
    "num_heads": 6, "norm_eps": 1e-5, "norm_affine": True, "encoder_dropout": 0.1, "post_mlp_drop": 0.1,
    "attention_dropout": 0.1, "activation_dropout": 0.0, "dropout_input": 0.0, "layerdrop": 0.05, "embed_dim": 48,
    "mlp_ratio": 1.5, "layer_norm_first": False, "average_top_k_layers": 2, "end_of_block_targets": False,
    "clone_batch": 8, "normalize": True, "modalities": {"audio": AUDIO},
}  # fmt: skip
ENCODER = {
    "output_size": 64, "attention_heads": 4, "linear_units": 96, "num_blocks": 4, "tp_blocks": 2, "dropout_rate": 0.1,
    "attention_dropout_rate": 0.1, "input_layer": "pe", "pos_enc_class": "SinusoidalPositionEncoder",
    "normalize_before": True, "kernel_size": 11, "sanm_shfit": 0, "selfattention_layer_type": "sanm",
}  # fmt: skip
FRONTEND = {
    "fs": 16000, "window": "hamming", "n_mels": 80, "frame_length": 25, "frame_shift": 10, "lfr_m": 7, "lfr_n": 6,
}  # fmt: skip


class Anything:
    """In the place of what is imported and not used here."""

    def __getattr__(self, name: str) -> Any:
        return Anything()

    def __call__(self, *given: Any, **named: Any) -> Any:
        return given[0] if given and callable(given[0]) else Anything()


class Settings(dict[str, Any]):
    """omegaconf's, as far as it is asked."""

    def __getattr__(self, name: str) -> Any:
        return Settings(self[name]) if isinstance(self[name], dict) else self[name]


def import_alone(site: Path, name: str) -> Any:
    """A module of funasr, without the packages around it."""
    parts = name.split(".")
    for end in range(1, len(parts)):
        package = types.ModuleType(".".join(parts[:end]))
        package.__path__ = [str(site.joinpath(*parts[:end]))]
        sys.modules.setdefault(package.__name__, package)
    return importlib.import_module(name)


def _anything(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return Anything()


def stand_in(name: str, **attributes: Any) -> None:
    module = types.ModuleType(name)
    module.__dict__.update(attributes)
    module.__getattr__ = _anything  # type: ignore[method-assign]
    sys.modules[name] = module


def emotion2vec(site: Path, folder: Path) -> list[list[np.ndarray]]:
    stand_in("omegaconf", OmegaConf=types.SimpleNamespace(create=Settings))
    stand_in("funasr.utils.load_utils")
    model = import_alone(site, "funasr.models.emotion2vec.model").Emotion2vec(model_conf=CONF, vocab_size=9)
    randomise(model.eval(), 0)
    model.modality_encoders["AUDIO"].alibi_scale.data.uniform_(-0.1, 1)
    write(folder, "Emotion2vec", {"model_conf": CONF}, {f"d2v_model.{k}": v for k, v in model.state_dict().items()})
    kept: list[np.ndarray] = []
    blocks = [*model.modality_encoders["AUDIO"].context_encoder.blocks, *model.blocks]
    blocks[0].register_forward_pre_hook(lambda _, given: kept.append(given[0][0, 10:].numpy()))
    for block in blocks:
        block.register_forward_hook(lambda _, given, output: kept.append(output[0][0, 10:].numpy()))
    found = []
    for clip in CLIPS:
        kept.clear()
        samples = torch.from_numpy(clip)
        samples = torch.nn.functional.layer_norm(samples, samples.shape)  # as its `inference` does
        last = model.extract_features(samples[None], padding_mask=None)["x"]
        assert torch.equal(last[0], torch.from_numpy(kept[-1]))
        found.append(list(kept))
    return found


def sensevoice(site: Path, folder: Path) -> list[list[np.ndarray]]:
    for name in ("metrics.compute_acc", "losses.label_smoothing_loss", "train_utils.device_funcs", "utils.load_utils",
                 "utils.datadir_writer", "models.ctc.ctc", "models.paraformer.search", "frontends.eend_ola_feature",
                 "models.sense_voice.utils.ctc_alignment"):  # fmt: skip
        import_alone(site, "funasr.register")
        stand_in(f"funasr.{name}")
    module = import_alone(site, "funasr.models.sense_voice.model")
    encoder = module.SenseVoiceEncoderSmall(input_size=560, **ENCODER).eval()
    embed = torch.nn.Embedding(16, 560)
    whole = torch.nn.ModuleDict({"encoder": encoder, "embed": embed})
    randomise(whole, 0)
    generator = np.random.default_rng(0)
    shift, scale = generator.normal(-8, 1, 560), generator.uniform(0.1, 0.3, 560)
    rows = [" ".join(f"{value:.7g}" for value in row) for row in (shift, scale)]
    (folder / "am.mvn").write_text(
        f"<Nnet>\n<Splice> 560 560\n[ 0 ]\n<AddShift> 560 560\n<LearnRateCoef> 0 [ {rows[0]} ]\n"
        f"<Rescale> 560 560\n<LearnRateCoef> 0 [ {rows[1]} ]\n</Nnet>\n"
    )
    write(folder, "SenseVoiceSmall", {"encoder_conf": ENCODER, "frontend_conf": FRONTEND}, whole.state_dict())
    made = import_alone(site, "funasr.frontends.wav_frontend").WavFrontend(
        cmvn_file=str(folder / "am.mvn"), dither=0.0, **FRONTEND
    )
    kept: list[np.ndarray] = []
    layers = [*encoder.encoders0, *encoder.encoders, *encoder.tp_encoders]
    for layer in layers:
        layer.register_forward_hook(lambda _, given, output: kept.append(output[0][0, 4:].numpy().copy()))
    for norm, place in ((encoder.after_norm, 3), (encoder.tp_norm, 5)):
        norm.register_forward_hook(
            lambda _, given, output, place=place: kept.__setitem__(place, output[0, 4:].numpy().copy())
        )
    queries = embed(torch.tensor([[0, 1, 2, 15]]))
    found = []
    for clip in CLIPS:
        kept.clear()
        features, _ = made(torch.from_numpy(clip)[None], torch.tensor([len(clip)]))
        features = torch.cat([queries, features], dim=1)
        encoder(features, torch.tensor([features.shape[1]]))
        found.append(list(kept))
    return found


def write(folder: Path, kind: str, settings: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": kind, **settings}))
    torch.save({"model": weights, "epoch": 3}, folder / "model.pt")


if __name__ == "__main__":
    site, kind, folder = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    sys.path.insert(0, str(site))
    with torch.no_grad():
        states = {"emotion2vec": emotion2vec, "sensevoice": sensevoice}[kind](site, folder)
    arrays = {f"{clip} {layer}": each for clip, layers in enumerate(states) for layer, each in enumerate(layers)}
    np.savez(folder / "states.npz", **arrays)
