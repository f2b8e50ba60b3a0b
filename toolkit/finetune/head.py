"""The head, taught on the frozen layer before the backbone learns: else its first, random steps spoil what it knows.

Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, 2022.
"""

import torch
from torch import Tensor

from toolkit.core import seeds
from toolkit.core.errors import MachineError
from toolkit.corpus.labels import IntArray
from toolkit.finetune.classifier import Classifier
from toolkit.finetune.round_context import Job

BATCH = 16  # clips a step; each is one vector


def standard(pooled: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the training clips' pooled layer, (width,) float32 each; a constant keeps its scale.

    pooled: (clips, width).
    """
    whole = pooled.cpu().double()
    scale = whole.std(dim=0, correction=0)
    scale = torch.where(scale > 1e-6 * whole.abs().amax(dim=0), scale, 1.0)
    return whole.mean(dim=0).float(), scale.float()


def teach(job: Job, model: Classifier, fold: int, clips: IntArray, pooled: Tensor) -> None:
    """Train the head alone, for `Recipe.head_epochs`. pooled: (len(clips), width), of the untrained backbone.

    Weights decay, biases do not, as in the epochs to come. Raises MachineError where the loss diverges.
    """
    recipe = job.recipe
    groups = [
        {"params": [model.dense.weight, model.out.weight], "weight_decay": recipe.weight_decay},
        {"params": [model.dense.bias, model.out.bias], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.head_lr, fused=True)
    labels = torch.from_numpy(job.truth[clips]).to(job.device)
    for epoch in range(recipe.head_epochs):
        order = seeds.generator(job.seed, "finetune", fold, "head", epoch).permutation(len(labels))
        finite = torch.ones((), dtype=torch.bool, device=job.device)
        for start in range(0, len(order), BATCH):
            rows = torch.from_numpy(order[start : start + BATCH]).to(job.device)
            optimizer.zero_grad()
            loss = model.loss(model.head(pooled[rows]), labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            finite &= loss.isfinite()
        if not finite:
            raise MachineError(
                f"The head's first fit diverged in epoch {epoch + 1} of {recipe.head_epochs}, in the round that tests "
                f"fold {fold}; take a smaller --head-lr than {recipe.head_lr:g}"
            )
    optimizer.zero_grad()
