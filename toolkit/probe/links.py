"""From a model's own numbers to what it gives out, by the link of the task's kind (`result.kinds`)."""

import torch
from torch import Tensor

from toolkit.core.matmul import sigmoid
from toolkit.result.kinds import Link


def given_out(own: Tensor, link: Link, dim: int) -> Tensor:
    """Float64 probabilities, or numbers as they are, of the fitted labels along `dim`.

    cumulative: `own` has a column less, the log-odds of more than each level but the last; P(level) is a difference of
    two neighbours. Log-odds that are out of order count as their running minimum: no level has less than 0.
    """
    exact = own.double()
    if link == "softmax":
        return exact.softmax(dim=dim)
    if link == "sigmoid":
        return sigmoid(exact)
    if link == "identity":
        return exact
    above = sigmoid(exact).cummin(dim=dim).values
    end = torch.ones_like(above.narrow(dim, 0, 1))
    return torch.cat([end, above], dim=dim) - torch.cat([above, 0 * end], dim=dim)
