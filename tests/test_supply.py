"""What comes from elsewhere: the oldest versions that are allowed, and files that are downloaded."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from torch_fidelity.feature_extractor_clip import MODEL_URLS

from genvision.evaluation import weights

ROOT = Path(__file__).parents[1]
FLOORS = {  # below which a hole was closed, or a promise of ours would not hold
    "torch": "2.10",  # which closed the last known hole of torch.load(weights_only=True)
    "safetensors": "0.8",  # whose writer replaces files atomically
    "diffusers": "0.38",  # loading rules for code that comes with weights
    "pillow": "13",  # critical holes in the decoding of JPEG and of animations, CVE-2026-96639 among them
    "jinja2": "3.1",
    "pyyaml": "6",
}


@pytest.mark.parametrize("name", FLOORS)
def test_no_version_with_a_known_hole_is_allowed(name):
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (found,) = (each for each in map(Requirement, asked) if each.name == name)
    floors = [Version(each.version) for each in found.specifier if each.operator in (">=", "==")]
    assert len(floors) == 1 and floors[0] >= Version(FLOORS[name])


def test_downloads_are_encrypted_and_known_by_their_hash():
    offered = [weights.inception(), *map(weights.dinov2, weights.DINOV2_SHA256), *map(weights.clip, MODEL_URLS)]
    for each in offered:
        assert each.url.startswith("https://") and re.fullmatch("[0-9a-f]{64}", each.sha256), each
    assert len(offered) >= 10
    assert offered[0].sha256.startswith(re.search(r"-([0-9a-f]{8})\.pth$", offered[0].url)[1])  # as its publisher says
