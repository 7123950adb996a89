"""What an image is said to be: which class it belongs to, how noisy it is."""

from __future__ import annotations

from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor, nn


class Conditioner(nn.Module):
    """Class label and, for denoisers, time -> one vector (B,D).

    classes  number of labels K; the label K, like y=None, means "no label" and has a learned vector of its own
    time     whether `t` (B,) float, as the path scales it (0..1000), is embedded too (sinusoids, then an MLP)
    """

    def __init__(self, width: int, classes: int, *, time: bool = False) -> None:
        super().__init__()
        self.label = nn.Embedding(classes + 1, width)
        if time:  # beside the time, whose embedding starts small (Peebles & Xie 2023); alone it must be heard
            nn.init.normal_(self.label.weight, std=0.02)
        self.sinusoids = Timesteps(width, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time = TimestepEmbedding(width, width) if time else None

    def forward(self, n: int, y: Tensor | None = None, t: Tensor | None = None) -> Tensor:
        table = self.label.weight
        cond = self.label(y) if y is not None else table[-1].expand(n, -1)
        if self.time is not None:
            cond = cond + self.time(self.sinusoids(t).to(table.dtype))
        return cond
