"""Every wrong setting is one ConfigError of at most 200 characters: where it stands, which key, what to do."""

from __future__ import annotations

import os
import re
import string
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genvision.config import CONFIG_DIR, load_config
from genvision.config.document import fault
from genvision.config.ranges import check_ranges, leaves
from genvision.config.schema import FAMILY_CONFIGS
from genvision.config.trunks import TRUNK_CONFIGS
from genvision.config.typed import field_names
from genvision.config.usual import USUAL
from genvision.errors import ConfigError

CONFIG = load_config(None, ["family=vae"])


def message_of(path=None, overrides=()):
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    text = str(caught.value)
    assert len(text) <= 200 and "\n" not in text
    return text


def in_file(tmp_path, text, *overrides):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return message_of(path, overrides)


NAMES = ("../../x", "/etc/x", "a\0b", "a/b", "x" * 101, "\u202egnp.exe", "-x", "..", "a b", "a\n", "\u0663")


@settings(max_examples=1000)
@given(
    st.one_of(st.text(max_size=120), st.from_regex(r"[A-Za-z0-9._-]{1,105}", fullmatch=True), st.sampled_from(NAMES))
)
def test_a_run_is_named_by_letters_digits_and_a_few_marks(name):
    config = replace(CONFIG, run=replace(CONFIG.run, name=name))
    if len(name) <= 100 and set(name) <= {*string.ascii_letters, *string.digits, *"._-"} and name[:1].isalnum():
        check_ranges(config, {})
        assert os.path.realpath(f"/runs/{name}") == f"/runs/{name}"  # inside of run.dir, under that name
    else:
        with pytest.raises(ConfigError, match=r"run\.name: .*letters, digits, \. _ - \(at most 100\)"):
            check_ranges(config, {})


TYPOS = [
    ("train.step", "train.steps"),
    ("train.learning_rte", "train.learning_rate"),
    ("train.lerning_rate", "train.learning_rate"),
    ("train.batchsize", "train.batch_size"),
    ("train.batch_sise", "train.batch_size"),
    ("trian.steps", "train.steps"),
    ("train.warmup_step", "train.warmup_steps"),
    ("train.weight_deacy", "train.weight_decay"),
    ("train.beta", "train.betas"),
    ("train.precison", "train.precision"),
    ("learning_rate", "train.learning_rate"),
    ("batch_size", "train.batch_size"),
    ("log.every_step", "log.every_steps"),
    ("log.tensorbord", "log.tensorboard"),
    ("ema.dacay", "ema.decay"),
    ("sample.num_image", "sample.num_images"),
    ("sample.shceduler", "sample.scheduler"),
    ("sample.guidence", "sample.guidance"),
    ("score.extracter", "score.extractor"),
    ("score.refrence", "score.reference"),
    ("run.nmae", "run.name"),
    ("data.fliip", "data.flip"),
    ("data.crop_pading", "data.crop_padding"),
    ("family.label_dropuot", "family.label_dropout"),
    ("family.predicton", "family.prediction"),
    ("trunk.wdith", "denoiser.trunk.width"),
    ("denoiser.trunk.dpeth", "denoiser.trunk.depth"),
    ("denoiser.backbon", "denoiser.backbone"),
    ("bakcbone", "backbone"),
    ("checkpoints", "train.keep_checkpoints"),
]


@pytest.mark.parametrize(("typo", "meant"), TYPOS, ids=[typo for typo, _ in TYPOS])
def test_a_misspelt_key_is_answered_with_the_one_that_was_meant(tmp_path, typo, meant):
    for text in (message_of(None, [f"{typo}=1"]), in_file(tmp_path, _nested(typo))):
        assert typo in text and re.search(rf"did you mean {re.escape(meant)}\?", text)
    assert re.search(rf"mine\.yaml:{2 + typo.count('.')}: ", text)


def _nested(key, value="1"):
    """The YAML of one key, a line per level, under a comment; the value stands on the last line."""
    parts = key.split(".")
    return "# head\n" + "".join(
        f"{'  ' * i}{part}:{'' if part != parts[-1] else ' ' + value}\n" for i, part in enumerate(parts)
    )


WRONG = [
    ("train.steps=abc", "train.steps: expected a whole number or null, got abc"),
    ("train.steps=1.5", "train.steps: expected a whole number or null, got 1.5"),
    ("train.seed=true", "train.seed: expected a whole number, got true"),
    ("train.seed=null", "train.seed: expected a whole number, got null"),
    ("train.seed=12:30:45", "train.seed: expected a whole number, got 12:30:45"),
    ("train.learning_rate=fast", "train.learning_rate: expected a number, got fast"),
    ("train.learning_rate=on", "train.learning_rate: expected a number, got on"),
    ("train.learning_rate=[1]", "train.learning_rate: expected a number, got [1]"),
    ("train.betas=0.9", "train.betas: expected a list of 2 numbers, got 0.9"),
    ("train.betas=[0.9]", "train.betas: expected a list of 2 numbers, got [0.9]"),
    ("train.betas=[0.9, x]", "train.betas: expected a list of 2 numbers, got [0.9, x]"),
    ("train.schedule=cosin", "train.schedule: expected one of constant, cosine, linear, got cosin"),
    ("train.precision=off", "train.precision: expected one of auto, no, bf16, fp16, got off"),
    ("train.precision=[bf16]", "train.precision: expected one of"),
    ("log.tensorboard=maybe", "log.tensorboard: expected true or false, got maybe"),
    ("data.flip=2", "data.flip: expected true or false, got 2"),
    ("family.path=flwo", "family.path: expected one of flow, cosine, linear, edm, got flwo"),
    ("trunk.attention=perhaps", "trunk.attention: expected true or false, got perhaps"),
    ("denoiser.trunk.multipliers=2", "denoiser.trunk.multipliers: expected a list of whole numbers, got 2"),
    ("denoiser.trunk.multipliers=[]", "denoiser.trunk.multipliers: must not be empty"),
    ("denoiser.patch=x", "denoiser.patch: expected a whole number, got x"),
    ("train=5", "train is a section; set one of its keys, such as train."),
    ("trunk=vit", "trunk is a section"),
    ("denoiser=vit", "denoiser is a section"),
    ("train.steps.x=5", "unknown key train.steps.x; did you mean train.steps?"),
    ("train.learning_rate=.nan", "train.learning_rate: expected a number, got .nan"),
    ("train.learning_rate=nan", "train.learning_rate: nan is no usable number"),
    ("train.learning_rate=inf", "train.learning_rate: inf is no usable number"),
    ("train.seed=99999999999999999999", "train.seed: 99999999999999999999 is no usable number"),
    ("train.batch_size=0", "train.batch_size: must be more than 0, not 0"),
    ("train.steps=-1", "train.steps: must be more than 0, not -1"),
    ("train.minutes=0", "train.minutes: must be more than 0, not 0"),
    ("train.seed=-1", "train.seed: must be 0 or more, not -1"),
    ("sample.guidance=-0.5", "sample.guidance: must be 0 or more, not -0.5"),
    ("train.betas=[0.9, 1]", "train.betas: must be from 0 to below 1, not 1.0"),
    ("ema.decay=1", "ema.decay: must be from 0 to below 1, not 1.0"),
    ("data.validation_fraction=1.5", "data.validation_fraction: must be from 0 to below 1, not 1.5"),
    ("family.label_dropout=1.01", "family.label_dropout: must be from 0 to 1, not 1.01"),
    ("data.channels=5", "data.channels: must be from 1 to 4, not 5"),
    ("denoiser.trunk.width=0", "denoiser.trunk.width: must be more than 0, not 0"),
    ("trunk.width=0", "trunk.width: must be more than 0, not 0"),
    ("denoiser.trunk.multipliers=[1, 0]", "denoiser.trunk.multipliers: must be more than 0, not 0"),
    ("train.micro_batch_size=129", "train.micro_batch_size: must be at most train.batch_size, 128"),
    ("run.name=../x", "run.name: '../x': letters, digits"),
    ("run.name=-x", "run.name: '-x': letters, digits"),
    (f"run.name={'x' * 101}", "run.name: 'xxxx"),
    ("run.dir=", "run.dir: expected a text, got null"),
    ("run.dir=''", "run.dir: must not be empty"),
    ("data.path=/x", "data.path: only data=folder and data=stream have one, not fashion_mnist_mini"),
    ("data=folder", "data.path: what to read is missing; write data=folder:PATH"),
    ("data=folder:", "data.path: what to read is missing; write data=folder:PATH"),
]


@pytest.mark.parametrize(("override", "expected"), WRONG, ids=[override[:40] for override, _ in WRONG])
def test_a_wrong_value_names_its_key_and_what_was_expected(override, expected):
    assert message_of(None, [override, "backbone=convnet"]).startswith(f"command line: {expected}")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["backbone=vitt"], "backbone=vitt is unknown (did you mean vit?); choose one of convnet, mixer, vit"),
        (["family=dffusion"], "family=dffusion is unknown (did you mean diffusion?); choose one of autoregressive"),
        (["size=huge"], "choose one of base, base-64, base-latent, large, large-64, large-latent, mini,"),
        (["recipe=quikstart"], "(did you mean quickstart?)"),
        (["data=mnsit"], "(did you mean mnist?)"),
        (["data=../../etc/passwd"], "data=../../etc/passwd is unknown"),
        (["size="], "size= is unknown; choose one of base, base-64, base-latent, large,"),
        (["data.name=[a]"], "data=[a] is unknown; choose one of"),
        (["encoder.backbone=vit"], "encoder.backbone: family=diffusion has no encoder; its networks: denoiser"),
        (["family=vae", "denoiser.trunk.width=8"], "family=vae has no denoiser; its networks: encoder and decoder"),
        (["denoiser.backbone=resnet"], "denoiser.backbone: no backbone resnet; choose one of convnet, vit, mixer"),
        (["trunk.name=resnet"], "trunk.name=resnet: no such trunk; choose one of conv, unet, vit, mixer"),
        (
            ["denoiser.trunk.name=pixelcnn"],
            "denoiser.trunk.name=pixelcnn: cannot serve as denoiser; choose one of conv",
        ),
        (["family=vae", "trunk.name=unet"], "trunk.name=unet: cannot serve as encoder; choose one of conv, vit, mixer"),
        (["backbone=vit", "trunk.kernel=3"], "trunk.kernel: trunk vit of the denoiser has no such option"),
        (["family=autoregressive", "trunk.kernel=4"], "trunk.kernel: must be an odd number"),
        (
            ["backbone=vit", "trunk.window_size=4"],
            "trunk.window_size: an option of trunk.attention=window, but the denoiser has full; leave it out",
        ),
        (
            ["backbone=vit", "trunk.attention=performer", "denoiser.trunk.linformer_rank=4"],
            "denoiser.trunk.linformer_rank: an option of trunk.attention=linformer, but the denoiser has performer",
        ),
        (
            ["backbone=vit", "family=autoregressive", "trunk.attention=linformer"],
            "trunk.attention=linformer: cannot serve as predictor; choose one of full, performer",
        ),
        (["backbone=vit", "trunk.attention=sparse"], "expected one of full, window, linformer, performer, got sparse"),
        (["backbone=vit", "trunk.attention=window", "trunk.window_size=0"], "trunk.window_size: must be more than 0"),
        (["trunk.window_size=4"], "trunk.window_size: trunk unet of the denoiser has no such option"),
        (["family=vae", "encoder.patch=2"], "encoder.patch: only a denoiser has a patch; set family.downsample"),
        (["family=vae", "family.path=flow"], "family.path=flow means nothing with family=vae: it is for diffusion"),
        (
            ["family=vae", "family.latent=vq", "family.beta=2"],
            "family.beta=2 means nothing with family.latent=vq: it is for gaussian",
        ),
        (
            ["family=vae", "family.latent=fsq", "family.top_downsample=2"],
            "family.top_downsample=2 means nothing with family.latent=fsq: it is for gaussian",
        ),
        (
            ["family=vae", "family.codebook_size=64"],
            "family.codebook_size=64 means nothing with family.latent=gaussian: it is for vq",
        ),
        (
            ["family=vae", "family.output_scale=0.1"],
            "means nothing with family.likelihood=logistic_mixture: it is for logistic",
        ),
        (["family=vae", "family.latent=fsq", "family.fsq_levels=[8,1]"], "family.fsq_levels: must be 2 or more, not 1"),
        (["family=vae", "family.latent=vq", "family.codebook_size=1"], "family.codebook_size: must be 2 or more"),
        (
            ["family=vae", "family.latent=fsq", "family.latent_channels=3"],
            "family.latent_channels=3 means nothing with family.latent=fsq: it is for gaussian or vq",
        ),
        (
            ["family=autoregressive", "family.mixtures=3"],
            "family.mixtures=3 means nothing with family.likelihood=categorical: it is for logistic_mixture",
        ),
        (["family.min_snr_gamma=3"], "family.min_snr_gamma=3 means nothing with family.weight=none: it is for min_snr"),
        (["family.sigma_data=0.3"], "family.sigma_data=0.3 means nothing with family.path=flow: it is for edm"),
        (
            ["family.log_normal_std=1"],
            "family.log_normal_std=1 means nothing with family.times=logit_normal: it is for log_normal",
        ),
        (
            ["train.steps=5", "train.images=5"],
            "train.steps: give one of train.steps, train.images, train.minutes; here:",
        ),
        (["train.minutes=null"], "train.steps: give one of train.steps, train.images, train.minutes; here: none"),
        (["train.minutes=1", "train.warmup_steps=19"], "train.warmup_steps: must be at least 20 with train.minutes"),
        (["--backbone"], "--backbone: no value; write key=value"),
        (["backbone"], "backbone: no value; write key=value, such as train.steps=1000"),
        (["=5"], "'' is not a key; write key=value"),
        (["a..b=5"], "'a..b' is not a key; write key=value"),
        (["data=folder:x", "data.height=null"], "data.height: a folder has no size of its own; give a number"),
        (["data=folder:x", "data.height=32"], "data.height: a folder has no size of its own; give data.width too"),
        (["data=folder:x", "data.width=32"], "data.width: a folder has no size of its own; give data.height too"),
        (["data=stream:x", "data.labels=false", "data.width=32"], "data.width: a stream has no size of its own"),
        (["run.name=[x"], "not valid YAML"),
        (["run.name=${oc.env:HOME}"], "interpolation is not read"),
        (["run.name=???"], "interpolation is not read"),
        (["train.seed=!!python/object/apply:os.system [ls]"], "tag tag:yaml.org,2002:python/object"),
        (["train={seed: {a: 1}}"], "unknown key train.seed.a"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_wrong_choice_names_those_that_can(overrides, expected):
    assert expected in message_of(None, overrides)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train:\n  seed: 1\n  seed: 2\n", "mine.yaml:3: train.seed: given twice"),
        ("train: {seed: 1}\nlog: {every_steps: 1}\ntrain: {steps: 5}\n", "mine.yaml:3: train: given twice"),
        ("a: &x [1]\nb: *x\n", "mine.yaml:1: anchors and aliases"),
        ("a: *x\n", "mine.yaml:1: anchors and aliases"),
        ("<<: {a: 1}\n", "mine.yaml:1: '<<' is not a key"),
        ("train:\n  seed: ${oc.env:HOME}\n", "mine.yaml:2: ${oc.env:HOME}: interpolation is not read"),
        ("train: !!python/object/apply:os.system ['ls']\n", "mine.yaml:1: tag"),
        ("train: !!python/name:os.system\n", "mine.yaml:1: tag"),
        ("_target_: os.system\n", "mine.yaml:1: unknown key _target_"),
        ("train:\n\tseed: 1\n", "mine.yaml:2: not valid YAML"),
        ("train: [\n", "not valid YAML"),
        ("- train\n", "mine.yaml: not a table of settings"),
        ("just words\n", "mine.yaml: not a table of settings"),
        ("train: {seed: 1}\n---\ntrain: {seed: 2}\n", "a second document"),
        ("train: {betas: [[1], 2]}\n", "mine.yaml:1: train.betas: a list of plain values"),
        ("? [a]\n: 1\n", "is not a key"),
        ("1: x\n", "mine.yaml:1: '1' is not a key"),
        ("train.seed: 1\n", "mine.yaml:1: 'train.seed' is not a key; keys are words, nested for sections"),
        ("train: {seed: 1}\x00\n", "not valid YAML"),
        (b"train: {seed: \xff}\n", "not UTF-8 at byte 14"),
        ("#" * 1_000_001, "larger than 1 MB"),
        ("{a: " * 3000 + "1" + "}" * 3000, "nested deeper than 8 levels"),
        ("[" * 3000 + "]" * 3000, "a list of plain values"),
        ("train:\n  steps: 5\n  images: 5\n", "mine.yaml:2: train.steps: give one of"),
        ("train:\n  seed: -5\n", "mine.yaml:2: train.seed: must be 0 or more"),
        ("\n\nfamily: gan\n", "mine.yaml:3: family=gan is unknown"),
        ("recipe: nope\n", "mine.yaml:1: recipe=nope is unknown"),
        ("trunk: {name: pixelcnn}\n", "mine.yaml:1: trunk.name=pixelcnn: cannot serve as denoiser"),
        (
            "family: vae\ndenoiser:\n  trunk: {width: 8}\n",
            "mine.yaml:3: denoiser.trunk.width: family=vae has no denoiser",
        ),
    ],
    ids=lambda value: str(value)[:40].encode("unicode_escape").decode(),
)
def test_a_hostile_or_broken_file_is_refused_at_once_with_its_line(tmp_path, text, expected):
    start = time.monotonic()
    assert expected in in_file(tmp_path, text)
    assert time.monotonic() - start < 5  # a second on an idle machine


def test_an_unreadable_file_is_named(tmp_path):
    assert "nowhere.yaml: cannot read this config file (No such file" in message_of(tmp_path / "nowhere.yaml")
    assert "cannot read this config file (Is a directory)" in message_of(tmp_path)


def test_a_recipe_cannot_be_named_beside_a_file(tmp_path):
    assert "give one of them" in in_file(tmp_path, "", "recipe=quickstart")


def test_an_error_in_a_file_is_blamed_on_the_last_source_that_set_the_key(tmp_path):
    assert in_file(tmp_path, "train: {seed: -5}", "train.seed=-6").startswith("command line: train.seed")


def test_messages_never_pass_200_characters():
    text = str(fault("d/" * 200 + "mine.yaml:3", "x" * 500))
    assert len(text) == 200 and "mine.yaml:3: xxx" in text


@settings(max_examples=150)
@given(
    st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | st.from_regex(r"(train|data|trunk):\n  \w+: .*\n")
)
def test_any_document_is_valid_or_one_line(tmp_path_factory, document):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(document if isinstance(document, bytes) else document.encode("utf-8", "surrogatepass"))
    try:
        load_config(path)
    except ConfigError as error:
        assert len(str(error)) <= 200 and "\n" not in str(error)


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("lr", "set train.learning_rate"),
        ("train.lr", "set train.learning_rate"),
        ("epochs", "set train.steps, or train.images: epochs times the images of the set"),
        ("device", "accelerators are found by themselves, and chosen among with CUDA_VISIBLE_DEVICES"),
        ("data.size", "set data.height and data.width"),
        ("model", "write backbone=convnet, vit or mixer"),
        ("seed", "did you mean train.seed?"),
        ("dataste", "did you mean data?"),
        ("vocabulary", "genvision train --dry-run prints all keys"),
    ],
)
def test_what_other_projects_call_it_is_told_and_nothing_far_is_suggested(word, remedy):
    assert message_of(None, [f"{word}=1"]) == f"command line: unknown key {word}; {remedy}"


def test_the_table_of_other_names_leads_to_keys_that_exist():
    valid = {key for key, _ in leaves(load_config())} | {"train.images", "trunk.width", "trunk.depth", "data.path"}
    valid |= {f"trunk.{name}" for schema in TRUNK_CONFIGS.values() for name in field_names(schema)}
    valid |= {f"family.{name}" for schema in FAMILY_CONFIGS.values() for name in field_names(schema)}
    named = [key for text in USUAL.values() for key in re.findall(r"[a-z]+\.[a-z_]+", text)]
    assert set(named) <= valid and len(named) > 50
    assert not USUAL.keys() & {key.rpartition(".")[2] for key in valid}  # a word of ours would never be unknown


def test_a_choice_that_is_like_none_is_answered_with_all_and_an_option_with_those_of_its_trunk():
    assert message_of(None, ["family=gan"]) == (
        "command line: family=gan is unknown; choose one of autoregressive, diffusion, vae"
    )
    text = message_of(None, ["backbone=vit", "trunk.zzz=3"])
    assert "trunk vit of the denoiser has no such option; choose one of name, width, depth, head_width" in text
    assert "; set trunk.head_width, the channels of a head" in message_of(None, ["backbone=vit", "trunk.heads=3"])


def test_a_folder_that_is_there_is_what_data_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "folder:" not in message_of(None, ["data=photos"])
    (tmp_path / "photos").mkdir()
    assert message_of(None, ["data=photos"]).startswith(
        "command line: data=photos is unknown (did you mean folder:photos?); choose one of cifar10"
    )


def test_a_path_in_place_of_a_name_is_told_where_names_lie():
    for group in ("size", "backbone"):
        place = f"a {group} of your own lies in {CONFIG_DIR / group}, its name without .yaml"
        assert message_of(None, [f"{group}=my/{group}.yaml"]).endswith(f"{group}=my/{group}.yaml is no name; {place}")
    assert message_of(None, ["recipe=mine.yaml"]).endswith("is no name; a recipe of your own is given with --config")
