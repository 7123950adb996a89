"""Public implementations beside which our cells are timed, at the depth, width, heads and tokens of the cell.

A peer is a module whose call on a batch gives a scalar loss of its own kind; every one stands in float32 as it ships.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from denoising_diffusion_pytorch import Unet
from diffusers import DiTTransformer2DModel, UNet2DModel
from pythae.models import VAE, VAEConfig
from pythae.models.nn.benchmarks.mnist import Decoder_Conv_AE_MNIST, Encoder_Conv_VAE_MNIST
from timm.models.mlp_mixer import MixerBlock
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from genvision.layers.resample import PatchHead, PatchStem
from genvision.spec import ImageSpec

SPEC = ImageSpec(1, 28, 28, classes=10)
TOKENS = SPEC.height * SPEC.width


class Denoising(nn.Module):
    """Mean squared error of a denoiser called as `call(net, x, t, y)`."""

    def __init__(self, net: nn.Module, call: Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.call = net, call

    def forward(self, images: Tensor, y: Tensor) -> Tensor:
        x, noise, t = images / 127.5 - 1, torch.randn(images.shape), torch.rand(len(images), 1, 1, 1)
        return F.mse_loss(self.call(self.net, (1 - t) * x + t * noise, 1000 * t.flatten(), y), noise - x)


class Tokens(nn.Module):
    """Patches through a stack of another library's blocks and back: a Mixer's or a transformer's trunk, no label."""

    def __init__(self, blocks: list[nn.Module], width: int, c_in: int, c_out: int, p_in: int, p_out: int) -> None:
        super().__init__()
        self.stem, self.blocks = PatchStem(c_in, width, p_in), nn.Sequential(*blocks)
        self.norm, self.head = nn.LayerNorm(width), PatchHead(width, c_out, p_out)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        return self.head(self.norm(self.blocks(h.flatten(1, 2))).unflatten(1, h.shape[1:3]))


class Autoencoding(nn.Module):
    """A VAE around two stacks of tokens with a 256-way softmax for every pixel."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder, self.logits = encoder, decoder, nn.Linear(32, 256)

    def forward(self, images: Tensor, y: Tensor) -> Tensor:
        mean, log_var = self.encoder(images / 127.5 - 1).chunk(2, 1)
        features = self.decoder(mean + torch.randn_like(mean) * (0.5 * log_var).exp())
        logits = self.logits(features.movedim(1, -1))
        kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum() / images.numel()
        return F.cross_entropy(logits.flatten(0, -2), images[:, 0].long().flatten()) + kl


class NextToken(nn.Module):
    """GPT-2 over the pixels in raster order."""

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        config = GPT2Config(vocab_size=256, n_positions=TOKENS, n_embd=width, n_layer=depth, n_head=heads)
        self.net = GPT2LMHeadModel(config)

    def forward(self, images: Tensor, y: Tensor) -> Tensor:
        ids = images.flatten(1).long()
        return self.net(ids, labels=ids).loss


class PythaeVAE(nn.Module):
    """pythae's convolutional VAE for MNIST, Gaussian likelihood."""

    def __init__(self) -> None:
        super().__init__()
        config = VAEConfig(input_dim=SPEC.shape, latent_dim=16)
        self.net = VAE(config, Encoder_Conv_VAE_MNIST(config), Decoder_Conv_AE_MNIST(config))

    def forward(self, images: Tensor, y: Tensor) -> Tensor:
        return self.net({"data": images / 255}).loss


def diffusers_unet() -> nn.Module:
    net = UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(24, 48, 96),
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        attention_head_dim=24,
        norm_num_groups=8,
        num_class_embeds=SPEC.classes,
    )
    return Denoising(net, lambda net, x, t, y: net(x, t, class_labels=y).sample)


def ddpm_unet() -> nn.Module:
    net = Unet(22, dim_mults=(1, 2, 4), channels=1, full_attn=(False, False, True))
    return Denoising(net, lambda net, x, t, y: net(x, t))


def dit(width: int, depth: int, heads: int) -> nn.Module:
    net = DiTTransformer2DModel(
        num_attention_heads=heads,
        attention_head_dim=width // heads,
        in_channels=1,
        out_channels=1,
        num_layers=depth,
        patch_size=2,
        sample_size=28,
        num_embeds_ada_norm=SPEC.classes,
    )
    return Denoising(net, lambda net, x, t, y: net(x, t, class_labels=y).sample)


def mixer_denoiser(width: int, depth: int) -> nn.Module:
    net = Tokens(mixer_blocks(width, depth, TOKENS // 4), width, 1, 1, 2, 2)
    return Denoising(net, lambda net, x, t, y: net(x))


def mixer_predictor(width: int, depth: int) -> nn.Module:
    """Dense token mixing costs what our triangular weights cost; timm has no causal Mixer."""
    return Predicting(Tokens(mixer_blocks(width, depth, TOKENS), width, 1, 256, 1, 1))


class Predicting(nn.Module):
    """Cross entropy of 256 logits a pixel."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(self.net(images / 127.5 - 1), images[:, 0].long())


def mixer_blocks(width: int, depth: int, tokens: int) -> list[nn.Module]:
    return [MixerBlock(width, tokens, mlp_ratio=(tokens / width, 4.0)) for _ in range(depth)]


def mixer_vae(width: int, depth: int) -> nn.Module:
    return _vae(width, lambda: mixer_blocks(width, depth, TOKENS // 16))


def vit_vae(width: int, depth: int, heads: int) -> nn.Module:
    return _vae(width, lambda: [Block(width, heads, qkv_bias=True) for _ in range(depth)])


def _vae(width: int, blocks: Callable[[], list[nn.Module]]) -> nn.Module:
    return Autoencoding(Tokens(blocks(), width, 1, 16, 4, 1), Tokens(blocks(), width, 8, 32, 1, 4))
