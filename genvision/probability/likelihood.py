"""Likelihoods of integer pixels: features (B,D,H,W) -> a distribution over (B,C,H,W), channel after channel.

The channels of a pixel are not independent: p(x_0, .., x_{C-1} | h) = prod_c p(x_c | h, x_{<c}). Each head turns the
features, plus an embedding of the channels before, into the parameters of one channel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from einops import rearrange, reduce
from torch import Tensor, nn
from torch.nn import functional as F

from genvision.errors import ConfigError
from genvision.probability.shaping import UNSHAPED, Shaping
from genvision.probability.units import pixel_dtype, to_unit
from genvision.spec import ImageSpec


class LikelihoodHead(nn.Module):
    """Base of the heads: conditions channel c on the channels before it; subclasses name the distribution.

    n_params  parameters per channel and pixel (P)
    """

    def __init__(self, width: int, spec: ImageSpec, n_params: int) -> None:
        super().__init__()
        self.spec = spec
        self.before = nn.ModuleList(nn.Embedding(spec.levels, width) for _ in range(spec.channels - 1))
        self.project = nn.ModuleList(nn.Linear(width, n_params) for _ in range(spec.channels))
        for table in self.before:
            nn.init.normal_(table.weight, std=0.02)

    def params(self, h: Tensor, x: Tensor) -> Tensor:
        """h (B,D,H,W), x (B,C,H,W) integers -> (B,C,H,W,P); block c depends on the channels x_{<c} only.

        At least float32, whatever precision h comes in.
        """
        return torch.stack([params for params, _ in self._channels(h, lambda _, c: x[:, c].long())], 1)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """(B,) nats of the whole image."""
        log_p = self.log_pmf_at(params, x.long())
        return reduce(log_p, "b c h w -> b", "sum")

    def log_pmf_at(self, params: Tensor, x: Tensor) -> Tensor:
        """params (...,P), integers x (...) -> log-probability of each value (...)."""
        raise NotImplementedError

    def log_pmf(self, params: Tensor) -> Tensor:
        """params (...,P) -> (...,V) log-probability of each level."""
        raise NotImplementedError

    def cdf(self, params: Tensor) -> Tensor:
        """params (...,P) -> (...,V) probability of each level or a lower one; the last entry is 1."""
        raise NotImplementedError

    def sample(self, h: Tensor, u: Tensor, shaping: Shaping = UNSHAPED) -> Tensor:
        """h (B,D,H,W), u (B,C,H,W) uniforms in [0,1) -> (B,C,H,W) integers, by inverting the CDF of each channel.

        With `shaping.guidance`, h is (2B,D,H,W): the features with labels, then those of the same images without.
        """

        def choose(params: Tensor, c: int) -> Tensor:
            cdf = self.cdf(params) if shaping == UNSHAPED else cumulative(shaping(self.log_pmf(params)))
            x = (cdf <= u[:, c, ..., None]).sum(-1)
            return x.repeat(len(h) // len(u), 1, 1)

        return self._channel_by_channel(h, choose)[: len(u)]

    def mean(self, h: Tensor) -> Tensor:
        """h (B,D,H,W) -> (B,C,H,W) integers: the expected value of each channel, given those of the channels before.

        E[x] is the sum of P(x > v) over all levels v but the last.
        """
        return self._channel_by_channel(h, lambda params, c: (1 - self.cdf(params)[..., :-1]).sum(-1).round())

    def _channel_by_channel(self, h: Tensor, choose: Callable[[Tensor, int], Tensor]) -> Tensor:
        def value(params: Tensor, c: int) -> Tensor:
            return choose(params, c).clamp(0, self.spec.levels - 1).long()

        return torch.stack([x for _, x in self._channels(h, value)], 1).to(pixel_dtype(self.spec.levels))

    def _channels(self, h: Tensor, value: Callable[[Tensor, int], Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Parameters (B,H,W,P) of channel 0, 1, .. and its values (B,H,W) int64, which the next ones are told."""
        dtype = torch.promote_types(h.dtype, torch.float32)
        h = rearrange(h, "b d h w -> b h w d")
        for c, project in enumerate(self.project):
            params = project(F.silu(h)).to(dtype)
            x = value(params, c)
            yield params, x
            if c < len(self.before):
                h = h + self.before[c](x)


def cumulative(logits: Tensor) -> Tensor:
    """Logits (...,V) -> the CDF (...,V) of their softmax."""
    below = logits.softmax(-1).cumsum(-1)
    return below / below[..., -1:]  # a last entry below 1 would let `sample` return a level of no probability


class Categorical(LikelihoodHead):
    """One logit per level: no assumption at all (van den Oord et al. 2016, PixelRNN, section 3.4)."""

    def __init__(self, width: int, spec: ImageSpec, mixtures: int = 0) -> None:
        super().__init__(width, spec, spec.levels)

    def log_pmf_at(self, params: Tensor, x: Tensor) -> Tensor:
        return -F.cross_entropy(params.flatten(0, -2), x.flatten(), reduction="none").view(x.shape)

    def log_pmf(self, params: Tensor) -> Tensor:
        return params.log_softmax(-1)

    def cdf(self, params: Tensor) -> Tensor:
        return cumulative(params)


class Logistics(LikelihoodHead):
    """Base of the logistics, integrated over each level's bin; the two end levels take the tails."""

    def log_pmf_at(self, params: Tensor, x: Tensor) -> Tensor:
        levels = self.spec.levels
        log_weights, means, log_scales = self.components(params)
        centre, half = to_unit(x, levels, params.dtype)[..., None], 1 / (levels - 1)
        upper = (centre + half - means) * torch.exp(-log_scales)
        lower = (centre - half - means) * torch.exp(-log_scales)
        # sigmoid(upper) - sigmoid(lower) = sigmoid(upper) sigmoid(-lower) (1 - exp(lower - upper)): no cancellation
        width = 2 * half * torch.exp(-log_scales)
        inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-width))
        first, last = (x == 0)[..., None], (x == levels - 1)[..., None]
        log_mass = torch.where(first, F.logsigmoid(upper), torch.where(last, F.logsigmoid(-lower), inside))
        return torch.logsumexp(log_weights + log_mass, -1)

    def log_pmf(self, params: Tensor) -> Tensor:
        return self.log_pmf_at(params[..., None, :], torch.arange(self.spec.levels, device=params.device))

    def cdf(self, params: Tensor) -> Tensor:
        levels = self.spec.levels
        edges = to_unit(torch.arange(levels, device=params.device), levels, params.dtype) + 1 / (levels - 1)
        below = params.new_zeros(*params.shape[:-1], levels)
        for component in torch.stack(self.components(params)).unbind(-1):  # at once, (...,V,K) would be gigabytes
            log_weight, mean, log_scale = component[..., None]
            below += log_weight.exp() * torch.sigmoid((edges - mean) * torch.exp(-log_scale))
        below[..., -1] = 1
        return below

    def components(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(...,P) -> log weights, means, log scales (...,K), the last two in units of the [-1, 1] image."""
        raise NotImplementedError


class LogisticMixture(Logistics):
    """A mixture of logistics at each pixel (Salimans et al. 2017, PixelCNN++, section 2.1).

    P = 3 * mixtures: logits, means and log-scales.
    """

    def __init__(self, width: int, spec: ImageSpec, mixtures: int) -> None:
        super().__init__(width, spec, 3 * mixtures)
        for project in self.project:  # spread the means over [-1, 1] so that no component starts idle
            with torch.no_grad():
                project.bias.view(3, mixtures)[1] = torch.linspace(-1, 1, mixtures + 2)[1:-1]
                project.bias.view(3, mixtures)[2] = -2.0

    def components(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, means, log_scales = rearrange(params, "... (three k) -> three ... k", three=3)
        return logits.log_softmax(-1), means, clamp_scales(log_scales)


class Logistic(Logistics):
    """One logistic a pixel, all of one scale: P = 1, the mean (a calibrated decoder, Rybkin et al. 2021, section 3.1).

    scale  in units of the [-1, 1] image; None: a single learned parameter
    """

    def __init__(self, width: int, spec: ImageSpec, mixtures: int = 1, scale: float | None = None) -> None:
        super().__init__(width, spec, 1)
        log_scale = torch.tensor(-2.0 if scale is None else math.log(scale))
        if scale is None:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale, persistent=False)

    def components(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return torch.zeros_like(params), params, clamp_scales(self.log_scale).to(params.dtype).expand_as(params)


def clamp_scales(log_scales: Tensor) -> Tensor:
    """A scale under e^-7 would fit inside one bin of 256; one over e^7 is flat as it is."""
    return log_scales.clamp(-7, 7)


LIKELIHOODS = {"categorical": Categorical, "logistic_mixture": LogisticMixture, "logistic": Logistic}


def make_likelihood(options: dict, width: int, spec: ImageSpec) -> LikelihoodHead:
    """The head {"name": ..., "mixtures": ..} on features of the given width; "scale" is of the logistic alone."""
    options = dict(options)
    name = options.pop("name")
    if name not in LIKELIHOODS:
        raise ConfigError(f"family.likelihood={name} is unknown; likelihoods are {', '.join(LIKELIHOODS)}")
    if not spec.ordinal and name != "categorical":
        raise ConfigError(f"family.likelihood={name} measures amounts; tokens need categorical")
    return LIKELIHOODS[name](width, spec, **options)
