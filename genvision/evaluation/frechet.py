"""The Fréchet distance between Gaussians fitted to two sets of features, and what each image contributes to it.

Heusel et al. 2017, eq. 6: |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2)), everything in float64. With S = F^T F for both
sets, Tr (S1 S2)^(1/2) is the nuclear norm of F1 F2^T. No more images than features: F are the centred images, and the
norm is that of their cross-Gram matrix, without a covariance whose zero eigenvalues would be noise. Else F is the
Cholesky factor of S; where S is singular it is taken from a QR decomposition, which also stands there.

The large products go through SciPy's BLAS, which knows triangles and is faster in float64 on the processors of some.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.linalg import LinAlgError, cholesky, eigvalsh
from scipy.linalg.blas import dsyrk, dtrmm
from torch import Tensor

NEGLIGIBLE = 1e-10  # singular values below this share of the largest have no direction that could be told from noise


class Gaussian(NamedTuple):
    """The fit to N images: mean (D,), rows (N,D) = (x - mean) / sqrt(N - 1), factor (min(N,D),D); all float64."""

    mean: Tensor
    rows: Tensor
    factor: Tensor

    @property
    def full_rank(self) -> bool:
        """Whether there are more images than features."""
        return len(self.rows) > len(self.mean)


def fit(pool: Tensor) -> Gaussian:
    """The Gaussian of features (N,D), N >= 2."""
    pool = pool.double()
    mean = pool.mean(0)
    rows = (pool - mean) / (len(pool) - 1) ** 0.5
    return Gaussian(mean, rows, rows if len(pool) <= len(mean) else _triangle(rows))


def distance(a: Gaussian, b: Gaussian) -> float:
    """The squared Fréchet distance, at least zero."""
    if a.full_rank and b.full_rank:  # eigenvalues of a symmetric matrix are found faster than singular values
        norm = _norm_of_triangles(a.factor, b.factor)
    else:
        norm = torch.linalg.svdvals(a.factor @ b.factor.T).sum()
    traces = a.factor.square().sum() + b.factor.square().sum()
    return max(0.0, ((a.mean - b.mean).square().sum() + traces - 2 * norm).item())


def _triangle(rows: Tensor) -> Tensor:
    """The upper triangle R (D,D) with R^T R = rows^T rows, of rows (N,D), N > D."""
    gram = rows.numpy().T @ rows.numpy()
    try:
        return torch.from_numpy(cholesky(gram, check_finite=False))
    except LinAlgError:
        return torch.linalg.qr(rows, mode="r").R


def _norm_of_triangles(a: Tensor, b: Tensor) -> Tensor:
    """The nuclear norm of b a^T for upper triangles (D,D): the roots of the eigenvalues of b a^T a b^T, summed.

    A row-major upper triangle is a lower one to Fortran, so that nothing is copied.
    """
    product = dtrmm(1.0, b.numpy().T, a.numpy().T, lower=1, trans_a=1)
    square = dsyrk(1.0, product, lower=1)
    return torch.from_numpy(eigvalsh(square, lower=True, check_finite=False)).clamp(min=0).sqrt().sum()


def influence(a: Gaussian, b: Gaussian) -> tuple[Tensor, Tensor]:
    """The derivative of the distance to the weight of each image, (N,) and (M,): what a bootstrap needs of it.

    Rippl, Munk and Sturm 2016, "Limit laws of the empirical Wasserstein distance: Gaussian distributions": an image x
    of the first set contributes |x - m1|^2 - (x - m1)^T T (x - m1) + 2 (m1 - m2)^T (x - m1), T the optimal transport
    map from the first Gaussian to the second; likewise for the second set.
    """
    u, values, v = torch.linalg.svd(a.factor @ b.factor.T, full_matrices=False)
    kept = values > NEGLIGIBLE * values[0]
    roots = values[kept].sqrt()
    to_b, to_a = b.factor.T @ v[kept].T / roots, a.factor.T @ u[:, kept] / roots  # T = to_b @ to_b.T, (D,D)
    return _contribution(a, b, to_b), _contribution(b, a, to_a)


def _contribution(a: Gaussian, b: Gaussian, root: Tensor) -> Tensor:
    n = len(a.rows)
    spread = a.rows.square().sum(1) - (a.rows @ root).square().sum(1)
    return n * spread + 2 * (n - 1) ** 0.5 * a.rows @ (a.mean - b.mean)
