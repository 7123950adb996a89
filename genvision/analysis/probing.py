"""What simple readers find in features: ridge regression, a linear classifier made of it, and nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

STRENGTH = 1e-2  # of the penalty, where every column of the features has variance 1
NEIGHBOURS = 10
TINY = 1e-6  # a column that varies less is none


def standardiser(x: Tensor) -> Callable[[Tensor], Tensor]:
    """What gives each column of (N,D) the mean 0 and the variance 1, and does the same to other rows."""
    mean, deviation = x.double().mean(0), x.double().std(0)
    scale = torch.where(deviation > TINY, 1 / deviation.clamp(min=TINY), 0.0)
    return lambda rows: (rows.double() - mean) * scale


def ridge(x: Tensor, y: Tensor, strength: float = STRENGTH) -> Callable[[Tensor], Tensor]:
    """The linear map (N,D) -> (N,K) with the least mean squared error plus `strength` times its squared weights."""
    standard = standardiser(x)
    columns, middle = standard(x), y.double().mean(0)
    penalty = strength * len(x) * torch.eye(x.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(columns.mT @ columns + penalty, columns.mT @ (y.double() - middle))
    return lambda rows: standard(rows) @ weights + middle


def determination(found: Tensor, truth: Tensor) -> float:
    """R^2 of predictions (N,K), the mean over columns: 1 for the truth itself, 0 for its mean."""
    truth = truth.double()
    rest, whole = (found - truth).square().sum(0), (truth - truth.mean(0)).square().sum(0)
    return (1 - rest / whole).mean().item()


def linear_accuracy(x: Tensor, labels: Tensor, x_test: Tensor, labels_test: Tensor) -> float:
    """The share of test images whose class the ridge regression of all classes' indicators finds."""
    scores = ridge(x, F.one_hot(labels).double())(x_test)
    return (scores.argmax(1) == labels_test).double().mean().item()


def neighbour_accuracy(x: Tensor, labels: Tensor, x_test: Tensor, labels_test: Tensor, k: int = NEIGHBOURS) -> float:
    """The share of test images whose class most of their k nearest training images have; ties go to the lower class."""
    standard = standardiser(x)
    nearest = torch.cdist(standard(x_test), standard(x)).topk(min(k, len(x)), largest=False).indices
    return (F.one_hot(labels[nearest]).sum(1).argmax(1) == labels_test).double().mean().item()


PROBES = {"linear": linear_accuracy, "nearest neighbours": neighbour_accuracy}
