"""No secret of an address gets into a record: configurations with one are refused, messages that quote one masked."""

from __future__ import annotations

import datasets
import pytest
from runs import genvision, tree
from test_data_stream import config_of

from genvision.config.addresses import masked, secret_in
from genvision.data.source import Source
from genvision.errors import ConfigError, DataError

WORD = "hunter2-hunter2"
LOGINS = [
    f"https://user:{WORD}@host/train-000.tar",
    f"http://{WORD}@host/a.tar",
    f"sftp://user:{WORD}@host/a.tar",
    f"https://user%3A{WORD}@host/{{000..127}}.tar",
    f"zip://train.tar::https://user:{WORD}@host/a.zip",
    f"s3://id:{WORD}@bucket/a.parquet",
]
NAMES = (
    *("token", "access_token", "hf_token", "X-Amz-Security-Token", "key", "api_key", "apikey", "sig"),
    *("X-Amz-Signature", "X-Amz-Credential", "AWSAccessKeyId", "Signature", "secret", "client_secret", "password"),
    *("passwd", "pwd", "auth", "authorization", "jwt", "rlkey", "TOKEN", "%74oken", "X-Goog-Credential"),
)
PARAMETERS = [f"https://host/a.tar?versions=2&{name}={WORD}" for name in NAMES]
SECRET = [*LOGINS, *PARAMETERS, f"https://host/a.tar?token={WORD}&v=2", f"https://host/a.tar#token={WORD}"]
HARMLESS = [
    "https://example.org/train-{0000..0127}.tar",
    "https://example.org:8443/a@b/train-?.tar?versionId=3&keys=2&download=true&author=me",
    "hf://datasets/owner/name@main/train-000.parquet",
    "abfs://container@account.dfs.core.windows.net/a.parquet",
    "sftp://user@host/a.tar",
    "uoft-cs/cifar100",
    "shards/token=5/train-?.tar",
]


@pytest.mark.parametrize("address", SECRET)
def test_an_address_with_a_secret_is_refused_without_telling_it(address):
    with pytest.raises(ConfigError, match="data.path: its address holds a (login|secret, its parameter )") as caught:
        config_of(address)
    assert WORD not in str(caught.value) and len(str(caught.value)) <= 200
    said = masked(f"403 Forbidden for url: {address} ('{address}')")
    assert WORD not in said and said.count("***") == 2


@pytest.mark.parametrize("address", HARMLESS)
def test_any_other_address_stays_as_it_is(address):
    assert secret_in(address) is None and masked(f"404 for {address}") == f"404 for {address}"
    assert config_of(address).path == address


@pytest.mark.parametrize("key", ["data=steam:", "data.path=", "train.init_from=", "score.reference=", "typo="])
def test_it_is_refused_before_any_other_message_could_show_it(tmp_path, monkeypatch, key):
    """By whatever key it comes, on the command line or in a file, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(f"data:\n  path: {LOGINS[0]}\n")
    before = tree(tmp_path)
    for words in ([f"{key}{LOGINS[0]}"], ["--config", "mine.yaml", "data=stream:x"]):
        said = genvision("train", "--dry-run", "family=vae", "backbone=vit", *words)
        assert said.code == 2 and "its address holds a login" in said.error and WORD not in said.out + said.err
    assert tree(tmp_path) == before


def test_an_address_that_a_library_was_sent_to_is_masked(monkeypatch):
    def refused(*_, **__):
        raise OSError(f"403, url='https://cdn.host/a?Expires=1&Signature={WORD}&Key=2'")

    monkeypatch.setattr(datasets, "load_dataset_builder", refused)
    with pytest.raises(DataError, match=r"403, url='https://cdn.host/a\?Expires=1&Signature=\*\*\*&Key=\*\*\*'"):
        Source(config_of("hf://datasets/a/b/c.tar"), "train")
