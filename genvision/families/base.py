"""What every family offers: a loss per example, samples as uint8, and a log-likelihood where it has one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genvision.config.schema import Config
from genvision.errors import ConfigError, NonFiniteError
from genvision.families.codec import Codec, PixelCodec
from genvision.probability.randomness import Stream, uniform
from genvision.probability.units import nats_to_bits_per_dim
from genvision.spec import Batch, Draw, ImageSpec

Likelihood = Literal["exact", "bound", "estimate"]


def chunks(n: int, size: int) -> Iterator[Tensor]:
    """Image indices 0..n-1 in fixed global chunks: every chunk has `size` slots, so the last one may pass n.

    Rows of a batch are bit-equal only at equal batch size, so a chunk is never cut before it is drawn.
    """
    return (torch.arange(start, start + size) for start in range(0, n, size))


class Family(nn.Module):
    """An objective and a sampler around built networks. uint8 in, uint8 out; normalisation happens inside.

    spec      geometry of the images
    networks  {role: network} for each of `roles`, built on `codec.spec`
    options   the family's own configuration
    codec     what the images become before the networks see them; None: they stay pixels
    """

    roles: tuple[str, ...] = ()
    likelihood: Likelihood | None = None  # what `bits_per_dim` is; None: it has none
    likelihood_options: Mapping[str, int | str] = {}  # the further arguments of `log_prob` and their defaults
    sample_options: tuple[str, ...] = ()  # the keys of `config.sample` that its sampler takes
    sample_models: tuple[str, ...] = ()  # its arguments beside these that are families themselves
    codes: str | None = None  # the kind of codes it can generate: "values" or "tokens"; None: pixels alone
    headline: tuple[str, ...] = ()  # the diagnostics that a run's last lines repeat
    caveat: str | None = None  # what must be known of its samples before they are judged

    def __init__(
        self, spec: ImageSpec, networks: Mapping[str, nn.Module], options: Any, codec: Codec | None = None
    ) -> None:
        super().__init__()
        self.spec, self.options = spec, options
        self.codec = codec or PixelCodec(spec)
        if not self.codec.lossless:
            self.likelihood = None  # bits/dim of codes are not those of pixels
        for role in self.roles:
            self.add_module(role, networks[role])

    @classmethod
    def variant(cls, options: Any) -> type[Family]:
        """The class of these options, where a family has several."""
        return cls

    @staticmethod
    def network_options(config: Config) -> Mapping[str, dict]:
        """{role: what its network's constructor takes beside spec and trunk}."""
        raise NotImplementedError

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights: float32, or float64 in tests that need exactness."""
        return next(self.parameters()).dtype

    def loss(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """Per-example terms, every value (B,), unreduced; "loss" is what training minimises."""
        raise NotImplementedError

    def forward(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """`loss`, under the name that DistributedDataParallel's hooks see."""
        return self.loss(batch, draw)

    def after_step(self, gather: Callable[[Tensor], Tensor]) -> None:
        """Move what no gradient moves, such as a codebook, once the optimizer has made its step.

        gather  stacks a tensor of every process: (...) -> (P,...)
        """

    def log_prob(self, batch: Batch, draw: Draw, **options: int | str) -> Tensor:
        """(B,) nats; a lower bound where `likelihood` is "bound"."""
        raise NotImplementedError

    def bits_per_dim(self, batch: Batch, draw: Draw, **options: int | str) -> Tensor:
        """(B,) bits per dimension of the 8-bit images (an upper bound where `likelihood` is "bound")."""
        return nats_to_bits_per_dim(-self.log_prob(batch, draw, **options), self.spec)

    def reconstruct(self, batch: Batch, draw: Draw) -> Tensor:
        """The images (B,C,H,W) uint8 that come back from their latents, here those of the codec.

        Raises ConfigError where there are none.
        """
        if self.codec.lossless:
            raise ConfigError(f"family={self.options.name} has no latents to reconstruct images from; name a vae")
        return self.codec.reconstruct(batch, draw)

    def diagnostics(self, batches: Iterable[tuple[Batch, Draw]]) -> dict[str, float]:
        """What else there is to say about these images, by name; evaluated where the loss is validated."""
        return {}

    def sample(self, n: int, *, labels: Tensor | None = None, seed: int = 0, chunk_size: int = 64, **options) -> Tensor:
        """n images (n,C,H,W) uint8. Image k depends on (seed, k, its label, chunk_size, options) alone.

        labels   (n,) int64 below classes; None: k mod classes. ConfigError where the family has no such label
        options  of the family's own sampler: the keys named in `sample_options`
        """
        labels = self.check_labels(labels, n)
        drawn = [self.sample_chunk(slots, labels, seed, **options) for slots in chunks(n, chunk_size)]
        return torch.cat(drawn)[:n]

    def check_labels(self, labels: Tensor | None, n: int) -> Tensor | None:
        """(n,) labels of n images: the given ones, or k mod classes; None where the family is unconditional."""
        if not self.spec.classes:
            if labels is not None:
                raise ConfigError("labels were given, but the model was trained without; leave them out")
            return None
        if labels is None:
            return torch.arange(n) % self.spec.classes
        if len(labels) != n:
            raise ConfigError(f"{len(labels)} labels were given for {n} images; give one to each")
        if unknown := [label for label in labels.tolist() if not 0 <= label < self.spec.classes]:
            raise ConfigError(f"label {unknown[0]}: must be from 0 to {self.spec.classes - 1}")
        return labels

    def check_options(self, names: Iterable[str]) -> None:
        """ConfigError for the name of an option that means nothing to the family's sampler."""
        if foreign := sorted({*names} - {*self.sample_options, *self.sample_models}):
            raise ConfigError(f"{foreign[0]} means nothing to family={self.options.name}; leave it out")

    @torch.no_grad()
    def sample_chunk(self, slots: Tensor, labels: Tensor | None, seed: int, **options) -> Tensor:
        """The images with the global indices `slots`, in eval mode and in the model's own precision.

        slots   (B,) int64 indices; those past the end of `labels` are padding and get its last entry
        labels  (n,) int64 of all images, as `check_labels` returns them; None where the family is unconditional
        Raises NonFiniteError instead of turning a NaN into a black pixel, ConfigError for an option of other families.
        """
        self.check_options(options)
        device = next(self.parameters()).device
        y = None if labels is None else labels[slots.clamp(max=len(labels) - 1)].to(device)
        was_training = self.training
        self.eval()
        try:
            return self._sample(Draw(seed, 0, slots.to(device)), y, **options).cpu()
        finally:
            self.train(was_training)

    def _sample(self, draw: Draw, y: Tensor | None, **options) -> Tensor:
        """The images (B,C,H,W) uint8 of `draw.slots`; y (B,) or None."""
        raise NotImplementedError

    def sampling_precision(self, asked: str) -> str:
        """The precision in which the networks really draw, where `asked` ("no", "bf16", "fp16") was asked for."""
        return asked

    def network_evaluations(self, **options) -> int:
        """How many times a network runs for one image of `sample` with these options."""
        raise NotImplementedError


def drop_labels(labels: Tensor | None, classes: int, p_drop: float, draw: Draw) -> Tensor | None:
    """Labels (B,) with a share p_drop replaced by the label `classes`, "no label"; drawn once per example.

    Ho, Salimans (2022), algorithm 1: of training alone.
    """
    if labels is None or not p_drop:
        return labels
    return torch.where(uniform(draw, Stream.LABELS) < p_drop, classes, labels)


def require_finite(x: Tensor, what: str) -> Tensor:
    """x itself, or NonFiniteError naming what went wrong."""
    if not torch.isfinite(x).all():
        raise NonFiniteError(f"{what} is not finite: the weights have diverged; train again with a lower learning rate")
    return x
