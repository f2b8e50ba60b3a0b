"""The head, taught on the frozen layer before the backbone learns: else its first, random steps spoil what it knows.

Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, 2022.
"""

import torch
from torch import Tensor

from toolkit import seeds
from toolkit.finetune.classifier import Classifier
from toolkit.finetune.job import Job
from toolkit.splits import Round

BATCH = 16  # clips a step; each is one vector


def standard(pooled: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the training clips' pooled layer, (width,) float32 each; a constant keeps its scale.

    pooled: (clips, width).
    """
    whole = pooled.double().cpu()
    scale = whole.std(dim=0, correction=0)
    scale = torch.where(scale > 1e-6 * whole.abs().amax(dim=0), scale, 1.0)
    return whole.mean(dim=0).float(), scale.float()


def teach(job: Job, model: Classifier, round_: Round, pooled: Tensor) -> None:
    """Train the head alone, for `Recipe.head_epochs`. pooled: (training clips, width), of the untrained backbone."""
    recipe = job.recipe
    weights = [*model.dense.parameters(), *model.out.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=recipe.head_rate, weight_decay=recipe.weight_decay, fused=True)
    labels = torch.from_numpy(job.truth[round_.train]).to(job.device)
    for epoch in range(recipe.head_epochs):
        order = seeds.generator(job.seed, "finetune", round_.fold, "head", epoch).permutation(len(labels))
        for start in range(0, len(order), BATCH):
            rows = torch.from_numpy(order[start : start + BATCH]).to(job.device)
            optimizer.zero_grad()
            model.loss(model.head(pooled[rows]), labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    optimizer.zero_grad()
