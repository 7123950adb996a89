"""Extractors: the same numbers as their own libraries, verified weights, one-line refusals."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genvision.errors import ConfigError, DataError
from genvision.evaluation import extractors, inception, weights


@pytest.fixture(scope="module")
def lite():
    return extractors.make_extractor("efficientnet-lite0")


def timm_name(name: str) -> str:
    """The offline weights' names under timm's, written out rule by rule."""
    for ours, theirs in {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}.items():
        if name.startswith(f"{ours}."):
            return name.replace(ours, theirs, 1)
    if name.startswith("_fc."):
        return name.replace("_fc", "classifier", 1)
    _, index, layer, rest = name.split(".", 3)
    ends = np.cumsum([1, 2, 2, 3, 3, 4, 1])
    stage = int(np.searchsorted(ends, int(index), side="right"))
    within = int(index) - (0 if stage == 0 else int(ends[stage - 1]))
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    others = {
        "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw",
        "_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3",
    }  # fmt: skip
    return f"blocks.{stage}.{within}.{(others if stage else first)[layer]}.{rest}"


@pytest.mark.parametrize("side", [28, 300])
def test_lite_features_equal_timms_forward_on_pillows_resize(lite, side):
    import timm

    state = torch.load(weights.efficientnet_weights(None).path, weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    model.load_state_dict({timm_name(name): value for name, value in state.items()}, strict=True)
    images = torch.randint(0, 256, (3, 3, side, side), generator=torch.Generator().manual_seed(side)).to(torch.uint8)
    resized = [
        [
            np.array(Image.fromarray(c.numpy().astype(np.float32)).resize((224, 224), Image.Resampling.BICUBIC))
            for c in x
        ]
        for x in images
    ]
    with torch.no_grad():
        logits = model(torch.from_numpy(np.array(resized)) / 127.5 - 1)
        model.reset_classifier(0)
        pool = model(torch.from_numpy(np.array(resized)) / 127.5 - 1)
    found = lite(images)
    torch.testing.assert_close(found.pool, pool, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.logits, logits, rtol=1e-3, atol=1e-3)
    assert found.pool.shape == (3, lite.dim) and found.pool.dtype == torch.float32


def test_gray_is_the_same_picture_in_rgb(lite):
    gray = torch.randint(0, 256, (2, 1, 28, 28), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    torch.testing.assert_close(lite(gray).pool, lite(gray.expand(-1, 3, -1, -1)).pool, rtol=0, atol=1e-6)


def test_the_callers_precision_does_not_reach_the_features(lite):
    x = torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    expected = lite(x).pool
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(lite(x).pool, expected)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert not any(module.training for module in lite._module.modules())
    assert not expected.requires_grad


@pytest.mark.parametrize("shape", [(2, 2, 8, 8), (2, 4, 8, 8), (3, 8, 8)])
def test_other_channels_are_refused(lite, shape):
    with pytest.raises(DataError, match="takes uint8"):
        lite(torch.zeros(shape, dtype=torch.uint8))
    with pytest.raises(DataError, match="float32"):
        lite(torch.zeros(2, 3, 8, 8))


def test_metric_names(lite):
    assert lite.metric_name == "FD-EffNetLite0"
    assert lite.weights_sha256 == weights.EFFICIENTNET_SHA256
    assert extractors.EXTRACTORS["inception"].metric_name == "FID"
    assert sum(kind.metric_name == "FID" for kind in extractors.EXTRACTORS.values()) == 1


def test_one_flipped_byte_in_the_weights_is_refused(tmp_path):
    data = bytearray(weights.efficientnet_weights(None).path.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "w.pth").write_bytes(data)
    with pytest.raises(DataError, match="is not the published"):
        extractors.make_extractor("efficientnet-lite0", str(tmp_path / "w.pth"))


def test_unknown_extractor_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"inception, efficientnet-lite0"):
        extractors.require_extractor("dino")


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise OSError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def test_inception_without_weights_or_network_is_one_line_with_the_alternative(no_network):
    for check in (extractors.require_extractor, extractors.make_extractor):
        with pytest.raises(DataError) as caught:
            check("inception", None)
        line = str(caught.value)
        assert caught.value.exit_code == 3 and "\n" not in line
        assert weights.INCEPTION_FILE in line and "score.extractor_weights=, --extractor-weights" in line
        assert "efficientnet-lite0 works without network (score.extractor=, or --extractor" in line
    status = {entry.name: entry for entry in extractors.available()}
    assert not status["inception"].ready and "no " in status["inception"].reason
    assert status["efficientnet-lite0"].ready


def test_a_weights_path_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.pth: no such file"):
        extractors.require_extractor("inception", str(tmp_path / "nowhere.pth"))


class Payload:
    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self):
        return Path.touch, (self.sentinel,)


@pytest.mark.parametrize("hash_known", [False, True])
def test_a_pickle_that_runs_code_is_never_run(tmp_path, monkeypatch, hash_known):
    import hashlib

    file, sentinel = tmp_path / "w.pth", tmp_path / "ran"
    torch.save(OrderedDict(a=Payload(sentinel)), file)
    if hash_known:  # even a file of the right hash is read with weights_only
        monkeypatch.setattr(weights, "INCEPTION_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    with pytest.raises((DataError, pickle.UnpicklingError)):
        extractors.make_extractor("inception", str(file))
    assert not sentinel.exists()


def test_inception_features_equal_torch_fidelitys(tmp_path, monkeypatch):
    import hashlib

    from torch_fidelity import feature_extractor_inceptionv3 as theirs

    with monkeypatch.context() as patch:  # random weights in the published layout: there is no network here
        patch.setattr(theirs, "load_state_dict_from_url", lambda *args, **kwargs: {})
        patch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        torch.manual_seed(0)
        oracle = theirs.FeatureExtractorInceptionV3("oracle", ["2048", "logits_unbiased"])
    for module in oracle.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")  # what enters shows in what leaves
        elif isinstance(module, torch.nn.BatchNorm2d):
            module.weight.uniform_(0.8, 1.2), module.bias.normal_(0, 0.1)
            module.running_mean.normal_(0, 0.1), module.running_var.uniform_(0.8, 1.2)
    file = tmp_path / "w.pth"
    torch.save(oracle.state_dict(), file)
    monkeypatch.setattr(weights, "INCEPTION_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    extractor = extractors.make_extractor("inception", str(file))
    images = torch.randint(0, 256, (2, 1, 28, 28), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    pool, logits = oracle(images.expand(-1, 3, -1, -1).contiguous())
    found = extractor(images)
    assert pool.std(0).mean() > 0.01 * pool.mean()
    torch.testing.assert_close(found.pool, pool, rtol=1e-4, atol=1e-4 * pool.mean().item())
    torch.testing.assert_close(found.logits, logits, rtol=1e-4, atol=1e-4 * logits.std().item())
    assert found.pool.shape == (2, extractor.dim)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (32, 17), (299, 299), (400, 301), (1, 2)])
def test_the_resize_is_tensorflows(height, width):
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x as theirs

    x = 255 * torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    expected = theirs(x, size=(299, 299), align_corners=False)
    torch.testing.assert_close(inception.resize(x, 299), expected, rtol=0, atol=255 * 1e-6)
