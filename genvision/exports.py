"""The files of an exported model: where they lie, here or on the Hub, and what may be read from them."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path

from diffusers import ModelMixin
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from genvision.errors import RunError
from genvision.families import FAMILIES
from genvision.networks import NETWORKS
from genvision.run_folder import runs_below, such_as

HUB_OPTIONS = ("revision", "token", "cache_dir", "local_files_only", "force_download")


def refuse_unknown(hub: dict) -> None:
    """TypeError for an argument of `load` that is not the Hub's."""
    if unknown := [name for name in hub if name not in HUB_OPTIONS]:
        remedy = "; move what is loaded with .to(device)" if "device" in unknown else ""
        raise TypeError(f"load() has no argument {', '.join(unknown)}: it takes {', '.join(HUB_OPTIONS)}{remedy}")


def local_folder(name: str | PathLike, hub: dict) -> Path:
    """The folder itself, or what the Hub has under that name. Raises RunError where there is neither."""
    folder = Path(name)
    if folder.is_dir():
        return folder
    try:
        return Path(snapshot_download(str(name), allow_patterns=["*.json", "*.safetensors", "*.md"], **hub))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        told = f" ({str(error).splitlines()[0]})" if isinstance(error, HfHubHTTPError) else ""  # by the Hub itself
        near = such_as(runs_below(folder.parent))
        remedy = f"name a run{near}" if near else "check the path"
        raise RunError(f"no folder {name} here, and the Hub does not answer for it{told}; {remedy}") from error


def read_index(folder: Path) -> dict:
    """model_index.json: family, options, spec, sampling, codec. Raises RunError where genvision did not write it."""
    try:
        index = json.loads((folder / "model_index.json").read_text())
        missing = {"family", "options", "spec", "sampling"} - index.keys()
    except (OSError, ValueError, AttributeError) as error:
        raise RunError(f"{folder} is not an exported model: model_index.json is missing or unreadable") from error
    if missing or index["family"] not in list(FAMILIES):  # a list is searched for what is no key too
        raise RunError(f"{folder}/model_index.json was not written by genvision: it lacks its family or options")
    return index


def load_network(folder: Path, role: str) -> ModelMixin:
    """The network of a role, frozen. Raises RunError where weights are missing, unexpected or of another shape."""
    if not (folder / role).is_dir():  # the Hub would be asked for a model of that name
        raise RunError(f"{folder} is not a whole export: it has no {role}/; write it again")
    try:
        network, info = NETWORKS[role].from_pretrained(
            folder / role, output_loading_info=True, use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise RunError(f"cannot load {folder / role}: {str(error).splitlines()[0]}") from error
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[problem]:
            raise RunError(f"{folder / role} has {problem.replace('_', ' ')}: {', '.join(map(str, info[problem][:3]))}")
    # frozen as a run's averaged weights are: torch multiplies by weights that may want a gradient in another order
    return network.requires_grad_(False)
