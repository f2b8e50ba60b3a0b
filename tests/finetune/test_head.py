"""The head's first fit: what it standardises by, and what decays in it."""

import numpy as np
import torch

from tests.finetune.conftest import make_job
from toolkit.corpus.manifest import Manifest
from toolkit.finetune.classifier import Classifier
from toolkit.finetune.head import standard, teach
from toolkit.finetune.options import Recipe
from toolkit.models.checkpoint import Checkpoint
from toolkit.models.load_trainable import load_trainable


def test_weights_decay_and_biases_do_not(manifest_of: Manifest, checkpoints: dict[str, Checkpoint]) -> None:
    """Where nothing can be learnt, a step only decays: weights by 1 - rate x decay, biases not at all."""
    recipe = Recipe("head", head_lr=0.1, weight_decay=0.5, head_epochs=3)
    job, question = make_job(manifest_of, checkpoints["hubert-group"], "high", recipe)
    clips = np.arange(16)
    backbone = load_trainable(checkpoints["hubert-group"], "encoder.1")
    model = Classifier(backbone, question.task, np.array([0.5, 0.5]), (torch.zeros(32), torch.ones(32)))
    model.loss = lambda logits, labels: 0.0 * logits.sum()  # type: ignore[method-assign]
    before = {name: value.clone() for name, value in model.named_parameters()}
    teach(job, model, 0, clips, torch.randn(16, 32))
    after = dict(model.named_parameters())
    for name in ("dense", "out"):
        assert torch.allclose(after[f"{name}.weight"], before[f"{name}.weight"] * 0.95**3, rtol=1e-5)
        assert torch.equal(after[f"{name}.bias"], before[f"{name}.bias"])


def test_a_feature_that_does_not_vary_keeps_its_scale() -> None:
    centre, scale = standard(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    assert centre.tolist() == [2.0, 5.0] and scale.tolist() == [1.0, 1.0]
    centre, scale = standard(torch.tensor([[1.0], [7.0]]))
    assert scale.tolist() == [3.0]
