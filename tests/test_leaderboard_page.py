"""The page: a stranger's text stays text, pictures come from the run's folder alone, nothing is loaded from outside."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image
from test_evaluation_record import PROTOCOL, make
from test_leaderboard import save

from genvision.evaluation.leaderboard import build
from genvision.evaluation.page import TEMPLATES
from genvision.evaluation.record import write_record

PAYLOADS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style></pre><script src=//evil.example/x.js></script>",
    "javascript:alert(1)",
    "{{7*7}}{% raw %}",
    "<svg/onload=alert(1)>",
    "a|b`c`\n| d | e |\n<b>f</b> [x](http://evil.example) ![](http://evil.example/p.png)",
]


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def records(text: str):
    metrics = {key: {"name": text, "value": 1.0, "std": 0.1} for key in ("frechet", "kid", "inception_score")}
    protocol = PROTOCOL | {"reference": PROTOCOL["reference"] | {"name": text}, "sampling": {text: text}}
    bits = {"value": 1.0, "kind": "bound", "split": text, "num_images": 1, "standard_error": 0.1}
    names = dict.fromkeys(("family", "backbone", "data", "size", "device", "precision", "note"), text)
    anchors = [{"name": text, "value": 1.0}]
    yield make(run=text, metrics=metrics, protocol=protocol, bits_per_dim=bits, anchors=anchors, grid=text, **names)
    yield make(run=text, status="failed", reason=text, encoder_backbone=text, decoder_backbone=text, **names)


def built(tmp_path, text: str) -> tuple[Page, str]:
    runs = tmp_path / "runs"
    for k, record in enumerate(records(text)):
        write_record(record, runs / f"r{k}" / "result.json")
    (runs / "bad").mkdir()
    (runs / "bad" / "result.json").write_text(text)
    page = build(runs, tmp_path / "out").read_text()
    return Page(page), (tmp_path / "out" / "leaderboard.md").read_text()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return built(tmp_path_factory.mktemp("plain"), "plain")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_names_cannot_add_markup(tmp_path, plain, payload):
    page, markdown = built(tmp_path, payload)
    assert page.tags == plain[0].tags  # not one element more or less
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert [name for name, _ in page.attributes] == [name for name, _ in plain[0].attributes]
    assert "".join(payload.split()) in "".join(page.text.split())  # and the text is all there, uninterpreted
    columns = [line.replace("\\|", "").count("|") for line in markdown.splitlines()]
    assert columns == [line.count("|") for line in plain[1].splitlines()]
    assert "<" not in markdown and "](" not in markdown and "://" not in markdown


def test_the_page_allows_nothing_from_outside(plain):
    page = plain[0]
    (policy,) = [value for name, value in page.attributes if name == "content" and "default-src" in (value or "")]
    script = (TEMPLATES / "leaderboard.js").read_bytes()
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    allowed = f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:;"
    assert policy == f"{allowed} base-uri 'none'; form-action 'none'"
    assert not {"link", "iframe", "object", "form"} & set(page.tags) and page.tags.count("script") == 1
    assert sources(page) == [] and script.decode() in page.text
    links = [value for name, value in page.attributes if name == "href"]
    assert links and all(re.fullmatch("#run-[0-9]+", link) for link in links)


def picture(folder, name: str = "grid.png", size=(240, 240), mode: str = "L") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(size, 50).convert(mode).save(folder / name)


def sources(page: Page) -> list[str]:
    return [value or "" for name, value in page.attributes if name == "src"]


@pytest.mark.parametrize(("size", "shown"), [((240, 240), (240, 240)), ((1200, 600), (360, 180))])
def test_the_grid_is_embedded_and_a_large_one_scaled_down(tmp_path, size, shown):
    save(tmp_path / "runs", make(run="a", grid="samples/grid.png"))
    picture(tmp_path / "runs" / "a" / "samples", size=size)
    source, again = sources(Page(build(tmp_path / "runs", tmp_path / "out").read_text()))
    assert source == again  # in the table, and where the run is described
    head, data = source.split(",")
    assert head == "data:image/png;base64"
    embedded = Image.open(io.BytesIO(base64.b64decode(data)))
    assert embedded.size == shown
    if size == shown:
        original = Image.open(tmp_path / "runs" / "a" / "samples" / "grid.png")
        assert embedded.tobytes() == original.tobytes()


@pytest.mark.parametrize("grid", ["../secret.png", "{absolute}", "link.png", "nowhere.png", "text.png", "a\0b", "."])
def test_pictures_outside_the_run_and_damaged_ones_are_left_out(tmp_path, grid):
    picture(tmp_path / "runs", "secret.png")
    save(tmp_path / "runs", make(run="a", grid=grid.format(absolute=tmp_path / "runs" / "secret.png")))
    (tmp_path / "runs" / "a" / "link.png").symlink_to(tmp_path / "runs" / "secret.png")
    (tmp_path / "runs" / "a" / "text.png").write_text("no picture")
    assert sources(Page(build(tmp_path / "runs", tmp_path / "out").read_text())) == []
