"""An extractor of a user's own: the example of the docs by name, and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

import pytest
import torch
from runs import genvision, reset_launch, write_pictures
from torch import nn
from torch.nn import functional as F

from genvision.data.image_set import ImageSet
from genvision.errors import ConfigError, DataError
from genvision.evaluation import extractors, registered
from genvision.evaluation.features import reference_features, reference_key
from genvision.evaluation.images import read_images

PAGE = Path(__file__).parents[1] / "docs" / "SCORES.md"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A function that puts a package on the path, as pip would: its code and its entry points."""
    monkeypatch.setattr(registered, "_REGISTERED", {})
    monkeypatch.setenv("GENVISION_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)

    def make(code: str, **offers: str) -> None:
        (tmp_path / "my_package").mkdir(exist_ok=True)
        (tmp_path / "my_package" / "__init__.py").touch()
        (tmp_path / "my_package" / "features.py").write_text(code)
        (tmp_path / "my_package-1.dist-info").mkdir(exist_ok=True)
        (tmp_path / "my_package-1.dist-info" / "METADATA").write_text("Name: my_package\nVersion: 1\n")
        lines = ["[genvision.extractors]", *(f"{name} = {value}" for name, value in offers.items())]
        (tmp_path / "my_package-1.dist-info" / "entry_points.txt").write_text("\n".join(lines) + "\n")

    yield make
    for name in [name for name in sys.modules if name.split(".")[0] == "my_package"]:
        del sys.modules[name]


def example() -> str:
    (code,) = re.findall(r"```python\n(.*?register_extractor.*?)```", PAGE.read_text(), re.DOTALL)
    return code


def flat(root: Path, n: int, seed: int) -> Path:
    """n PNGs directly in one folder."""
    for file in write_pictures(root, n, seed=seed).glob("*/*.png"):
        file.rename(root / file.name)
    return root


def test_the_example_of_the_docs_scores_from_the_command_line(package, tmp_path):
    package(example(), **dict([re.search(r'^(\w+) = "(my_package\S+)"', PAGE.read_text(), re.MULTILINE).groups()]))
    drawn, real = flat(tmp_path / "drawn", 20, seed=1), write_pictures(tmp_path / "real", 24, seed=2)
    report = tmp_path / "report.json"
    words = ("score", drawn, "--reference", f"folder:{real}", "--extractor", "thumbnails", "--json", report)
    said = genvision(*words)
    assert said.code == 0, said.err
    told = json.loads(report.read_text())
    assert told["metrics"]["frechet"]["name"] == "FD-Thumbnails" and "FID" not in said.out
    assert "inception_score" not in told["metrics"]
    normal = torch.randn(192, 64, generator=torch.Generator().manual_seed(0))
    assert told["protocol"]["extractor"] == {
        "name": "thumbnails",
        "weights_sha256": hashlib.sha256(b"projection" + normal.numpy().tobytes()).hexdigest(),
        "resize": "8 px area mean",
        "color": "gray replicated to RGB",
    }
    found = extractors.make_extractor("thumbnails")(read_images(drawn))
    small = F.interpolate(read_images(drawn).float().expand(-1, 3, -1, -1), (8, 8), mode="area") / 255
    torch.testing.assert_close(found.pool, small.flatten(1) @ normal)
    status = {entry.name: entry for entry in extractors.available()}
    assert status["thumbnails"].ready and "thumbnails" in genvision("doctor").out

    torch.save(2 * normal, tmp_path / "w.pt")
    said = genvision(*words, "--extractor-weights", tmp_path / "w.pt")
    assert said.code == 0, said.err
    again = json.loads(report.read_text())
    assert (
        again["protocol"]["extractor"]["weights_sha256"] == hashlib.sha256((tmp_path / "w.pt").read_bytes()).hexdigest()
    )
    assert again["metrics"]["frechet"]["value"] == pytest.approx(4 * told["metrics"]["frechet"]["value"], rel=1e-3)


def test_another_weights_file_than_the_stated_one_is_refused(package, tmp_path):
    stated = example().replace("dim = 64", f'dim = 64\n    weights_sha256 = "{"ab" * 32}"')
    package(stated, thumbnails="my_package.features:Thumbnails")
    torch.save(torch.zeros(192, 64), tmp_path / "w.pt")
    for check in (extractors.require_extractor, extractors.make_extractor):
        with pytest.raises(DataError, match=r"w\.pt: SHA-256 [0-9a-f]{8}… is not the published abababab…"):
            check("thumbnails", str(tmp_path / "w.pt"))


def test_other_code_is_another_entry_of_the_cache(package):
    package(example(), thumbnails="my_package.features:Thumbnails")
    images = torch.randint(0, 256, (8, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    some, keys = ImageSet("toys", "test", images, None, ()), []
    for factor in (255, 51):
        package(example().replace("/ 255", f"/ {factor}"), thumbnails="my_package.features:Thumbnails")
        registered._REGISTERED.clear()
        sys.modules.pop("my_package.features", None)
        extractor = extractors.make_extractor("thumbnails")
        keys.append(reference_key(some.fingerprint, extractor))
        assert torch.equal(reference_features(some, extractor).pool, extractor(images).pool)
    assert keys[0] != keys[1]


class Plain(nn.Module):
    name, metric_name, resize, dim = "plain", "FD-Plain", "none", 64

    def __init__(self, weights: Path | None) -> None:
        super().__init__()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).float()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric_name": "FID"}, "metric_name='FID'; call it FD-..., only Inception's distance is FID"),
        ({"name": "inception"}, "extractor inception: another has that name already"),
        ({"dim": None}, "dim has to be a int; state it"),
        ({"resize": None}, "resize has to be a str; state it"),
    ],
)
def test_a_class_that_could_mislead_is_refused(package, changes, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        registered.register_extractor(type("Plain", (Plain,), {"__module__": __name__, **changes}))


def test_a_class_registered_in_this_process_is_found_and_its_shape_checked(package):
    assert registered.register_extractor(Plain) is Plain
    assert extractors.make_extractor("plain")(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).pool.shape == (2, 64)
    with pytest.raises(DataError, match="extractor plain: its features are 2x16; it states 2x64"):
        extractors.make_extractor("plain")(torch.zeros(2, 1, 4, 4, dtype=torch.uint8))
    with pytest.raises(ConfigError, match="no such extractor; choose one of inception, .*, plain"):
        extractors.require_extractor("plane")


def test_an_offer_that_cannot_be_imported_or_has_two_names_is_one_line(package, tmp_path):
    package("import no_such_module\n", broken="my_package.features:Broken")
    reset_launch()
    said = genvision("score", tmp_path, "--reference", "fashion_mnist_mini:test", "--extractor", "broken")
    assert (
        said.code == 2
        and "my_package.features:Broken cannot be imported (No module named 'no_such_module')" in said.error
    )
    package(example(), renamed="my_package.features:Thumbnails")
    said = genvision("score", tmp_path, "--reference", "fashion_mnist_mini:test", "--extractor", "renamed")
    assert said.code == 2 and "calls itself thumbnails; use one name for both" in said.error
