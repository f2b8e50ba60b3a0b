"""From a model's own numbers to what it gives out, and their loss, by the link of the task's kind
(`result.kinds`)."""

import torch
from torch import Tensor
from torch.nn import functional

from toolkit.core.matmul import sigmoid
from toolkit.result.kinds import Link


def given_out(logits: Tensor, link: Link, dim: int) -> Tensor:
    """Float64 probabilities, or numbers as they are, of the fitted labels along `dim`.

    cumulative: `own` has a column less, the log-odds of more than each level but the last; P(level) is a difference of
    two neighbours. Log-odds that are out of order count as their running minimum: no level has less than 0.
    """
    exact = logits.double()
    if link == "softmax":
        return exact.softmax(dim=dim)
    if link == "sigmoid":
        return sigmoid(exact)
    if link == "identity":
        return exact
    above = sigmoid(exact).cummin(dim=dim).values
    end = torch.ones_like(above.narrow(dim, 0, 1))
    return torch.cat([end, above], dim=dim) - torch.cat([above, 0 * end], dim=dim)


def loss_of(logits: Tensor, columns: Tensor, weights: Tensor, link: Link, loss: str) -> Tensor:
    """Weighted mean loss of each network, (networks,). logits: (networks, n_fitted, n).

    Of levels the sum of the cross entropies of being above each: CORAL, Cao, Mirjalili and Raschka, Pattern Recognition
    Letters, 2020. Of numbers the squared error, or 1 - CCC of the batch, the mean over the targets.
    """
    if link == "identity":
        return (
            _one_minus_ccc(logits, columns, weights)
            if loss == "ccc"
            else ((logits - columns).square().mul(weights).mean(dim=(1, 2)))
        )
    if link == "cumulative":
        columns = 1 - columns.cumsum(dim=0)[:-1]
        return (functional.softplus(logits) - columns * logits).mul(weights).sum(dim=1).mean(dim=1)
    if link == "softmax":
        return -((logits.log_softmax(dim=1) * columns).sum(dim=1, keepdim=True) * weights).mean(dim=(1, 2))
    return (functional.softplus(logits) - columns * logits).mul(weights).mean(dim=(1, 2))


def _one_minus_ccc(given: Tensor, columns: Tensor, weights: Tensor) -> Tensor:
    """1 - the weighted CCC of each target (`result.scale_metrics`), the mean of them, (networks,)."""
    share = weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-12)
    mean, centre = (share * given).sum(dim=2, keepdim=True), (share * columns).sum(dim=2, keepdim=True)
    moved, wanted = given - mean, columns - centre
    covariance = (share * moved * wanted).sum(dim=2)
    spread = (share * (moved.square() + wanted.square())).sum(dim=2) + (mean - centre).square()[..., 0]
    return 1 - (2 * covariance / spread.clamp(min=1e-12)).mean(dim=1)
