"""A password in a URL is in no message and no file, and is refused with the right way named."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import cli
from engine.chunked.errors import UsageError, describe, without_credentials
from engine.chunked.executors.connect import connect
from engine.chunked.storage import Remote, locate

SECRET = "hunter2"
URLS = [
    f"http://alice:{SECRET}@host/r.csv",
    f"https://alice:{SECRET}@host:8080/r.csv",
    f"https://{SECRET}@host/r.csv",
    f"s3://KEY:{SECRET}@bucket",
    f"s3://KEY:{SECRET}@bucket/folder/ratings.csv",
    f"s3://KEY:{SECRET}/with/slashes@bucket/folder",
    f"s3://KEY:{SECRET}@with@signs@bucket/folder",
    f"s3a://KEY:{SECRET}@bucket",
    f"gs://KEY:{SECRET}@bucket",
    f"simplecache::https://alice:{SECRET}@host/r.csv",
]


@pytest.mark.parametrize("url", URLS)
def test_credentials_are_refused_and_not_repeated(url: str) -> None:
    for place in (locate, Remote):
        with pytest.raises(UsageError, match="credentials in a URL") as raised:
            place(url)
        assert SECRET not in str(raised.value)
        assert ("AWS_ACCESS_KEY_ID" in str(raised.value)) == url.startswith("s3")


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/user@host/x",
        "http://localhost:8080/a@b.csv",
        "http://[::1]:80/a@b",
        "memory://a",
        "https://h/x:y@z",
    ],
)
def test_other_signs_are_no_credentials(url: str) -> None:
    assert str(locate(url)) == url


@pytest.mark.parametrize("url", URLS[:6])
@pytest.mark.parametrize("command", ["dataset", "workdir", "status", "clean", "report", "set", "config", "out"])
def test_no_command_tells_them_or_writes_them_down(
    url: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating\n1,1,4\n2,1,3\n")
    (tmp_path / "run.toml").write_text(f'dataset = "{url}"\n')
    arguments = {
        "dataset": ["run", url],
        "workdir": ["run", "ratings.csv", "--workdir", url],
        "set": ["run", "--set", f"dataset={url}"],
        "config": ["run", "--config", "run.toml"],
        "out": ["report", "w", "--out", url],
    }.get(command, [command, url])
    assert cli.main(arguments) == 2
    out, err = capfd.readouterr()
    assert SECRET not in out + err
    assert "credentials in a URL" in err
    assert len(err.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ratings.csv", "run.toml"]


def test_a_schedulers_address_has_none_either() -> None:
    with (
        pytest.raises(UsageError, match="credentials in a URL") as raised,
        connect("dask", allowed=None, workers=None, scheduler=f"tls://me:{SECRET}@host:8786"),
    ):
        pass
    assert SECRET not in str(raised.value)


def test_what_libraries_say_of_an_endpoint_is_told_without() -> None:
    said = f"Could not connect to the endpoint URL: 'http://me:{SECRET}@host:9/x'"
    assert without_credentials(said) == "Could not connect to the endpoint URL: 'http://...@host:9/x'"
    assert SECRET not in describe(RuntimeError(said)).message


@pytest.mark.parametrize("url", ["s3://bucket/../x", "s3://bucket/a/..", "s3://.."])
def test_a_store_has_no_folder_above(url: str) -> None:
    with pytest.raises(UsageError, match=r"there is no '\.\.'"):
        locate(url)
