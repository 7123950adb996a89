"""The page: a stranger's text stays text, pictures come from the run's folder alone, nothing is loaded from outside."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from test_evaluation_record import PROTOCOL, make

from genvision.evaluation.leaderboard import build
from genvision.evaluation.page import TEMPLATES
from genvision.evaluation.protocol import protocol_hash
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
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "--><script>alert(1)</script>",
    "<iframe src=javascript:alert(1)></iframe>",
    '<a href="javascript:alert(1)">x</a>',
    "<style>@import '//evil.example/x.css';</style>",
    "</svg></figure><script>alert(1)</script>",
    '<math><mi xlink:href="data:text/html,<script>alert(1)</script>">x</mi></math>',
    "<base href=//evil.example/>",
    '<meta http-equiv=refresh content="0;url=//evil.example">',
    "<form action=//evil.example><input autofocus onfocus=alert(1)></form>",
    "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#60;b&#62;",
    "<![CDATA[<script>alert(1)</script>]]>",
    "${alert(1)}#{7*7}<%= 7*7 %>",
    "[x](javascript:alert(1)) <http://evil.example> www.evil.example mail@evil.example",
    "one\r\n\r\n| x | y |\n|---|---|\n\n## two\n- three",
    "\u202eright to left\u2066",
    '=HYPERLINK("http://evil.example";"x")',
    "~~strike~~ **bold** # heading",
    "back\\| slash \\\\| pipe",
    "<details open ontoggle=alert(1)>",
    "\"'></textarea><textarea autofocus onfocus=alert(1)//",
    'x" style="background:url(//evil.example/x.png)',
    "```\n<b>x</b>\n```",
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
    """Two runs of one cell and one that failed, with the text wherever a record holds one."""
    metrics = {
        key: {"name": text, "value": 2.0, "std": 0.1, "interval": [1.0, 3.0]}
        for key in ("frechet", "kid", "inception_score", text)
    }
    protocol = PROTOCOL | {"reference": PROTOCOL["reference"] | {"name": text}, "sampling": {text: text, "seed": 0}}
    bits = {"value": 1.0, "kind": "bound", "split": text, "num_images": 1, "standard_error": 0.1}
    names = dict.fromkeys(("family", "backbone", "data", "size", "device", "precision", "note", "command"), text)
    fields = {"metrics": metrics, "protocol": protocol, "bits_per_dim": bits, "grid": text, **names}
    fields |= {"anchors": [{"name": text, "value": 1.0}], "validation": {text: 1.0}, "images_seen": 9}
    fields |= {"git": {"commit": text}, "packages": {text: text}}
    for seed in range(2):
        yield make(run=text, seed=seed, macs_per_image=1.0, train_seconds=1.0 + seed, **fields)
    yield make(run=text, status="failed", reason=text, encoder_backbone=text, decoder_backbone=text, **names)


def lay(runs, text: str, prefix: str = "r") -> None:
    """Run folders whose names, records and files hold the text."""
    path = re.sub(r"[/\0]", "_", text)
    for k, record in enumerate(records(text)):
        folder = runs / f"{prefix}{k}{path}"
        write_record(record, folder / "result.json")
        (folder / "config.yaml").write_text(f"backbone: {text}")
        lines = [{"images_seen": step, "loss": 1.0 / step, "frechet": 3.0, text: text} for step in (1, 2, 3)]
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    first = next(records(text))
    protocol = first["protocol"] | {"sampling": first["protocol"]["sampling"] | {"seed": 1}}
    again = first | {"protocol": protocol, "protocol_hash": protocol_hash(protocol)}
    write_record(again, runs / f"{prefix}0{path}" / "scores" / "x.json")
    (runs / f"{prefix}bad{path}").mkdir()
    (runs / f"{prefix}bad{path}" / "result.json").write_text(text)


def built(tmp_path, text: str) -> tuple[Page, str]:
    lay(tmp_path / "runs", text)
    page = build(tmp_path / "runs", tmp_path / "out").read_text()
    return Page(page), (tmp_path / "out" / "leaderboard.md").read_text()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return built(tmp_path_factory.mktemp("plain"), "plain")


def test_the_payloads_meet_every_part_of_the_page(plain):
    shown = {word for name, value in plain[0].attributes if name == "class" for word in (value or "").split()}
    parts = {"lane", "seeds", "command", "failed", "features", "sampling", "training", "line", "mark", "anchor", "run"}
    assert parts <= shown and len(PAYLOADS) >= 30
    assert "config.yaml" in plain[0].text and "held out: plain" in plain[0].text


@pytest.mark.parametrize("payload", PAYLOADS)
def test_names_cannot_add_markup(tmp_path, plain, payload):
    page, markdown = built(tmp_path, payload)
    assert page.tags == plain[0].tags  # not one element more or less
    assert [name for name, _ in page.attributes] == [name for name, _ in plain[0].attributes]
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert all(re.fullmatch("#(run|row)-[0-9]+", value) for name, value in page.attributes if name == "href")
    assert sources(page) == [] and not any(name in ("style", "action", "srcset") for name, _ in page.attributes)
    assert "".join(payload.split()) in "".join(page.text.split())  # and the text is all there, uninterpreted
    columns = [line.replace("\\|", "").count("|") for line in markdown.splitlines()]
    assert columns == [line.count("|") for line in plain[1].splitlines()]
    assert not any(mark in markdown for mark in ("<", "](", "://", "www.", "@", "~~", "**", "```"))
    with (tmp_path / "out" / "leaderboard.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert len(cells) % 4 == 0 and not any(cell.startswith(("=", "+", "@")) for cell in cells)
    json.loads((tmp_path / "out" / "leaderboard.json").read_text(), parse_constant=pytest.fail)


def test_the_page_allows_nothing_from_outside(plain):
    page = plain[0]
    (policy,) = [value for name, value in page.attributes if name == "content" and "default-src" in (value or "")]
    parts = [(TEMPLATES / f"leaderboard.{kind}").read_bytes() for kind in ("js", "css")]
    script, style = (base64.b64encode(hashlib.sha256(part).digest()).decode() for part in parts)
    allowed = f"default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; img-src data:;"
    assert policy == f"{allowed} base-uri 'none'; form-action 'none'"
    assert not {"link", "iframe", "object", "form"} & set(page.tags) and page.tags.count("script") == 1
    assert sources(page) == [] and all(part.decode() in page.text for part in parts)


def sources(page: Page) -> list[str]:
    return [value or "" for name, value in page.attributes if name == "src"]


STRANGE = (None, True, 0, -1, 2**62, 1e-300, -1e18, 1e18, "", "x", [], [None], {}, {"x": None}, {"": [1]})


def strange_records():
    """Records in which one value, at any depth, is another than a run would write; those that can be read."""
    whole = next(records("plain"))
    places = [(name,) for name in whole] + [
        *((name, key) for name in ("protocol", "bits_per_dim", "git", "packages", "validation") for key in whole[name]),
        *(("protocol", part, key) for part in ("reference", "sampling") for key in whole["protocol"][part]),
        *(("metrics", "frechet", part) for part in (*whole["metrics"]["frechet"], "real", "rank_deficient", "side")),
    ]
    for place in places:
        for value in STRANGE:
            record = json.loads(json.dumps(whole))
            inner = record
            for name in place[:-1]:
                inner = inner[name]
            inner[place[-1]] = value
            if isinstance(record["protocol"], dict):
                record["protocol_hash"] = protocol_hash(record["protocol"])
            yield record


def test_whatever_can_be_read_can_be_shown(tmp_path):
    shown = 0
    for k, record in enumerate(strange_records()):
        folder = tmp_path / "runs" / f"r{k:04d}"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(record))
        (folder / "metrics.jsonl").write_text(
            '{"images_seen": 0, "loss": 1e308}\n{"images_seen": 0, "loss": 3}\n[1]\n7\n'
        )
    page = Page(build(tmp_path / "runs", tmp_path / "out").read_text())
    board = json.loads((tmp_path / "out" / "leaderboard.json").read_text(), parse_constant=pytest.fail)
    shown = sum(len(ranking["rows"]) for ranking in board["rankings"]) + len(board["unranked"])
    assert shown > 100 and len(board["quarantined"]) > 100 and page.tags.count("article") == shown
