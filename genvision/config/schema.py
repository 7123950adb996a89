"""The configuration as frozen dataclasses: types, units in the names, ranges. Values live in `configs/*.yaml`.

No torch import here or anywhere under `genvision.config`: a typo must answer at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from omegaconf import MISSING

Role = Literal["encoder", "decoder", "denoiser", "predictor"]


@dataclass(frozen=True)
class DataConfig:
    name: str = MISSING  # a named set, or "folder" with `path`
    path: str | None = None  # folder: class subfolders as labels, or images directly below; stream: a name, path or URL
    root: str | None = None  # where torchvision's sets lie; None: $GENVISION_DATA, then Debian's folder, then ~/.cache
    download: bool = MISSING
    height: int | None = None  # None: the set's own size (folder: required)
    width: int | None = None
    channels: int | None = None
    labels: bool = MISSING  # False makes the family unconditional
    flip: bool = MISSING  # random horizontal flips in training
    crop_padding: int = MISSING  # random crops after reflection padding of so many pixels
    validation_fraction: float = MISSING  # of the training split, held out by a fixed permutation
    fraction: float = MISSING  # of the other training images, the first of the same permutation: what is trained on
    max_bad_fraction: float = MISSING  # of files, in a stream of each block, that may be unusable and are left out
    classes: int | None = None  # of a stream, like all that follow: labels lie in [0, classes)
    image_column: str | None = None  # None: the first column of images
    label_column: str | None = None  # None: the first column of class labels, or label, cls
    lanes: int | None = None  # sequences of shards that are read side by side; their number fixes the order
    shuffle_buffer: int | None = None  # images that are mixed at a time, over all lanes
    resident_images: int | None = None  # of each split, for what needs images in memory: scores, codecs


@dataclass(frozen=True)
class VAEConfig:
    name: Literal["vae"] = "vae"
    latent: Literal["gaussian", "fsq", "vq"] = MISSING
    latent_channels: int = MISSING
    top_channels: int = MISSING  # of the latents from which the prior of the grid is told; 0: a standard normal prior
    top_downsample: int | None = None  # cells of the grid per cell above and side; None: one vector above it all
    downsample: int = MISSING  # pixels per latent cell and side
    likelihood: Literal["categorical", "logistic_mixture", "logistic"] = MISSING
    mixtures: int = MISSING  # components of the logistic mixture
    output_scale: float | None = MISSING  # of `logistic`, in units of the [-1, 1] image; None: learned
    beta: float = MISSING  # weight of the KL term
    beta_warmup_steps: int = MISSING
    free_bits: float = MISSING  # of each latent channel and image that the KL term leaves alone
    fsq_levels: tuple[int, ...] = MISSING  # of each channel of a finite scalar quantiser, in place of latent_channels
    codebook_size: int = MISSING  # of a vector quantiser
    commitment: float = MISSING  # weight of the distance between the encoder's output and the codes, vq
    pixels: Literal["mean", "sample"] = MISSING  # what a generated image shows: the decoder's mean or a draw


@dataclass(frozen=True)
class AutoregressiveConfig:
    name: Literal["autoregressive"] = "autoregressive"
    likelihood: Literal["categorical", "logistic_mixture"] = MISSING
    mixtures: int = MISSING
    label_dropout: float = MISSING
    order: Literal["raster", "random"] = MISSING  # of the pixels; random: one fixed permutation, the same in every run


@dataclass(frozen=True)
class DiffusionConfig:
    name: Literal["diffusion"] = "diffusion"
    path: Literal["flow", "cosine", "linear", "edm"] = MISSING
    prediction: Literal["velocity", "epsilon", "v", "x0", "preconditioned"] = MISSING
    times: Literal["logit_normal", "uniform", "log_normal"] = MISSING
    log_normal_mean: float = MISSING  # of the logarithm of the noise level, for times=log_normal
    log_normal_std: float = MISSING
    weight: Literal["none", "min_snr", "edm"] = MISSING
    min_snr_gamma: float = MISSING  # where weight=min_snr cuts the signal-to-noise ratio
    sigma_data: float = MISSING  # standard deviation of the data, for path=edm
    label_dropout: float = MISSING


@dataclass(frozen=True)
class CodecConfig:
    run: str | None = MISSING  # run, exported model or Hub id of a vae whose codes are generated; None: pixels


FAMILY_CONFIGS = {"vae": VAEConfig, "autoregressive": AutoregressiveConfig, "diffusion": DiffusionConfig}


@dataclass(frozen=True)
class NetworkConfig:
    """One role of the family: which backbone serves it, the stem's patch, and the trunk's name and options."""

    backbone: str = MISSING
    patch: int = 1  # pixels per token and side at the stem; encoders and decoders take family.downsample instead
    trunk: dict[str, Any] = field(default_factory=dict)  # {"name": ..., options of that trunk}


@dataclass(frozen=True)
class TrainConfig:
    steps: int | None = None  # exactly one of steps, images, minutes
    images: int | None = None
    minutes: float | None = None  # frozen into steps once the first ones are measured
    batch_size: int = MISSING  # examples per optimizer step over all processes
    micro_batch_size: int | None = None  # per process and backward pass; None: no accumulation
    learning_rate: float = MISSING
    warmup_steps: int = MISSING
    schedule: Literal["constant", "cosine", "linear"] = MISSING
    weight_decay: float = MISSING
    betas: tuple[float, float] = MISSING
    clip_norm: float = MISSING  # global norm of the gradient; 0: not clipped
    max_bad_steps: int = MISSING  # in a row, that are passed over where a loss or gradient is not finite
    seed: int = MISSING
    precision: Literal["auto", "no", "bf16", "fp16"] = MISSING
    gradient_checkpointing: bool = MISSING  # keep the inputs of blocks alone and run them again in backward
    compile: bool = MISSING  # torch.compile, block by block
    shard: bool = MISSING  # each process holds a share of weights, gradients and moments (FSDP2), not all of them
    save_every_steps: int = MISSING
    keep_checkpoints: int = MISSING
    validate_every_steps: int = MISSING  # 0: only at the end
    validation_images: int = MISSING
    init_from: str | None = None  # run folder or exported model whose weights to start from


@dataclass(frozen=True)
class LogConfig:
    every_steps: int = MISSING
    grid_every_steps: int = MISSING  # 0: no grids while training
    grid_images: int = MISSING
    tensorboard: bool = MISSING


@dataclass(frozen=True)
class EmaConfig:
    decay: float = MISSING


@dataclass(frozen=True)
class SampleConfig:
    num_images: int = MISSING  # drawn at the end of training
    seed: int = MISSING
    steps: int = MISSING  # solver steps of a diffusion sampler
    scheduler: str = MISSING
    guidance: float = MISSING  # 1: none
    guidance_interval: tuple[float, float] | None = MISSING  # times of the path where it acts; None: everywhere
    temperature: float = MISSING  # of an autoregressive sampler, like the next two; 1: the model's own
    top_k: int = MISSING  # 0: all levels
    top_p: float = MISSING  # 1: all levels
    chunk_size: int = MISSING  # images drawn together; part of the protocol


@dataclass(frozen=True)
class ScoreConfig:
    num_images: int = MISSING  # 0: no score
    reference: str | None = None  # NAME[:split] or folder:PATH; None: the training set's test split
    extractor: str = MISSING
    extractor_weights: str | None = None
    every_steps: int = MISSING  # 0: only at the end
    anchors: bool = MISSING  # what real, blurred and random images would score, too; their features are cached
    memorisation: bool = MISSING  # distances to the nearest training images; their features are cached


@dataclass(frozen=True)
class RunConfig:
    dir: str = MISSING
    name: str | None = None  # None: a numbered default
    threads: int | None = None  # CPU threads per process; None: all cores shared evenly
    timeout_minutes: float = 30.0  # of a process that waits for another: longer than any step, compilation included


@dataclass(frozen=True)
class Config:
    """A whole run. `family`, `data` and the four roles are resolved; `backbone` and `size` say what they came from."""

    backbone: str = MISSING
    size: str = MISSING
    family: Any = MISSING  # one of FAMILY_CONFIGS
    data: DataConfig = field(default_factory=DataConfig)
    codec: CodecConfig = field(default_factory=CodecConfig)
    trunk: dict[str, Any] = field(default_factory=dict)  # options put on the trunk of every role
    encoder: NetworkConfig | None = None
    decoder: NetworkConfig | None = None
    denoiser: NetworkConfig | None = None
    predictor: NetworkConfig | None = None
    train: TrainConfig = field(default_factory=TrainConfig)
    log: LogConfig = field(default_factory=LogConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    run: RunConfig = field(default_factory=RunConfig)
