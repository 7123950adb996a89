"""Configs: every shipped file resolves, sources take precedence in the documented order, and a dump loads to itself."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genvision.config import CONFIG_DIR, config_hash, load_config, ranges, to_yaml
from genvision.config.document import Entry, read_file
from genvision.config.groups import choices
from genvision.config.roles import network
from genvision.config.schema import (
    FAMILY_CONFIGS,
    EmaConfig,
    LogConfig,
    RunConfig,
    SampleConfig,
    ScoreConfig,
    TrainConfig,
)
from genvision.config.trunks import BACKBONES, FAMILY_ROLES, TRUNK_CONFIGS, TRUNK_ROLES
from genvision.errors import ConfigError

FAMILIES, SIZES, SETS = choices("family"), choices("size"), choices("data")
CELLS = list(itertools.product(FAMILIES, BACKBONES))


def select(config, key):
    """The value at a dotted key."""
    for name in key.split("."):
        config = config[name] if isinstance(config, dict) else getattr(config, name)
    return config


def from_text(tmp_path, text, *overrides):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return load_config(path, overrides)


def test_the_groups_on_disk_are_those_the_code_knows():
    assert set(FAMILIES) == set(FAMILY_ROLES)
    assert set(choices("backbone")) == set(BACKBONES)
    assert {"tiny", "small", "base", "large"} <= set(SIZES)
    assert SETS == ["cifar10", "cifar100", "fashion_mnist", "fashion_mnist_mini", "folder", "mnist", "stream"]
    assert choices("recipe")


def test_every_combination_of_groups_resolves_and_loads_back_from_its_dump(tmp_path):
    path = tmp_path / "config.yaml"
    hashes = set()
    combinations = {*itertools.product(CELLS, SETS, ["tiny"]), *itertools.product(CELLS, ["mnist"], SIZES)}
    for (family, backbone), data, size in combinations:
        place = {"folder": ("data=folder:/some/where",), "stream": ("data=stream:a/b", "data.classes=10")}
        words = place.get(data, (f"data={data}",))
        config = load_config(None, [f"family={family}", f"backbone={backbone}", f"size={size}", *words])
        assert (config.family.name, config.backbone, config.size) == (family, backbone, size)
        assert config.trunk == {}
        for role in ("encoder", "decoder", "denoiser", "predictor"):
            network = getattr(config, role)
            assert (network is not None) == (role in FAMILY_ROLES[family])
            if network:
                assert network.backbone == backbone
                assert network.trunk["name"] == BACKBONES[backbone][role]
                assert set(network.trunk) == {f.name for f in dataclasses.fields(TRUNK_CONFIGS[network.trunk["name"]])}
        if size == "tiny" and (data == "mnist" or backbone == "vit"):
            path.write_text(to_yaml(config))
            assert load_config(path) == config
        hashes.add(config_hash(config))
    assert len(hashes) == len(combinations)


@pytest.mark.parametrize("recipe", choices("recipe"))
def test_every_recipe_resolves(recipe, tmp_path):
    by_name = load_config(None, [f"recipe={recipe}"])
    assert load_config(CONFIG_DIR / "recipe" / f"{recipe}.yaml") == by_name
    (tmp_path / "config.yaml").write_text(to_yaml(by_name))
    assert load_config(tmp_path / "config.yaml") == by_name


@pytest.mark.parametrize("path", sorted(CONFIG_DIR.rglob("*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_file_says_at_its_head_what_it_is(path):
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("size", SIZES)
def test_size_files_hold_every_role_and_trunk_and_nothing_else(size):
    layer = read_file(CONFIG_DIR / "size" / f"{size}.yaml", size)
    served = {(role, trunk) for trunk, roles in TRUNK_ROLES.items() for role in roles}
    assert {tuple(key.split(".")[:2]) for key in layer} == served
    for key in layer:
        role, trunk, option = key.split(".")
        assert option in {f.name for f in dataclasses.fields(TRUNK_CONFIGS[trunk])} | (
            {"patch"} if role == "denoiser" else set()
        )


def test_nothing_chosen_is_the_quickstart():
    assert load_config(None, []) == load_config(None, ["recipe=quickstart"])
    assert load_config(None, ["train.seed=3"]).train.minutes == 4
    assert load_config(None, ["backbone=convnet"]).train.steps == 2000


def test_each_source_wins_over_the_one_before(tmp_path, monkeypatch):
    """base <- data <- family <- backbone <- recipe <- file <- command line, on one key that all of them set."""
    for folder in ("data", "family", "backbone", "size", "recipe"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr("genvision.config.groups.CONFIG_DIR", tmp_path)
    monkeypatch.setattr("genvision.config.load.CONFIG_DIR", tmp_path)
    for name in ("base.yaml", "family/diffusion.yaml", "size/small.yaml"):
        (tmp_path / name).write_text((CONFIG_DIR / name).read_text())
    sources = ["data/mnist.yaml", "family/diffusion.yaml", "backbone/vit.yaml", "recipe/mine.yaml", "file.yaml"]
    for name in (*sources, "data/fashion_mnist_mini.yaml"):
        with (tmp_path / name).open("a") as file:
            file.write("\n")
    mine = tmp_path / "file.yaml"
    mine.write_text("recipe: mine\nbackbone: vit\ndata: mnist\n")
    seen = [load_config(mine).train.seed]
    for seed, name in enumerate(sources, start=1):
        with (tmp_path / name).open("a") as file:
            file.write(f"train: {{seed: {seed}}}\n")
        seen.append(load_config(mine).train.seed)
    seen.append(load_config(mine, ["train.seed=6"]).train.seed)
    assert seen == [0, 1, 2, 3, 4, 5, 6]


def test_a_size_that_says_nothing_about_a_trunk_is_refused():
    size = {"encoder.conv.width": Entry("encoder.conv.width", "32", "configs/size/own.yaml:2")}
    found, _ = network("encoder", Entry("backbone", "convnet", ""), size, [{}], 0)
    assert found.trunk["width"] == 32
    with pytest.raises(ConfigError, match=r"^configs/size/own.yaml: says nothing about encoder.vit; add its width"):
        network("encoder", Entry("backbone", "vit", ""), size, [{}], 0)


@pytest.mark.parametrize(
    ("file", "overrides", "key", "value"),
    [
        ("", [], "denoiser.trunk.width", 32),  # the size file
        ("trunk: {width: 20}", [], "denoiser.trunk.width", 20),
        ("trunk: {width: 20}\ndenoiser: {trunk: {width: 21}}", [], "denoiser.trunk.width", 21),
        ("denoiser: {trunk: {width: 21}}", ["trunk.width=22"], "denoiser.trunk.width", 22),  # last word: the user's
        ("", ["denoiser.trunk.width=23", "trunk.width=22"], "denoiser.trunk.width", 23),
        ("denoiser: {trunk: {width: 21}}", ["size=tiny"], "denoiser.trunk.width", 8),
        ("denoiser: {trunk: {width: 21}}", ["size=tiny", "trunk.width=9"], "denoiser.trunk.width", 9),
        ("backbone: vit\ndenoiser: {patch: 4}", [], "denoiser.patch", 4),
        ("backbone: vit\ndenoiser: {patch: 4}", ["size=tiny"], "denoiser.patch", 2),
        ("denoiser: {trunk: {dropout: 0.1}}", ["size=tiny"], "denoiser.trunk.dropout", 0.1),
        ("size: tiny\ndenoiser: {trunk: {width: 21}}", [], "denoiser.trunk.width", 21),
        ("denoiser: {trunk: {width: 21}}", ["backbone=vit"], "denoiser.trunk.width", 112),
        ("", ["trunk.name=conv"], "denoiser.trunk.name", "conv"),
        ("", ["trunk.name=conv", "denoiser.trunk.name=vit"], "denoiser.trunk.name", "vit"),
        ("trunk: {name: conv}", ["backbone=vit"], "denoiser.trunk.name", "vit"),
        ("", ["denoiser.backbone=vit"], "denoiser.trunk.name", "vit"),
        ("", ["denoiser.backbone=vit"], "denoiser.patch", 2),
        ("", ["backbone=vit", "denoiser.patch=4"], "denoiser.patch", 4),
        ("data: {name: mnist, crop_padding: 2}", [], "data.crop_padding", 2),
        ("data: {name: mnist, crop_padding: 2}", ["data=cifar10"], "data.crop_padding", 0),
        ("data: {name: mnist, crop_padding: 2}", ["data=cifar10"], "data.flip", True),
        ("data: {name: cifar10}", [], "data.flip", True),
        ("data: folder:/a b/c", [], "data.path", "/a b/c"),
        ("", ["data=folder:/a #b: c"], "data.path", "/a #b: c"),
        ("", ["data.name=folder", "data.path=x"], "data.height", 64),
        ("family: {name: vae, beta: 2.5}", [], "family.beta", 2.5),
        ("family: {name: vae, beta: 2.5}", [], "encoder.trunk.name", "conv"),
        ("family: {name: vae, beta: 2.5}", ["family=vae"], "family.beta", 1.0),
        ("family: vae", ["encoder.backbone=vit"], "encoder.trunk.name", "vit"),
        ("family: vae", ["encoder.backbone=vit"], "decoder.trunk.name", "conv"),
        ("family: vae", ["encoder.backbone=vit", "decoder.trunk.width=8"], "decoder.trunk.width", 8),
        ("recipe: quickstart", [], "score.extractor", "efficientnet-lite0"),
        ("recipe: quickstart\nscore: {extractor: inception}", [], "score.extractor", "inception"),
        ("recipe: quickstart", ["family=vae"], "decoder.trunk.name", "conv"),
        ("train: {minutes: 3}", [], "train.steps", None),
        ("train: {minutes: 3}", ["train.images=1000"], "train.minutes", None),
        ("train: {minutes: 3}", ["train.images=1000"], "train.images", 1000),
        ("train: {steps: null, minutes: 3}", [], "train.minutes", 3.0),
        ("train: {precision: no}", [], "train.precision", "no"),
        ("", ["train.precision=no"], "train.precision", "no"),
        ("", ["run.name=010"], "run.name", "010"),
        ("run: {name: 1e3}", [], "run.name", "1e3"),
        ("", ["train.learning_rate=1e-4"], "train.learning_rate", 1e-4),
        ("train: {batch_size: 010}", [], "train.batch_size", 10),
        ("", ["train.betas=[0.8, 0.95]"], "train.betas", (0.8, 0.95)),
        ("", ["trunk.multipliers=[1,2]"], "denoiser.trunk.multipliers", [1, 2]),
        ("", ["backbone=vit"], "denoiser.trunk.window_size", None),
        ("", ["backbone=vit", "trunk.attention=window"], "denoiser.trunk.window_size", 7),
        ("", ["backbone=vit", "trunk.attention=window", "trunk.window_size=4"], "denoiser.trunk.window_size", 4),
        (
            "backbone: vit\ntrunk: {attention: window, window_size: 4}",
            ["trunk.window_size=5"],
            "denoiser.trunk.window_size",
            5,
        ),
        (
            "backbone: vit\ntrunk: {attention: window, window_size: 4}",
            ["trunk.attention=performer"],
            "denoiser.trunk.window_size",
            None,
        ),
        (
            "backbone: vit\ntrunk: {attention: window, window_size: 4}",
            ["trunk.attention=performer"],
            "denoiser.trunk.performer_features",
            64,
        ),
        (
            "backbone: vit\ntrunk: {attention: window, window_size: 4}",
            ["trunk.attention=window"],
            "denoiser.trunk.window_size",
            4,
        ),
        ("", ["data.path=null"], "data.path", None),
        ("", ["train={seed: 4, clip_norm: 2}"], "train.seed", 4),
        ("", ["train.seed=1", "train.seed=2"], "train.seed", 2),
        ("\ufefftrain: {seed: 5}", [], "train.seed", 5),
    ],
)
def test_precedence(tmp_path, file, overrides, key, value):
    config = from_text(tmp_path, file, *overrides)
    assert select(config, key) == value
    assert type(select(config, key)) is type(value)


def test_a_group_named_over_a_resolved_run_replaces_what_it_resolved(tmp_path):
    before = load_config(None, ["family=diffusion", "backbone=convnet", "size=small", "train.learning_rate=0.5"])
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(before))
    fresh = load_config(None, ["family=vae", "backbone=mixer", "size=tiny", "data=cifar10", "train.learning_rate=0.5"])
    assert load_config(path, ["family=vae", "backbone=mixer", "size=tiny", "data=cifar10"]) == fresh
    assert load_config(path, ["denoiser.trunk.name=conv"]).denoiser.trunk["width"] == 96  # not the U-Net's 32
    assert load_config(path, ["backbone=vit"]).denoiser.patch == 2
    assert load_config(path, ["denoiser.backbone=vit"]).denoiser == load_config(path, ["backbone=vit"]).denoiser


def test_the_hash_is_that_of_what_is_trained_and_drawn():
    def hash_of(*overrides):
        return config_hash(load_config(None, overrides))

    start = hash_of()
    assert len(start) == 64 and start == hash_of()
    assert start == hash_of("run.name=x", "run.dir=y", "log.every_steps=3", "log.tensorboard=true")
    assert start != hash_of("train.seed=1")
    assert start != hash_of("trunk.dropout=0.1")
    assert start != hash_of("sample.chunk_size=32")


def test_resolved_configs_are_frozen():
    config = load_config(None, [])
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.train.seed = 3


def test_every_number_has_exactly_one_range():
    ruled = [key for keys, _, _ in ranges._RULES for key in keys] + list(ranges.FINITE)
    assert len(ruled) == len(set(ruled))
    sections_of_a_run = ("data", "train", "log", "ema", "sample", "score", "run")
    sections = [(section, type(getattr(load_config(None, []), section))) for section in sections_of_a_run]
    sections += [("family", schema) for schema in FAMILY_CONFIGS.values()]
    sections += [("trunk", schema) for schema in TRUNK_CONFIGS.values()]
    numbers = {"patch"}  # a denoiser's own
    for section, schema in sections:
        for key, hint in typing.get_type_hints(schema).items():
            if _is_numeric(hint):
                numbers.add(f"{section}.{key}")
    assert numbers == set(ruled)


def _is_numeric(hint):
    return hint in (int, float) or any(map(_is_numeric, typing.get_args(hint)))


WORDS = st.text(min_size=1, max_size=20).filter(lambda text: "${" not in text and text != "???")
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
OWN = {  # what has rules that its type does not say
    ("run", "name"): st.none() | NAMES,
    ("train", "steps"): st.integers(1, 10**9),
    ("train", "batch_size"): st.integers(100, 10**9),
    ("train", "micro_batch_size"): st.none() | st.integers(1, 100),
    ("train", "images"): st.none(),
    ("train", "minutes"): st.none(),
}


def drawn(section: str, name: str, hint: object) -> st.SearchStrategy:
    """Any value of a field: numbers above 0, and below 1 where they have a fraction, which every rule allows."""
    if (section, name) in OWN:
        return OWN[section, name]
    if typing.get_origin(hint) is typing.Literal:
        return st.sampled_from(typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return st.tuples(*(drawn(section, name, part) for part in typing.get_args(hint)))
    if parts := typing.get_args(hint):
        return st.one_of(*(drawn(section, name, part) for part in parts))
    numbers = {bool: st.booleans(), int: st.integers(1, 10**9), float: st.floats(1e-300, 1, exclude_max=True)}
    return {**numbers, str: WORDS, type(None): st.none()}[hint]


SECTIONS = {"train": TrainConfig, "log": LogConfig, "ema": EmaConfig, "sample": SampleConfig, "score": ScoreConfig}
SECTIONS |= {"run": RunConfig}
ANY_CONFIG = st.fixed_dictionaries(
    {
        section: st.builds(
            schema, **{name: drawn(section, name, hint) for name, hint in typing.get_type_hints(schema).items()}
        )
        for section, schema in SECTIONS.items()
    }
)


@settings(max_examples=25)
@given(family=st.sampled_from(FAMILIES), sections=ANY_CONFIG)
def test_dump_and_load_are_inverse(tmp_path_factory, family, sections):
    config = dataclasses.replace(load_config(None, [f"family={family}"]), **sections)
    path = tmp_path_factory.mktemp("dump") / "config.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert load_config(path) == config


def test_no_torch_is_imported():
    code = (
        "import sys, genvision; from genvision.config import load_config, to_yaml; to_yaml(load_config(None, []));"
        "heavy = {'torch', 'numpy', 'diffusers', 'torchvision'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
