"""How alike two sets of features of the same images are: centred kernel alignment.

Kornblith et al. 2019, "Similarity of neural network representations revisited"; HSIC without bias after Song et al.
2012, "Feature selection via dependence maximization", eq. 5, which may be averaged over small batches (Nguyen et al.
2021, "Do wide and deep networks learn the same things?", eq. 3).
"""

from __future__ import annotations

import torch
from torch import Tensor

FEWEST = 4  # images in a batch, for the unbiased estimate


def linear_kernel(x: Tensor) -> Tensor:
    """(N,D) -> (N,N) inner products."""
    return x @ x.mT


def rbf_kernel(x: Tensor, share: float = 1.0) -> Tensor:
    """(N,D) -> (N,N): exp(-d^2 / (2 s^2)), s a share of the median distance."""
    distances = torch.cdist(x, x)
    size = share * distances[~torch.eye(len(x), dtype=torch.bool)].median()
    return torch.exp(-((distances / size) ** 2) / 2)


KERNELS = {"linear": linear_kernel, "rbf": rbf_kernel}


def hsic(kernels: Tensor) -> Tensor:
    """(M,N,N) kernels of M layers on the same N images -> (M,M) unbiased HSIC of every pair, N >= FEWEST."""
    n = kernels.shape[-1]
    k = kernels * (1 - torch.eye(n, dtype=kernels.dtype))
    flat, sums = k.flatten(1), k.sum(-1)  # (M,N*N), (M,N)
    totals = sums.sum(-1)
    crossed = torch.outer(totals, totals) / ((n - 1) * (n - 2)) - 2 / (n - 2) * sums @ sums.mT
    return (flat @ flat.mT + crossed) / (n * (n - 3))


def alignment(hsics: Tensor) -> Tensor:
    """(M,M) HSIC, averaged over any number of batches -> (M,M) alignment: 1 on the diagonal, about 0 for chance."""
    own = hsics.diagonal().clamp(min=0).sqrt()
    return hsics / torch.outer(own, own)
