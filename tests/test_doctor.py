"""The doctor names what is here, keeps secrets out of its report, and explains a torchvision that does not fit."""

from __future__ import annotations

import builtins
import subprocess
import sys
from importlib.metadata import version

import pytest

import genvision
from genvision.doctor import check_torchvision, doctor_text
from genvision.errors import ConfigError


def test_the_report_names_devices_versions_datasets_and_extractors(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("ACCELERATE_SECRET_TOKEN", "hunter2")
    text = doctor_text()
    for package in ("torch", "torchvision", "diffusers", "torch-fidelity"):
        assert f"\n  {package} {version(package)}\n" in text
    assert f"\n  genvision {genvision.__version__}\n" in text
    assert "\n  fashion_mnist_mini: /" in text
    assert "\n  efficientnet-lite0: ready, " in text and "\n  inception: " in text
    assert "\n  ACCELERATE_MIXED_PRECISION=bf16\n" in text
    assert "hunter2" not in text
    assert "CPU cores " in text and "bf16 " in text
    titles = [line for line in text.splitlines() if not line.startswith(" ")]
    assert titles == ["machine", "devices", "versions", "launch", "datasets", "extractors"]


def test_a_torchvision_built_for_another_torch_is_one_line_with_the_remedy(monkeypatch):
    _fail_to_import(monkeypatch, "torchvision", RuntimeError("operator torchvision::nms does not exist"))
    with pytest.raises(ConfigError) as caught:
        check_torchvision()
    text = str(caught.value)
    assert "\n" not in text and f"torch {version('torch')} and torchvision {version('torchvision')}" in text
    assert "pip install -U 'torch>=2.14' 'torchvision>=0.29'" in text


def test_loading_a_model_from_python_says_the_same(monkeypatch):
    _fail_to_import(monkeypatch, "torchvision", RuntimeError("operator torchvision::nms does not exist"))
    with pytest.raises(ConfigError, match="builds that do not fit together"):
        genvision.load("runs/NAME")


def test_another_fault_of_torchvision_is_not_explained_away(monkeypatch):
    _fail_to_import(monkeypatch, "torchvision", RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        check_torchvision()


def _fail_to_import(monkeypatch, package, error):
    real = builtins.__import__

    def failing(name, *rest, **options):
        if name == package:
            raise error
        return real(name, *rest, **options)

    monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(builtins, "__import__", failing)


def test_the_package_offers_load_without_importing_torch_first():
    code = (
        "import sys, genvision; assert 'torch' not in sys.modules;"
        "assert genvision.load.__module__ == 'genvision.pipelines'; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'lood'"):
        genvision.lood  # noqa: B018
