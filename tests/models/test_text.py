"""Encoders of text: every layer is transformers' own for each text alone, whatever runs with it."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tests.models import tiny_text
from toolkit.core.errors import CheckpointError, InputError
from toolkit.models.checkpoint import inspect, locate
from toolkit.models.generic import BOUND
from toolkit.models.text import TextEncoder

TEXTS = ["hello", "I am not well", "a", "我很难过", "well, well, well then", "not at all"]


@pytest.mark.parametrize("kind", list(tiny_text.KINDS))
def test_each_layer_is_transformers_own_for_a_text_alone(kind: str, tmp_path: Path) -> None:
    checkpoint = inspect(tiny_text.encoder(tmp_path / kind, kind), kind)
    encoder = TextEncoder(checkpoint, torch.device("cpu"))
    assert encoder.mode == "masked" and encoder.worst < BOUND
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / kind)
    model = transformers.AutoModel.from_pretrained(tmp_path / kind).eval()
    found = encoder.pooled([encoder.tokens(text) for text in TEXTS])
    assert found["mean"].shape == (4, len(TEXTS), 32)
    for place, text in enumerate(TEXTS):
        with torch.inference_mode():
            given = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True, use_cache=False)
        for layer, states in enumerate(given.hidden_states):
            for statistic, own in (("mean", states[0].mean(0)), ("std", states[0].std(0, correction=0))):
                np.testing.assert_allclose(found[statistic][layer, place], own, rtol=1e-4, atol=1e-5)
    again = encoder.pooled([encoder.tokens(text) for text in TEXTS])
    assert all((again[name] == found[name]).all() for name in found)


def test_roberta_has_fewer_positions_than_its_config_says_and_a_cut_text_ends_as_any_other(tmp_path: Path) -> None:
    encoder = TextEncoder(inspect(tiny_text.encoder(tmp_path / "r", "roberta"), "r"), torch.device("cpu"))
    assert encoder.longest == 38
    ids = encoder.tokens("x" * 50)
    short = encoder.cut(ids)
    assert len(ids) == 52 and len(short) == 38 and short[-1] == ids[-1] and (short[:-1] == ids[:37]).all()
    assert np.isfinite(encoder.pooled([short])["mean"]).all()


def test_one_whose_batches_are_not_exact_runs_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = inspect(tiny_text.encoder(tmp_path / "b"), "b")
    encoder = TextEncoder(checkpoint, torch.device("cpu"))
    own = type(encoder._model).forward

    def leaking(self: object, input_ids: torch.Tensor, attention_mask: torch.Tensor, **more: object) -> object:
        return own(self, input_ids=input_ids, attention_mask=torch.ones_like(attention_mask), **more)

    monkeypatch.setattr(type(encoder._model), "forward", leaking)
    other = TextEncoder(checkpoint, torch.device("cpu"))
    assert other.mode == "alone" and other.worst > 1e-3
    texts = [encoder.tokens(text) for text in TEXTS]
    found = other.pooled(texts)
    for place, ids in enumerate(texts):
        assert (found["mean"][:, place] == other.pooled([ids])["mean"][:, 0]).all()


def test_its_tokenizer_belongs_to_its_hash_and_what_hears_is_told_from_what_reads(tmp_path: Path) -> None:
    models = tmp_path / "models"
    folder = tiny_text.encoder(models / "mine")
    with pytest.raises(InputError, match="mine reads text: `toolkit extract` takes it"):
        locate("mine", models)
    before = locate("mine", models, text=True).weights_sha256
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + " ")
    with pytest.raises(CheckpointError, match="mine is not what it was at its first use"):
        locate("mine", models, text=True)
    assert locate("mine", models, accept=True, text=True).weights_sha256 != before
    tokenizer.write_text("{")
    checkpoint = inspect(folder, "mine")
    with pytest.raises(CheckpointError, match="mine: its tokenizer cannot be read"):
        TextEncoder(checkpoint, torch.device("cpu"))
    tokenizer.unlink()
    with pytest.raises(CheckpointError, match="mine/ has no tokenizer, expected one of"):
        inspect(folder, "mine")


def test_a_checkpoint_with_a_head_is_read_and_one_that_lacks_a_weight_is_not(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tiny_text.encoder(tmp_path / "b")
    plain = load_file(folder / "model.safetensors")
    first = TextEncoder(inspect(folder, "b"), torch.device("cpu"))
    expected = first.pooled([first.tokens("hello")])
    under = {f"bert.{name}": weight for name, weight in plain.items() if not name.startswith("pooler.")}
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): weight
           for name, weight in under.items()}  # fmt: skip
    for weights in (under, old):
        save_file({**weights, "cls.bias": torch.zeros(3)}, folder / "model.safetensors", {"format": "pt"})
        encoder = TextEncoder(inspect(folder, "b"), torch.device("cpu"))
        found = encoder.pooled([encoder.tokens("hello")])
        assert (found["mean"] == expected["mean"]).all()
    under.pop("bert.encoder.layer.1.output.dense.weight")
    save_file(under, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"are missing, the first is 'encoder\.layer\.1\.output\.dense\.weight'"):
        TextEncoder(inspect(folder, "b"), torch.device("cpu"))
