"""The pictures on the page: whole where a run is told of, small in the table, and from the run's own folder alone."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image
from test_evaluation_record import make
from test_leaderboard import save
from test_leaderboard_page import Page, sources

from genvision.evaluation.leaderboard import build


def picture(folder, name: str = "grid.png", size=(240, 240), mode: str = "L") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(size, 50).convert(mode).save(folder / name)


def embedded(source: str) -> Image.Image:
    head, data = source.split(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize(
    ("size", "thumbnail", "full"),
    [
        ((240, 240), (240, 240), (240, 240)),
        ((1200, 600), (280, 140), (1200, 600)),
        ((3200, 640), (280, 56), (1600, 320)),
    ],
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_grid_is_embedded_small_in_the_table_and_whole_on_the_page_of_its_run(
    tmp_path, size, thumbnail, full, mode
):
    save(tmp_path / "runs", make(run="a", grid="samples/grid.png"))
    picture(tmp_path / "runs" / "a" / "samples", size=size, mode=mode)
    small, whole = map(embedded, sources(Page(build(tmp_path / "runs", tmp_path / "out").read_text())))
    assert (small.size, whole.size) == (thumbnail, full) and small.mode == whole.mode == "L"
    if size == full:
        original = Image.open(tmp_path / "runs" / "a" / "samples" / "grid.png").convert("L")
        assert whole.tobytes() == original.tobytes()


def test_colors_stay_and_the_nearest_training_images_stand_beside_the_samples(tmp_path):
    save(tmp_path / "runs", make(run="a", grid="grid.png"))
    red, blue = (Image.new("RGB", (8, 4), color) for color in ("red", "blue"))
    red.save(tmp_path / "runs" / "a" / "grid.png")
    (tmp_path / "runs" / "a" / "samples").mkdir()
    blue.save(tmp_path / "runs" / "a" / "samples" / "nearest.png")
    found = [embedded(source) for source in sources(Page(build(tmp_path / "runs", tmp_path / "out").read_text()))]
    assert [(each.mode, each.getpixel((0, 0))) for each in found] == [("RGB", (255, 0, 0))] * 2 + [("RGB", (0, 0, 255))]


@pytest.mark.parametrize("grid", ["../secret.png", "{absolute}", "link.png", "nowhere.png", "text.png", "a\0b", "."])
def test_pictures_outside_the_run_and_damaged_ones_are_left_out(tmp_path, grid):
    picture(tmp_path / "runs", "secret.png")
    save(tmp_path / "runs", make(run="a", grid=grid.format(absolute=tmp_path / "runs" / "secret.png")))
    (tmp_path / "runs" / "a" / "link.png").symlink_to(tmp_path / "runs" / "secret.png")
    (tmp_path / "runs" / "a" / "text.png").write_text("no picture")
    assert sources(Page(build(tmp_path / "runs", tmp_path / "out").read_text())) == []


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (10, "Samples of 10 classes, one a column<"),
        (0, "Samples, drawn without labels<"),
        (None, "Samples<"),
        (40, "Samples of 40 classes<"),
    ],
)
def test_a_grid_says_what_its_columns_are(tmp_path, classes, said):
    save(tmp_path / "runs", make(run="a", grid="grid.png", classes=classes))
    picture(tmp_path / "runs" / "a")
    assert said in build(tmp_path / "runs", tmp_path / "out").read_text()
