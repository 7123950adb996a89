"""The batch stream: every epoch exact, any subset of slots the same rows, augmentation what it says."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from genvision.data import Batches, ImageSet
from genvision.errors import ConfigError
from genvision.spec import Draw


def numbered(n: int, channels: int = 1, height: int = 6, width: int = 5) -> ImageSet:
    """n random images; image k has label k."""
    pixels = torch.randint(0, 256, (n, channels, height, width), generator=torch.Generator().manual_seed(n))
    return ImageSet("toy", "train", pixels.to(torch.uint8), torch.arange(n), tuple(map(str, range(n))))


def stream(
    image_set: ImageSet, batch_size: int = 8, seed: int = 3, flip: bool = False, crop_padding: int = 0
) -> Batches:
    return Batches(image_set, batch_size=batch_size, seed=seed, flip=flip, crop_padding=crop_padding, device="cpu")


def draw(step: int, slots: list[int] | range, seed: int = 3) -> Draw:
    return Draw(seed, step, torch.tensor(list(slots)))


@pytest.mark.parametrize("batch_size", [1, 8, 103, 250])
def test_every_epoch_holds_each_image_exactly_once(batch_size):
    batches = stream(numbered(103), batch_size)
    steps = -(-3 * 103 // batch_size)
    ids = torch.cat([batches.indices(draw(step, range(batch_size))) for step in range(steps)])
    epochs = [ids[103 * e : 103 * (e + 1)] for e in range(3)]
    for epoch in epochs:
        assert epoch.sort().values.tolist() == list(range(103))
    assert epochs[0].tolist() != epochs[1].tolist() != list(range(103))


def test_order_depends_on_the_seed_and_on_nothing_that_came_before():
    batches = stream(numbered(40))
    later = batches.indices(draw(17, range(8)))
    for step in range(17):
        batches.indices(draw(step, range(8)))
    assert torch.equal(batches.indices(draw(17, range(8))), later)
    assert not torch.equal(stream(numbered(40), seed=4).indices(draw(17, range(8))), later)


@pytest.mark.parametrize("processes", [2, 3])
def test_any_subset_of_slots_gives_the_same_rows(processes):
    batches = stream(numbered(20, 3), batch_size=12, flip=True, crop_padding=2)
    for step in (0, 1, 5):  # batch 1 straddles two epochs
        whole = batches.at(draw(step, range(12)))
        for rank in range(processes):
            part = batches.at(draw(step, range(rank, 12, processes)))
            assert torch.equal(part.images, whole.images[rank::processes])
            assert torch.equal(part.labels, whole.labels[rank::processes])


def test_without_augmentation_rows_are_the_images_themselves():
    image_set = numbered(20, 3)
    batch = stream(image_set).at(draw(2, range(8)))
    assert batch.images.dtype == torch.uint8
    assert torch.equal(batch.images, image_set.images[batch.labels])


def test_flips_half_of_the_rows_and_never_anything_else():
    image_set = numbered(30, 3)
    batches = stream(image_set, batch_size=600, flip=True)
    batch = batches.at(draw(0, range(600)))
    plain = image_set.images[batch.labels]
    same = (batch.images == plain).flatten(1).all(1)
    flipped = (batch.images == plain.flip(-1)).flatten(1).all(1)
    assert (same ^ flipped).all()
    assert 0.43 < flipped.float().mean() < 0.57
    assert torch.equal(batch.images, batches.at(draw(0, range(600), seed=99)).images)  # the stream's own seed decides


def test_crops_are_windows_of_the_reflection_padded_image():
    image_set, padding = numbered(10, 3), 2
    batch = stream(image_set, batch_size=500, crop_padding=padding).at(draw(0, range(500)))
    padded = F.pad(image_set.images.float(), [padding] * 4, mode="reflect").to(torch.uint8)
    height, width = image_set.images.shape[-2:]
    windows = torch.stack(
        [
            padded[batch.labels][..., top : top + height, left : left + width]
            for top in range(2 * padding + 1)
            for left in range(2 * padding + 1)
        ]
    )
    hits = (windows == batch.images).flatten(2).all(2)  # (25 windows, 500 rows)
    assert (hits.sum(0) == 1).all()
    assert (hits.sum(1) >= 5).all()  # all 25 shifts appear: 20 expected each


def test_flip_decisions_do_not_change_when_crops_are_added():
    image_set = numbered(30)
    symmetric = torch.where(torch.arange(5) < 2, 0, 200).to(torch.uint8).expand(30, 1, 6, 5)  # dark left, light right
    image_set = ImageSet("toy", "train", symmetric.contiguous(), image_set.labels, image_set.class_names)
    only_flip = stream(image_set, batch_size=50, flip=True).at(draw(0, range(50))).images
    both = stream(image_set, batch_size=50, flip=True, crop_padding=1).at(draw(0, range(50))).images
    assert torch.equal(only_flip[:, 0, 0, 0] > 0, both[:, 0, 0, 0] > 0)


def test_unlabelled_batches_and_refused_padding():
    bare = ImageSet("toy", "train", numbered(9).images, None, ())
    assert stream(bare).at(draw(0, range(8))).labels is None
    with pytest.raises(ConfigError, match=r"crop_padding=5: .* 6x5"):
        stream(bare, crop_padding=5)
