"""Write docs/STUDIES.md from the verdicts of studies and the rows of the articles.

python scripts/make_studies_page.py [runs/studies/cpu]

With a folder, as `genvision study all --out runs/studies` leaves it, its verdicts, tables and figures are taken into
samples/studies/ first.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from genvision.analysis.figures import new_figure, save
from genvision.analysis.perform import from_csv
from genvision.analysis.study import ARTICLES
from genvision.analysis.table import STUDIES

ROOT = Path(__file__).resolve().parents[1]
PAGE, ROWS, TAKEN = ROOT / "docs" / "STUDIES.md", ROOT / "docs" / "articles.csv", ROOT / "samples" / "studies"
KEPT = ("verdict.json", "table.csv")
SHOWN = 3  # estimates of a claim; the others are in its verdict.json
HEAD = """# Studies

What the five articles behind this project claim, and what measurements say. One study is one question, with a rule for
each claim that was written before the data were seen: *supported*, *not supported*, *mixed*, or *not testable at this
scale*. An interval is of 95 %; one of no width belongs to what is counted, not sampled. All of it again:

```
genvision study all --preset cpu --out runs/studies
python scripts/make_studies_page.py runs/studies/cpu
```

The articles: {articles}.

## Slips in the articles

- S3 dates the Transformer 2016; it is of 2017 (Vaswani et al., "Attention is all you need").
- S1 presents as PyTorch a demonstration that is SciPy; `scipy.ndimage.convolve` turns the kernel round and reflects at
  the border by default, `conv2d` does neither. The study `equivariance` runs both.
- S1 writes spatial invariance where it means equivariance; the study measures both, apart.
- S1 and S2 contradict each other on who needs more data (S1-09, S2-21).
- S2 drops the number of patches N from the shape N x P^2 C of a flattened image, and calls a map from 768 to 768 one to
  a lower dimension.
- S0 compares the memory of a convolution's weights with that of attention's activations, and leaves out the term L N of
  attention, which is the larger one below L = (2 + r) N; the study `cost` counts all of it.
- S3 says that position may not matter to a Mixer; its token weights are numbered by position. The study `equivariance`
  shows that it notices, and `shuffled` what that costs.
- S0 asserts its relations between iterations, epsilon and delta without evidence.

## Read with care

Presets for two cores train small networks for a minute or less: they compare how fast backbones begin to learn, not
where they end. Intervals over three seeds are wide, and say so. All of them were made by the command above on two
cores, in 71 minutes beside light tests, so that seconds compare roughly; `speed` was then measured again, alone.
`blocks`, `delta`, `epsilon`, `fractions`, `generalise` and `hybrids` train every backbone at one learning rate, 0.001;
`tuning` shows by how much each would do better at another in so few steps. `transfer` takes 0.005 for that reason: at
0.001, where a ViT is far from its end, pretraining did more for the ConvNet than for the ViT.

Formulas marked *reconstructed* in the table of rows are images that the articles' text has lost; what stands here was
reconstructed from the words around them.
"""


def taken(folder: Path) -> None:
    """Copy what the page shows out of a folder of studies; figures are drawn from the tables, as the code draws now."""
    for name in STUDIES:
        if (folder / name / KEPT[0]).is_file():
            (TAKEN / name).mkdir(parents=True, exist_ok=True)
            for file in KEPT:
                shutil.copyfile(folder / name / file, TAKEN / name / file)
            figure = new_figure()
            STUDIES[name].draw(from_csv((TAKEN / name / "table.csv").read_text()), figure)
            save(figure, TAKEN / name / "figure")
            (TAKEN / name / "figure.svg").unlink()


def verdicts() -> dict[str, dict[str, Any]]:
    """study -> its verdict.json, of those that were taken in."""
    files = {name: TAKEN / name / KEPT[0] for name in STUDIES}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.is_file()}


def page(told: dict[str, dict[str, Any]]) -> str:
    parts = [HEAD.format(articles="; ".join(f"{name}, {title}" for name, title in ARTICLES.items()))]
    parts += [contradiction(told["fractions"])] if "fractions" in told else []
    parts += [section(one) for one in told.values()]
    missing = sorted(set(STUDIES) - set(told))
    parts += [f"Without a verdict here yet: {', '.join(missing)}.\n"] if missing else []
    return "\n".join([*parts, "## Every row\n", *rows(told), ""])


def contradiction(told: dict[str, Any]) -> str:
    """With which of the two articles that contradict each other on data the study `fractions` sides, and at what scale.

    With the one of which more claims are supported; with neither where they are equally many.
    """
    said = {row: [c["verdict"] for c in told["claims"] if row in c["rows"]] for row in ("S1-09", "S2-21")}
    supported = {row: verdicts.count("supported") / len(verdicts) for row, verdicts in said.items()}
    most = max(supported, key=lambda row: supported[row])
    side = most if len(set(supported.values())) > 1 else "neither"
    each = "; ".join(f"{row}: {', '.join(verdicts)}" for row, verdicts in said.items())
    protocol = told["protocol"]
    scale = ", ".join(f"{key}={written(value)}" for key, value in protocol["settings"].items())
    return (
        "## Where two articles contradict each other\n\n"
        "Who needs more data? S1-09 says the ViT, S2-21 the ConvNet. These measurements side with "
        f"**{side}** ({each}), at the scale of the study `fractions`: networks of 50,000 to 80,000 weights, "
        f"preset {protocol['preset']}, {scale}.\n"
    )


def section(told: dict[str, Any]) -> str:
    """Question, measurement, figure and claims of a study."""
    name, protocol = told["study"], told["protocol"]
    settings = ", ".join(f"{key}={written(value)}" for key, value in protocol["settings"].items())
    lines = [
        f"## {name}: {told['question']}\n",
        f"{told['measurement']} Preset {protocol['preset']} on {protocol['device']}: {settings}.\n",
        f"[table](../samples/studies/{name}/table.csv), [verdict](../samples/studies/{name}/verdict.json)\n",
        f"![{told['question']}](../samples/studies/{name}/figure.png)\n",
        "| rows | claim | supported where | measured | verdict |",
        "|---|---|---|---|---|",
    ]
    for claim in told["claims"]:
        found = [estimate(one) for one in claim["estimates"]]
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        rule = claim["rule"].removeprefix("supported where ").partition(" over its whole")[0]
        cells = ", ".join(claim["rows"]) or "none", claim["claim"], rule, "; ".join(found[:SHOWN]) + more
        lines.append(f"| {' | '.join(cells)} | **{claim['verdict']}** |")
    return "\n".join(lines) + "\n"


def estimate(one: dict[str, Any]) -> str:
    low, high = one["interval"]
    interval = "" if low == high else f" [{low:.3g}, {high:.3g}]"
    count = f", n={one['n']}" if one["n"] > 1 else ""
    return f"{one['of']}: {one['value']:.4g}{interval}{count}"


def written(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)


def rows(told: dict[str, dict[str, Any]]) -> list[str]:
    """The table of all rows: what each says, and who answers it."""
    lines = ["| row | says | answer |", "|---|---|---|"]
    with ROWS.open(newline="") as file:
        for row in csv.DictReader(file):
            lines.append(f"| {row['row']} | {row['says'].replace('|', chr(92) + '|')} | {answer(row, told)} |")
    return lines


def answer(row: dict[str, str], told: dict[str, dict[str, Any]]) -> str:
    """The verdicts of all claims about a row, the test that holds it, or why there is neither."""
    found = [
        f"[{name}](#{anchor(one)}): **{claim['verdict']}** ({claim['claim']})"
        for name, one in told.items()
        for claim in one["claims"]
        if row["row"] in claim["rows"]
    ]
    if row["where"].startswith("tests/"):
        file, _, test = row["where"].partition("::")
        found.append(f"built, and held by [`{test}`](../{file})")
    elif row["where"]:
        found.append(row["where"])
    return "<br>".join(found) or "no study yet"


def anchor(told: dict[str, Any]) -> str:
    """Of a section's heading, as GitHub makes it."""
    heading = f"{told['study']}: {told['question']}".lower()
    return "".join(letter for letter in heading if letter.isalnum() or letter in " -").replace(" ", "-")


def main() -> None:
    if len(sys.argv) > 1:
        taken(Path(sys.argv[1]))
    PAGE.write_text(page(verdicts()))


if __name__ == "__main__":
    main()
