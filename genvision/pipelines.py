"""Exported generators in diffusers' layout: load one from a run, a folder or the Hub, and call it for PIL images."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput, ModelMixin
from PIL import Image
from safetensors import SafetensorError

from genvision.config.document import short
from genvision.config.schema import FAMILY_CONFIGS
from genvision.errors import ConfigError, RunError
from genvision.exports import load_network, local_folder, read_index, refuse_unknown
from genvision.families import FAMILIES, Family
from genvision.families.autoencoder import Autoencoder
from genvision.families.latent_codec import AutoencoderCodec, make_codec
from genvision.run_folder import runs_below, such_as
from genvision.sampling.draw import draw_images, log_likelihoods, require_exact
from genvision.spec import ImageSpec
from genvision.storage import replacing, storage_error
from genvision.training import checkpoint

NOTHING: dict[str, Any] = {}  # diffusers takes arguments with a default for settings, the others for modules


@dataclass
class GeneratedImages(ImagePipelineOutput):
    """`images` as asked for, and `log_likelihood_nats` (N,) float64 where they were asked for."""

    images: list[Image.Image] | torch.Tensor
    log_likelihood_nats: torch.Tensor | None = None


class ImageGenerationPipeline(DiffusionPipeline):
    """A trained family with its networks, its geometry and the sampling options it was evaluated with.

    encoder, decoder, denoiser, predictor  the networks; those of other families are None
    family      "vae", "autoregressive" or "diffusion"
    options     the family's configuration
    spec        fields of ImageSpec
    sampling    defaults of a call: chunk_size, precision and the options of the family's sampler
    codec       of a generator of codes: options and state of the autoencoder, whose networks are encoder and decoder
    """

    _optional_components = ("encoder", "decoder", "denoiser", "predictor")

    def __init__(
        self,
        encoder: ModelMixin | None = None,
        decoder: ModelMixin | None = None,
        denoiser: ModelMixin | None = None,
        predictor: ModelMixin | None = None,
        family: str = "",
        options: dict = NOTHING,
        spec: dict = NOTHING,
        sampling: dict = NOTHING,
        codec: dict = NOTHING,
    ) -> None:
        super().__init__()
        networks = {"encoder": encoder, "decoder": decoder, "denoiser": denoiser, "predictor": predictor}
        self.register_modules(**networks)
        self.register_to_config(family=family, options=options, spec=spec, sampling=sampling, codec=codec)
        image, typed = ImageSpec(**spec), family_config(family, options)
        wrapped = make_codec(_autoencoder(networks, image, codec), image, codec["state"]) if codec else None
        self.generator: Family = FAMILIES[family].variant(typed)(image, networks, typed, wrapped)
        self.generator.eval()

    @classmethod
    def from_family(cls, family: Family, sampling: dict) -> ImageGenerationPipeline:
        """Wrap a family that is at hand; its weights are shared, not copied."""
        networks, codec = {role: getattr(family, role) for role in family.roles}, {}
        if isinstance(family.codec, AutoencoderCodec):
            vae = family.codec.vae
            networks |= {"encoder": vae.encoder, "decoder": vae.decoder}
            codec = {"options": asdict(vae.options), "classes": vae.spec.classes, "state": family.codec.state}
        return cls(
            **networks,
            codec=codec,
            family=family.options.name,
            options=asdict(family.options),
            spec=family.spec._asdict(),
            sampling=sampling,
        )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | PathLike, **hub: Any) -> ImageGenerationPipeline:
        """From a folder written by `save_pretrained`, or a Hub id (HUB_OPTIONS go to the Hub).

        Only JSON and safetensors are read and only genvision's own classes are built. Raises RunError where the folder
        is not such an export, or where weights are missing, unexpected or of another shape, TypeError for an argument
        that is not the Hub's.
        """
        refuse_unknown(hub)
        folder = local_folder(pretrained_model_name_or_path, hub)
        index = read_index(folder)
        roles = (*FAMILIES[index["family"]].roles, *(FAMILIES["vae"].roles if index.get("codec") else ()))
        networks = {role: load_network(folder, role) for role in roles}
        options = {key: index[key] for key in ("family", "options", "spec", "sampling", "codec") if key in index}
        try:
            return cls(**networks, **options)
        except (TypeError, KeyError, ConfigError) as error:
            raise RunError(f"{folder}/model_index.json: its options do not fit this genvision ({error})") from error

    def export(self, folder: Path) -> None:
        """`save_pretrained`, whole or not at all, in place of what was there. Raises StorageError."""
        with replacing(folder) as temporary:
            try:
                self.save_pretrained(temporary)
            except SafetensorError as error:
                raise storage_error(folder, OSError(str(error))) from error
            for weights in temporary.rglob("*.safetensors"):  # written for their owner alone, whatever the umask
                shutil.copymode(temporary / "model_index.json", weights)
            if folder.is_dir():
                shutil.rmtree(folder)

    @torch.no_grad()
    def __call__(
        self,
        num_images: int = 1,
        *,
        labels: int | Sequence[int] | torch.Tensor | None = None,
        seed: int = 0,
        output_type: str = "pil",
        progress: bool = False,
        log_likelihood: bool = False,
        guide: ImageGenerationPipeline | str | PathLike | None = None,
        **options: Any,
    ) -> GeneratedImages:
        """Images 0..num_images-1 of `seed`: a list of PIL images, or with output_type="pt" a uint8 (N,C,H,W) tensor.

        labels          one for all images, or one per image; None: k mod classes
        log_likelihood  also measure log p of each image under the model itself (`sampling.log_likelihoods`)
        guide           a weaker model to be guided away from, such as an earlier checkpoint of the same run, or what
                        `load` takes for one (diffusion)
        options         override the defaults in `config.sampling`: chunk_size, precision and the family's own, such as
                        steps, scheduler, guidance, temperature, top_k, top_p
        Raises ConfigError for an argument that cannot be, before anything is drawn.
        """
        settings = {**self.config.sampling, **options}
        for name, value, least in (
            ("num_images", num_images, 1),
            ("seed", seed, 0),
            ("chunk_size", settings["chunk_size"], 1),
        ):
            _require_whole(name, value, least)
        if output_type not in ("pil", "pt"):
            raise ConfigError(f"output_type={output_type!r}: must be 'pil' or 'pt'")
        given = _label_tensor(labels, num_images)
        if guide is not None:
            opened = guide if isinstance(guide, ImageGenerationPipeline) else load(guide).to(self.device)
            settings["guide"] = opened.generator
        if log_likelihood:
            require_exact(self.generator)
        images = draw_images(self.generator, num_images, labels=given, seed=seed, progress=progress, **settings)
        nats = None
        if log_likelihood:
            size = settings["chunk_size"]
            nats = log_likelihoods(self.generator, images, labels=given, chunk_size=size, progress=progress)
        return GeneratedImages(images if output_type == "pt" else [to_pil(image) for image in images], nats)


def family_config(family: str, options: dict) -> Any:
    """The options of a family as JSON brings them: its tuples come as lists."""
    typed: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    return FAMILY_CONFIGS[family](**typed)


def _autoencoder(networks: dict, image: ImageSpec, codec: dict) -> Autoencoder:
    """The frozen autoencoder of an exported generator of codes."""
    options = family_config("vae", codec["options"])
    return FAMILIES["vae"].variant(options)(image._replace(classes=codec["classes"]), networks, options)


def to_pil(image: torch.Tensor) -> Image.Image:
    """(C,H,W) uint8 -> a gray, gray-alpha, RGB or RGBA image."""
    return Image.fromarray(image.movedim(0, -1).squeeze(-1).numpy())


def load(path_or_hub_id: str | PathLike, **hub: Any) -> ImageGenerationPipeline:
    """The pipeline of a run folder, of one of its checkpoints (EMA weights too), of an exported folder, or of a Hub id.

    hub  for the Hub alone: HUB_OPTIONS
    A checkpoint takes geometry and options from the model that its run has exported. Raises RunError, ConfigError for
    what can name no model, and TypeError for an argument that is not the Hub's.
    """
    refuse_unknown(hub)
    if not isinstance(path_or_hub_id, (str, PathLike)):
        raise ConfigError(f"{path_or_hub_id!r} names no model; give a run folder, an exported folder or a Hub id")
    path = Path(path_or_hub_id)
    if checkpoint.is_checkpoint(path):
        pipeline = load(path.resolve().parents[1])
        checkpoint.load_averaged(pipeline.generator, path)
        return pipeline
    if (path / "model").is_dir():
        return ImageGenerationPipeline.from_pretrained(path / "model")
    if (path / "config.yaml").is_file():
        raise RunError(f"{path} has no exported model yet; let it finish: genvision train --resume {path}")
    if below := runs_below(path):
        raise RunError(f"{path} is a folder of runs; name one of them{such_as(below)}")
    return ImageGenerationPipeline.from_pretrained(path_or_hub_id, **hub)


def load_named(key: str, name: str | PathLike) -> ImageGenerationPipeline:
    """`load`, with errors that begin with the setting or option which named the model."""
    try:
        return load(name)
    except RunError as error:
        raise RunError(f"{key}: {error}") from error


def _require_whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or not least <= int(value) < 2**63:
        raise ConfigError(f"{name}={value!r}: must be a whole number of at least {least}, and below 2^63")


def _label_tensor(labels: Any, n: int) -> torch.Tensor | None:
    """(n,) int64 of one label for all, or of one per image. Their number and range are the family's to check."""
    if labels is None:
        return None
    try:
        given = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError):
        given = torch.empty(0)
    if given.ndim > 1 or given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise ConfigError(f"labels={short(repr(labels))}: must be a whole number, or a list of one per image")
    return given.long().expand(n) if given.ndim == 0 else given.long()
