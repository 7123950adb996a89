"""The plan of the house, read off the syntax trees: files import lower layers only, packages keep to their rooms.

Imports inside functions count too, except in layer 10, whose files import late so that a typo answers at once.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import genvision
from genvision.config.trunks import BACKBONES, FAMILY_ROLES, TRUNK_ROLES
from genvision.data.named import NAMED

PACKAGE = Path(genvision.__file__).parent
COMMANDS = ("dry_run", "score_command", "sample_command", "match_command")
LAYERS = {
    0: ("spec", "errors", "storage", "machine", "fingerprint", "interruption", "faults", "config"),
    1: ("layers", "probability"),
    2: ("trunks",),
    3: ("networks",),
    4: ("families",),
    5: ("build", "data"),
    6: ("sampling",),
    7: ("training", "evaluation"),
    8: (
        "exports",
        "pipelines",
        "experiment",
        "run_folder",
        "run_samples",
        "initialise",
        "loading",
        "codecs",
        "outcome",
        "scoring",
        "validation",
        "dry_run",
        "activations",
        "score_command",
        "sample_command",
        "match_command",
        "matching",
        "comparison",
        "verification",
        "reproduction",
        "resampling",
        "step_time",
    ),
    9: ("analysis",),
    10: ("cli", "commands", "parsers", "doctor", "__init__", "__main__"),
}
# the leaves of the lowest layer, the parts of one run and the commands are open to each other
UNITS = [set(LAYERS[0]), set(LAYERS[8]), set(LAYERS[10])]
LAYER_OF = {name: layer for layer, names in LAYERS.items() for name in names}

# package -> where it may appear: a folder or a file below genvision/
ROOMS = {
    "einops": ("layers/", "trunks/", "networks/", "probability/"),
    "torchvision": ("data/", "sampling/", "doctor.py"),  # the doctor asks whether it can be imported at all
    "accelerate": ("training/", "sampling/", "evaluation/", *(f"{name}.py" for name in UNITS[1])),
    "torch_fidelity": ("evaluation/",),
    "timm": ("evaluation/",),
    "diffusers": (
        "layers/",
        "networks/",
        "families/diffusion.py",
        "families/schedulers.py",
        "exports.py",
        "pipelines.py",
    ),
    "torch": ("*",),
    "yaml": ("config/document.py",),
    "pickle": (),
    "shelve": (),
    "joblib": (),
}
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def imports(source: str) -> set[str]:
    """Every absolute dotted name that a source file imports, wherever the statement stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import: write the full name"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def unit(file: str) -> str:
    """ "layers/block.py" -> "layers", "build.py" -> "build"."""
    return file.removesuffix(".py").split("/")[0]


def climbs(file: str, source: str) -> list[str]:
    """The imports of a file that do not go down."""
    own, faults = unit(file), []
    for name in imports(source):
        if name.split(".")[0] != "genvision" or name == "genvision.__version__":  # a constant has no layer
            continue
        target = name.split(".")[1]
        if target not in LAYER_OF:
            target = "__init__"  # a name of the package itself, such as genvision.load
        together = target == own or any({own, target} <= unit for unit in UNITS)
        if not together and LAYER_OF[target] >= LAYER_OF[own]:
            faults.append(name)
    return faults


def misplaced(file: str, source: str) -> list[str]:
    """The imports of a file that belong into another room."""
    packages = {name.split(".")[0] for name in imports(source)}
    return [name for name in packages if name in ROOMS and not file.startswith(ROOMS[name]) and "*" not in ROOMS[name]]


@pytest.mark.parametrize("file", FILES)
def test_a_file_stands_in_a_layer_and_imports_lower_ones_only(file):
    assert unit(file) in LAYER_OF, f"give {unit(file)} a layer, here and in docs/ARCHITECTURE.md"
    assert climbs(file, (PACKAGE / file).read_text()) == []


@pytest.mark.parametrize("file", FILES)
def test_packages_keep_to_their_rooms(file):
    assert misplaced(file, (PACKAGE / file).read_text()) == []


@pytest.mark.parametrize(
    "file", [file for file in FILES if LAYER_OF.get(unit(file)) == 10 or file.startswith("config/")]
)
def test_what_answers_a_typo_imports_nothing_heavy_at_its_top(file):
    top = ast.Module([node for node in ast.parse((PACKAGE / file).read_text()).body], [])
    statements = [node for node in top.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = imports(ast.unparse(ast.Module(statements, [])))
    light = [
        f"genvision.{name}" for name in ("errors", "spec", "machine", "interruption", "commands", "parsers", "cli")
    ]
    light += ["genvision.config"] if file.startswith("config/") else []
    heavy = {"torch", "torchvision", "numpy", "diffusers", "accelerate", "timm", "matplotlib", "PIL"}
    assert not {name for name in names if name.split(".")[0] in heavy}
    assert not {name for name in names if name.startswith("genvision") and not name.startswith(tuple(light))}


def test_the_loop_is_short_and_names_no_family_trunk_or_dataset():
    source = (PACKAGE / "training" / "loop.py").read_text()
    assert len(source.splitlines()) <= 120
    names = {*FAMILY_ROLES, *TRUNK_ROLES, *BACKBONES, *NAMED}
    assert not names & {word for text in re.findall(r"\w+", source.lower()) for word in (text, *text.split("_"))}


@pytest.mark.parametrize("file", FILES)
def test_training_state_is_never_left_to_accelerate(file):
    """Its checkpoints pickle, and restore neither our order of data nor our noise."""
    assert not re.search(r"\.(save|load)_state\(", (PACKAGE / file).read_text())


def test_files_have_no_catch_all_names():
    assert not {"utils", "helpers", "common", "misc"} & {Path(file).stem for file in FILES}


@pytest.mark.parametrize(
    ("file", "source", "fault"),
    [
        ("layers/block.py", "from genvision.trunks import conv", "genvision.trunks.conv"),
        ("layers/block.py", "from genvision.probability.path import Flow", "genvision.probability.path.Flow"),
        ("build.py", "def f():\n    import genvision.training.loop", "genvision.training.loop"),
        ("training/loop.py", "from genvision import load", "genvision.load"),
        ("experiment.py", "from genvision.analysis import perform", "genvision.analysis.perform"),
    ],
)
def test_the_test_sees_an_import_that_climbs(file, source, fault):
    assert climbs(file, source) == [fault]


def test_the_test_sees_a_package_in_the_wrong_room():
    assert misplaced("training/loop.py", "def f():\n    from einops import rearrange") == ["einops"]
    assert misplaced("layers/block.py", "from einops import rearrange\nimport torch") == []
    assert misplaced("training/loop.py", "import pickle") == ["pickle"]
