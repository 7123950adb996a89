"""DINOv2 and CLIP from files of random weights in the published layout: the features of their own implementations."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn

from genvision.errors import DataError
from genvision.evaluation import extractors, weights


def images(n: int = 2, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, channels, 28, 28), generator=generator).to(torch.uint8)


def dinov2_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """Random weights under the publisher's names (timm's but for the grid of positions and the token of training)."""
    state = {"mask_token": torch.zeros(1, 384)}
    for k, (name, tensor) in enumerate(sorted(network.state_dict().items())):
        shape = (1, 1 + 37 * 37, 384) if name == "pos_embed" else tensor.shape
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(k))
        state[name] = 0.1 * noise + ("gamma" in name or ("norm" in name and "weight" in name))
    return state


@pytest.fixture
def dinov2_file(tmp_path, monkeypatch):
    import timm

    file = tmp_path / "dinov2.pth"
    torch.save(dinov2_state(timm.create_model("vit_small_patch14_dinov2", num_classes=0, img_size=224)), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setitem(weights.DINOV2_SHA256, "dinov2_vits14", digest)
    return file


def test_dinov2_features_are_those_of_its_publishers_code(dinov2_file):
    extractor = extractors.make_extractor("dinov2-vit-s-14", str(dinov2_file))
    found = extractor(images())
    # what the publisher's network gave behind torch-fidelity's resize: these weights, these images
    expected = torch.tensor([[0.178028, -0.936638, -0.576912, 0.105946], [1.726779, -0.037672, -0.187093, 0.774999]])
    torch.testing.assert_close(found.pool[:, :4], expected, rtol=0, atol=2e-4)
    assert found.pool.shape == (2, extractor.dim) and found.logits.shape == (2, 0)
    assert extractor.metric_name == "FD-DINOv2-S"
    assert extractor.weights_sha256 == hashlib.sha256(dinov2_file.read_bytes()).hexdigest()
    gray = images(channels=1)
    torch.testing.assert_close(extractor(gray).pool, extractor(gray.expand(-1, 3, -1, -1)).pool, rtol=0, atol=1e-5)
    assert not any(module.training for module in extractor._module.modules())
    assert not any(weight.requires_grad for weight in extractor._module.parameters())


class Archive(nn.Module):
    """What a published archive holds: the image half of the network, and a projection of text."""

    def __init__(self, visual: nn.Module, dim: int) -> None:
        super().__init__()
        self.visual = visual
        self.text_projection = nn.Parameter(torch.zeros(4, dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.parametrize(("name", "layers", "patch"), [("clip-vit-b-32", 2, 32), ("clip-rn50", (1, 1, 1, 1), None)])
def test_clip_features_equal_torch_fidelitys(tmp_path, monkeypatch, name, layers, patch):
    from torch_fidelity import feature_extractor_clip as theirs

    torch.manual_seed(0)
    kind, file, side = extractors.EXTRACTORS[name], tmp_path / "clip.pt", 64
    visual = theirs.CLIPVisual(kind.dim, side, layers, 64, patch).visual.eval()
    archive = torch.jit.trace(Archive(visual, kind.dim).eval(), torch.zeros(1))
    archive.save(str(file))
    known = {"hash": hashlib.sha256(file.read_bytes()).hexdigest(), "filename": "x"}
    monkeypatch.setitem(theirs.MODEL_METADATA, name, known)
    extractor = extractors.make_extractor(name, str(file))
    noise_and_black = images() * torch.tensor([1, 0], dtype=torch.uint8)[:, None, None, None]
    (expected,) = theirs.FeatureExtractorCLIP(name, ["clip"], str(file))(noise_and_black)
    found = extractor(noise_and_black)
    last = 1e-4 * expected.abs().max()
    assert (expected[0] - expected[1]).abs().max() > 100 * last
    torch.testing.assert_close(found.pool, expected, rtol=0, atol=last.item())
    assert found.pool.shape == (2, kind.dim) and found.logits.shape == (2, 0)
    assert extractor.metric_name == f"FD-CLIP-{name.removeprefix('clip-')}"
    assert extractor.weights_sha256 == known["hash"]


@pytest.mark.parametrize("name", ["dinov2-vit-s-14", "clip-vit-b-32"])
def test_a_file_of_other_weights_is_refused_before_anything_reads_it(tmp_path, monkeypatch, name):
    file = tmp_path / "other.pt"
    file.write_bytes(b"something else")
    monkeypatch.setattr("torch.jit.load", lambda *args, **kwargs: pytest.fail("read"))
    monkeypatch.setattr("torch.load", lambda *args, **kwargs: pytest.fail("read"))
    for check in (extractors.require_extractor, extractors.make_extractor):
        with pytest.raises(DataError, match=r"SHA-256 [0-9a-f]{8}… is not the published [0-9a-f]{8}…") as caught:
            check(name, str(file))
        assert caught.value.exit_code == 3 and str(file) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["dinov2-vit-g-14", "clip-vit-l-14"])
def test_without_weights_or_network_the_message_names_the_file_and_its_place(tmp_path, monkeypatch, name):
    def refuse(*args, **kwargs):
        raise OSError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(DataError, match="no download \\(Name or service not known\\); put ") as caught:
        extractors.require_extractor(name)
    file = {"dinov2-vit-g-14": "dinov2_vitg14_pretrain.pth", "clip-vit-l-14": "clip-vit-l-14-b8cca3fd"}[name]
    assert f"none at {tmp_path}/hub/checkpoints/{file}" in str(caught.value)
    assert f"; put {file}" in str(caught.value) and "name its place" in str(caught.value)
    status = {entry.name: entry for entry in extractors.available()}[name]
    assert not status.ready and status.reason.startswith(f"no {tmp_path}/hub/checkpoints/{file}")


def test_every_network_of_torch_fidelity_has_a_row_and_only_one_is_called_fid():
    from torch_fidelity.feature_extractor_clip import MODEL_METADATA as CLIP
    from torch_fidelity.feature_extractor_dinov2 import MODEL_METADATA as DINOV2

    assert {*CLIP, *DINOV2} == {name for name in extractors.EXTRACTORS if name.startswith(("clip-", "dinov2-"))}
    assert set(weights.DINOV2_SHA256) == set(DINOV2.values())
    names = [kind.metric_name for kind in extractors.EXTRACTORS.values()]
    assert len(set(names)) == len(names)
    assert all(name == "FID" or name.startswith("FD-") for name in names) and names.count("FID") == 1
