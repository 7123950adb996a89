"""What an installed package carries: the configs and the bundled data, and nothing of the checkout around it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from genvision.config import CONFIG_DIR, config_hash, load_config

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_every_config_and_all_bundled_data(unpacked):
    def files(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert files(unpacked / "genvision" / "configs") == files(CONFIG_DIR)
    bundled = files(ROOT / "genvision" / "data" / "bundled")
    assert bundled and files(unpacked / "genvision" / "data" / "bundled") == bundled
    assert {path.name for path in unpacked.iterdir()} == {"genvision", "genvision-0.1.0.dist-info"}


def test_an_installed_package_resolves_its_configs_outside_the_checkout(unpacked, tmp_path):
    code = (
        "import genvision.config as c; print(c.CONFIG_DIR);"
        "print(c.config_hash(c.load_config(None, ['backbone=vit', 'size=tiny'])))"
    )
    env = {**os.environ, "PYTHONPATH": str(unpacked)}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, check=True, capture_output=True, text=True
    )
    assert run.stdout.split() == [
        str(unpacked / "genvision" / "configs"),
        config_hash(load_config(None, ["backbone=vit", "size=tiny"])),
    ]
