"""Backbone, masked mean pooling and the paper's head, with the loss that the training clips' labels ask for."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.core.matmul import sigmoid
from toolkit.corpus.labels import Task
from toolkit.models.encoder import own_frames

FloatArray = npt.NDArray[np.float64]


def pool(values: Tensor, lengths: Tensor, owner: Tensor, statistics: str = "mean") -> Tensor:
    """What stands for each clip, over its own frames of all of its pieces: (clips, width) float32, or 2 width of both.

    values: (pieces, frames, width); lengths: (pieces,) own frames; owner: (pieces,) the clip of each, in order from 0.
    statistics: "mean", "std" (of the population, as `models.pooling` defines it), or "both", the mean first.
    """
    own = own_frames(lengths, values.shape[1])[..., None]
    frames = lengths[:, None].float()
    whole = len(owner) == int(owner[-1]) + 1  # each clip is one piece

    def joined(parts: Tensor) -> Tensor:
        if whole:
            return parts
        return torch.zeros(int(owner[-1]) + 1, parts.shape[1], device=parts.device).index_add(0, owner, parts)

    count = joined(frames)
    mean = joined(torch.where(own, values.float(), 0.0).sum(dim=1)) / count
    if statistics == "mean":
        return mean
    deviation = torch.where(own, values.float() - mean[owner][:, None], 0.0)
    variance = joined(deviation.square().sum(dim=1)) / count
    still = variance <= 0  # a single frame: there the root has no slope
    std = torch.where(still, 0.0, torch.where(still, 1.0, variance).sqrt())
    return std if statistics == "std" else torch.cat([mean, std], dim=1)


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
        standard: tuple[Tensor, Tensor],
        balanced: bool = True,
        statistics: str = "mean",
    ) -> None:
        """backbone: a `Trainable`. share: of the training clips that have each label. standard: centre and scale of
        what enters the head. balanced: weigh the loss by the labels' shares. statistics: what stands for a clip.

        The head is drawn from torch's generator.
        """
        super().__init__()
        self.backbone, self.multilabel, self.statistics = backbone, task.multilabel, statistics
        share = share.astype(np.float32).astype(np.float64)  # as it is kept: a model that is read back has its weights
        heads = len(task.labels) if task.multilabel else 1
        self.dense = nn.Linear(len(standard[0]), heads * backbone.width)
        self.out = nn.Linear(backbone.width, len(task.labels))
        self.register_buffer("centre", standard[0])
        self.register_buffer("scale", standard[1])
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
        logits = self.head(pool(values, lengths, owner, self.statistics))
        return {"logits": logits} if labels is None else {"loss": self.loss(logits, labels), "logits": logits}

    def head(self, pooled: Tensor) -> Tensor:
        """Logits (clips, n_labels) float32 of what `pool` gives."""
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
        """(clips, n_labels) float64, as if every training clip had counted the same.

        A loss with class weights w learns odds that are w times too high (of a class against the others of a softmax,
        of a label's two sides); so log w comes off the logits again, which is exact.
        """
        exact = logits.cpu().double() - self.weights.cpu().double().log()
        constant = self.constant.cpu()
        if self.multilabel:
            shares = torch.where(constant, self.prevalence.cpu().double(), sigmoid(exact))
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
