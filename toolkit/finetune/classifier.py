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
from toolkit.models.trainable import last_states
from toolkit.result import kinds
from toolkit.result.kinds import Link
from toolkit.result.links import given_out, loss_of

FloatArray = npt.NDArray[np.float64]


def pool(values: Tensor, lengths: Tensor, owner: Tensor, statistics: str = "mean") -> Tensor:
    """The vector of each clip, over its own frames of all of its pieces: (clips, width) float32, or 2 width of both.

    values: (pieces, frames, width); lengths: (pieces,) own frames; owner: (pieces,) the clip of each, in order from 0.
    statistics: "mean", "std" (of the population, as `models.pooling` defines it), or "both", the mean first.
    """
    valid = own_frames(lengths, values.shape[1])[..., None]
    frames = lengths[:, None].float()
    whole = len(owner) == int(owner[-1]) + 1  # each clip is one piece

    def joined(parts: Tensor) -> Tensor:
        if whole:
            return parts
        return torch.zeros(int(owner[-1]) + 1, parts.shape[1], device=parts.device).index_add(0, owner, parts)

    count = joined(frames)
    mean = joined(torch.where(valid, values.float(), 0.0).sum(dim=1)) / count
    if statistics == "mean":
        return mean
    deviation = torch.where(valid, values.float() - mean[owner][:, None], 0.0)
    variance = joined(deviation.square().sum(dim=1)) / count
    still = variance <= 0  # a single frame: there the root has no slope
    std = torch.where(still, 0.0, torch.where(still, 1.0, variance).sqrt())
    return std if statistics == "std" else torch.cat([mean, std], dim=1)


class Classifier(nn.Module):
    """(dense, tanh, out) on the pooled layer; of several labels at once, or of targets, each has both of its own.

    Levels share one out, with a bias for being above each of those that occur but the last (CORAL, Cao, Mirjalili and
    Raschka, Pattern Recognition Letters, 2020). Numbers are learnt less their mean, over their deviation.
    What enters the head is standardised by the training clips' statistics in the untrained backbone, as a probe's
    features are: raw layers differ a hundredfold in scale, and tanh would saturate.
    A label that does not vary in the training clips teaches nothing, and is predicted at its prevalence, 0 or 1; a
    target at its mean.
    """

    centre: Tensor
    scale: Tensor
    weights: Tensor
    constant: Tensor
    prevalence: Tensor
    spread: Tensor

    def __init__(
        self,
        backbone: Any,
        task: Task,
        share: FloatArray,
        standard: tuple[Tensor, Tensor],
        balanced: bool = True,
        statistics: str = "mean",
        spread: FloatArray | None = None,
        loss: str = "",
    ) -> None:
        """backbone: a `Trainable`. share, spread: of the training clips, as `labels.middle_of` gives them. standard:
        centre and scale of what enters the head. balanced: weigh the loss by the labels' shares. statistics: what
        represents a clip. loss: of numbers, as `Recipe.loss`.

        The head is drawn from torch's generator.
        """
        super().__init__()
        self.backbone, self.multilabel, self.statistics, self.taught_by = backbone, task.multilabel, statistics, loss
        # A binary task has two logits here, and a class weight for each.
        self.link: Link = "softmax" if task.kind == "binary" else kinds.of(task).link
        share = share.astype(np.float32).astype(np.float64)  # as it is kept: a model that is read back has its weights
        self.several = task.multilabel or task.regression
        self.dense = nn.Linear(len(standard[0]), (len(task.labels) if self.several else 1) * backbone.width)
        self.out = nn.Linear(backbone.width, 1 if task.ordinal else len(task.labels))
        self.register_buffer("centre", standard[0])
        self.register_buffer("scale", standard[1])
        constant = (share == 0) | (share == 1) if task.multilabel else share == 0
        if task.regression:
            assert spread is not None
            constant = spread == 0
            self.register_buffer("spread", torch.from_numpy(spread.astype(np.float32)))
        if task.ordinal:
            below = np.cumsum(share[~constant])[:-1]
            self.out.bias = nn.Parameter(torch.from_numpy(np.log((1 - below) / below)).float())
        self.register_buffer("prevalence", torch.from_numpy(share.astype(np.float32)))
        weights = _weights(share, constant, task.multilabel) if balanced else np.ones(len(share), np.float32)
        for name, value in (("weights", weights), ("constant", constant)):
            self.register_buffer(name, torch.from_numpy(value), persistent=False)

    @property
    def outputs(self) -> int:
        """How many logits a clip has."""
        return len(self.out.bias)

    def forward(
        self, signal: Tensor, input_lengths: Tensor, owner: Tensor, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """A batch of `Trainable.collate`; labels: their truth, as `Predictions` has it.

        Returns logits (clips, outputs) float32 and, with labels, the mean loss over the clips.
        """
        values, lengths = last_states(self.backbone, signal=signal, input_lengths=input_lengths, owner=owner)
        logits = self.head(pool(values, lengths, owner, self.statistics))
        return {"logits": logits} if labels is None else {"loss": self.loss(logits, labels), "logits": logits}

    def head(self, pooled: Tensor) -> Tensor:
        """Logits (clips, outputs) float32 of what `pool` gives: of levels the log-odds of being above each that occurs
        but the last, of numbers how many deviations from their mean."""
        inner = torch.tanh(self.dense((pooled - self.centre) / self.scale))
        if self.several or self.link == "cumulative":
            heads = inner.float().view(len(pooled), *self.out.weight.shape)  # (clips, n_labels or 1, width)
            scores: Tensor = (heads * self.out.weight).sum(dim=2) + self.out.bias
            return scores
        logits: Tensor = self.out(inner)
        return logits.float()

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """If balanced, every class, or each label's two sides, count the same over the training clips.

        A number that a clip lacks, of several, does not count.
        """
        if self.link in ("identity", "cumulative"):
            columns, weights = self._scaled(labels)
            return loss_of(logits[:, ~self.constant if self.several else slice(None)].T[None], columns, weights,
                           self.link, self.taught_by)[0]  # fmt: skip
        if self.multilabel:
            kept = ~self.constant
            each = F.binary_cross_entropy_with_logits(
                logits[:, kept], labels[:, kept].float(), pos_weight=self.weights[kept], reduction="none"
            )
            return each.mean()
        logits = logits.masked_fill(self.constant, float("-inf"))
        # Not divided by the batch's weights: then the parts of an accumulated batch add up to the batch.
        return (F.cross_entropy(logits, labels, reduction="none") * self.weights[labels]).mean()

    def _scaled(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """A scale's truth as `links.loss_of` takes it: columns and weights, (n_fitted, clips) and (1, ..., clips)."""
        kept = ~self.constant
        if self.link == "cumulative":
            columns = F.one_hot(labels, len(kept))[:, kept].T.float()
            return columns, torch.ones(1, 1, len(labels), device=labels.device)
        columns = ((labels - self.prevalence) / self.spread)[:, kept].T.float()
        return columns.nan_to_num(), (~columns.isnan())[None].float()

    def probability(self, logits: Tensor) -> FloatArray:
        """(clips, n_labels) float64, as if every training clip had counted the same; of a regression the numbers.

        A loss with class weights w learns odds that are w times too high (of a class against the others of a softmax,
        of a label's two sides); so log w comes off the logits again, which is exact.
        """
        constant = self.constant.cpu()
        if self.link == "identity":
            numbers: FloatArray = (self.prevalence.cpu() + self.spread.cpu().double() * logits.cpu()).numpy()
            return numbers
        if self.link == "cumulative":
            levels = np.zeros((len(logits), len(constant)))
            levels[:, ~constant.numpy()] = given_out(logits.cpu(), self.link, 1).numpy()
            return levels
        exact = logits.cpu().double() - self.weights.cpu().double().log()
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
        names = {name for name, weight in self.named_parameters() if weight.requires_grad}
        names |= {"centre", "scale", "prevalence", "spread"}
        whole: Mapping[str, Any] = super().state_dict(*arguments, **options)
        return {name: value for name, value in whole.items() if name in names}


def _weights(share: FloatArray, constant: npt.NDArray[np.bool_], multilabel: bool) -> npt.NDArray[np.float32]:
    """(n_labels,): of each class, averaging 1 over the training clips; or of each label's positives."""
    safe = np.where(constant, 0.5, share)
    weights = (1 - safe) / safe if multilabel else 1 / (safe * (~constant).sum())
    return weights.astype(np.float32)
