"""What is refused of a model by transformers' own forward, in a sentence each; and how a clip's features are made."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models import zoo
from tests.models.tiny import speech_like
from toolkit.core.errors import CheckpointError
from toolkit.models.checkpoint import inspect
from toolkit.models.families import FAMILIES, Feed
from toolkit.models.generic import GenericEncoder
from toolkit.models.network import Network, layer_modules
from toolkit.models.own_frames import plan_of
from toolkit.models.precision import FLOAT32

CPU = torch.device("cpu")


def network(name: str, last: int = 3, **feed: object) -> Network:
    model, extractor = zoo.ZOO[name].build()
    zoo.tiny.randomise(model, 0)
    tower = model.eval().requires_grad_(False).get_submodule(zoo.ZOO[name].tower)
    found = FAMILIES[name].feed
    assert found is not None
    return Network(tower, extractor, CPU, last, replace(found, **feed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("feed", "sentence"),
    [
        ({"states": "nothing.*"}, r"its model has 0 modules of the name 'nothing\.\*', expected 3"),
        ({"given": ("nothing", "attention_mask")}, r"its feature extractor fails on a clip of 0\.73 s: KeyError"),
        ({"prepare": "tests.models.test_network:dithered"}, "gives other values each time"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_in_a_sentence(feed: dict[str, object], sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        network("wav2vec2-bert", **feed)


def dithered(extractor: object, clip: np.ndarray) -> dict[str, torch.Tensor]:
    return {"input_features": torch.rand(1, len(clip) // 320, 160)}


def test_states_without_time_are_refused() -> None:
    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList([torch.nn.Linear(4, 4)])

        def forward(self, input_values: torch.Tensor) -> torch.Tensor:
            return self.layers[0](input_values[:, :4])

    def extractor(clip: np.ndarray, **_: object) -> dict[str, torch.Tensor]:
        return {"input_values": torch.from_numpy(clip)[None]}

    with pytest.raises(CheckpointError, match=r"states of shape \(1, 4\), expected \(batch, frames, width\)"):
        Network(Flat(), extractor, CPU, 1, Feed(mask="", states="layers.*"))


def test_states_that_are_not_numbers_are_refused_when_it_is_loaded() -> None:
    model, extractor = zoo.ZOO["wav2vec2-bert"].build()
    zoo.tiny.randomise(model, 0)
    model.encoder.layers[1].final_layer_norm.bias.data.fill_(3e38)
    feed = FAMILIES["wav2vec2-bert"].feed
    assert feed is not None
    with pytest.raises(CheckpointError, match="its states of a clip alone are not finite numbers"):
        GenericEncoder(model.eval().requires_grad_(False), extractor, CPU, FLOAT32, 3, feed, 32)


def test_what_the_extractor_s_own_mask_leaves_out_is_cut_off() -> None:
    parakeet = network("parakeet_ctc")
    clip = speech_like(0.5)
    found = parakeet.extractor(clip, sampling_rate=16_000, return_tensors="pt")
    item = parakeet.prepare(clip)
    own = int(found.attention_mask.sum())
    assert item["input_features"].shape[1] == own < found.input_features.shape[1]
    assert bool(item["attention_mask"].all())


def test_a_mask_is_made_where_the_extractor_gives_none() -> None:
    sew = network("sew")
    sew.extractor.return_attention_mask = False
    item = sew.prepare(speech_like(0.1))
    assert item["attention_mask"].shape == item["input_values"].shape and bool(item["attention_mask"].all())


def test_layers_are_named_part_by_part_and_stop_where_asked() -> None:
    model = zoo.ZOO["wav2vec2-bert"].build()[0]
    assert layer_modules(model, "encoder.layers.*") == list(model.encoder.layers)
    assert layer_modules(model, "") == list(model.encoder.layers)
    seen: list[int] = []
    stopped = network("wav2vec2-bert", last=1)
    stopped.model.encoder.layers[2].register_forward_hook(lambda *_: seen.append(2))
    assert len(stopped.run(stopped.prepare(speech_like(0.3))).states) == 2 and not seen


def test_a_model_whose_calls_depend_on_the_length_cannot_be_watched() -> None:
    def run(which: int) -> None:
        values = torch.ones(1, 2, 10 + which)
        for _ in range(1 + which):
            torch.conv1d(values, torch.ones(2, 2, 3))

    with pytest.raises(RuntimeError, match="depends on the clip's length"):
        plan_of(run)


def test_what_config_json_leaves_out_is_transformers_own_default(tmp_path: Path) -> None:
    folder = zoo.save("parakeet_ctc", tmp_path / "parakeet_ctc")
    config = json.loads((folder / "config.json").read_text())
    del config["encoder_config"]["hidden_size"]
    (folder / "config.json").write_text(json.dumps(config))
    assert inspect(folder, "p").backbone.width == 1024


@pytest.mark.parametrize("name", ["parakeet_ctc", "voxtral"])
def test_features_are_float32_when_training_is_not(name: str) -> None:
    found, clip = network(name), speech_like(0.3)
    expected = found.prepare(clip)["input_features"]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(found.prepare(clip)["input_features"], expected)
