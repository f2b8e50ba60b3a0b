"""Backbone, masked mean pooling and the paper's head, with the loss that the training clips' labels ask for."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.labels import Task
from toolkit.models.states import own_frames

FloatArray = npt.NDArray[np.float64]


def pool(values: Tensor, lengths: Tensor, owner: Tensor) -> Tensor:
    """The mean over each clip's own frames, of all of its pieces: (clips, width) float32.

    values: (pieces, frames, width); lengths: (pieces,) own frames; owner: (pieces,) the clip of each, in order from 0.
    """
    own = own_frames(lengths, values.shape[1])[..., None]
    sums = torch.where(own, values.float(), 0.0).sum(dim=1)
    if len(owner) == int(owner[-1]) + 1:
        return sums / lengths[:, None].float()
    clips = int(owner[-1]) + 1
    joined = torch.zeros(clips, values.shape[2], device=values.device).index_add(0, owner, sums)
    frames = torch.zeros(clips, device=values.device).index_add(0, owner, lengths.float())
    return joined / frames[:, None]


class Classifier(nn.Module):
    """(dense, tanh, out) on the pooled layer; of several labels at once, each has a dense and an out of its own.

    What enters the head is standardised by the training clips' statistics in the untrained backbone, as a probe's
    features are: raw layers differ a hundredfold in scale, and tanh would saturate.
    A label that does not vary in the training clips teaches nothing, and is predicted at its prevalence, 0 or 1.
    """

    centre: Tensor
    scale: Tensor
    weights: Tensor
    constant: Tensor
    prevalence: Tensor

    def __init__(
        self,
        backbone: Any,
        task: Task,
        share: FloatArray,
        statistics: tuple[Tensor, Tensor],
        balanced: bool = True,
    ) -> None:
        """backbone: a `Trainable`. share: of the training clips that have each label. statistics: centre and scale,
        (width,) each. balanced: weigh the loss by the labels' shares.

        The head is drawn from torch's generator.
        """
        super().__init__()
        self.backbone, self.multilabel = backbone, task.multilabel
        heads = len(task.labels) if task.multilabel else 1
        self.dense = nn.Linear(backbone.width, heads * backbone.width)
        self.out = nn.Linear(backbone.width, len(task.labels))
        self.register_buffer("centre", statistics[0])
        self.register_buffer("scale", statistics[1])
        constant = (share == 0) | (share == 1) if task.multilabel else share == 0
        self.register_buffer("prevalence", torch.from_numpy(share.astype(np.float32)))
        weights = _weights(share, constant, task.multilabel) if balanced else np.ones(len(share), np.float32)
        for name, value in (("weights", weights), ("constant", constant)):
            self.register_buffer(name, torch.from_numpy(value), persistent=False)

    def forward(self, signal: Tensor, own: Tensor, owner: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """A batch of `Trainable.collate`; labels: (clips,) indices, or (clips, n_labels) of 0 and 1.

        Returns logits (clips, n_labels) float32 and, with labels, the mean loss over the clips.
        """
        values, lengths = self.backbone.last(signal, own, owner)
        logits = self.head(pool(values, lengths, owner))
        return {"logits": logits} if labels is None else {"loss": self.loss(logits, labels), "logits": logits}

    def head(self, pooled: Tensor) -> Tensor:
        """Logits (clips, n_labels) float32 of the pooled layer, (clips, width)."""
        inner = torch.tanh(self.dense((pooled - self.centre) / self.scale))
        if self.multilabel:
            heads = inner.float().view(len(pooled), *self.out.weight.shape)  # (clips, n_labels, width)
            own: Tensor = (heads * self.out.weight).sum(dim=2) + self.out.bias
            return own
        logits: Tensor = self.out(inner)
        return logits.float()

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """If balanced, every class, or each label's two sides, count the same over the training clips."""
        if self.multilabel:
            kept = ~self.constant
            each = F.binary_cross_entropy_with_logits(
                logits[:, kept], labels[:, kept].float(), pos_weight=self.weights[kept], reduction="none"
            )
            return each.mean()
        logits = logits.masked_fill(self.constant, float("-inf"))
        # Not divided by the batch's weights: then the parts of an accumulated batch add up to the batch.
        return (F.cross_entropy(logits, labels, reduction="none") * self.weights[labels]).mean()

    def probability(self, logits: Tensor) -> FloatArray:
        """(clips, n_labels) float64."""
        exact = logits.double().cpu()
        constant = self.constant.cpu()
        if self.multilabel:
            shares = torch.where(constant, self.prevalence.double().cpu(), torch.sigmoid(exact))
        else:
            shares = torch.softmax(exact.masked_fill(constant, float("-inf")), dim=1)
        result: FloatArray = shares.numpy()
        return result

    def train(self, mode: bool = True) -> "Classifier":
        """Parts without a weight that learns stay in evaluation mode: their dropout would only be noise."""
        super().train(mode)
        backbone = self.backbone
        for part in (backbone.front, *backbone.front, *backbone.layers):
            part.train(mode and any(weight.requires_grad for weight in part.parameters()))
        for module in backbone.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()
        return self

    def state_dict(self, *arguments: Any, **options: Any) -> dict[str, Any]:  # type: ignore[override]
        """What training changes, the head's standardisation and the prevalences; the rest is the checkpoint's."""
        own = {name for name, weight in self.named_parameters() if weight.requires_grad}
        own |= {"centre", "scale", "prevalence"}
        whole: Mapping[str, Any] = super().state_dict(*arguments, **options)
        return {name: value for name, value in whole.items() if name in own}


def _weights(share: FloatArray, constant: npt.NDArray[np.bool_], multilabel: bool) -> npt.NDArray[np.float32]:
    """(n_labels,): of each class, averaging 1 over the training clips; or of each label's positives."""
    safe = np.where(constant, 0.5, share)
    weights = (1 - safe) / safe if multilabel else 1 / (safe * (~constant).sum())
    return weights.astype(np.float32)
