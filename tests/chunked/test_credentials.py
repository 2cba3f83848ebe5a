"""A password or a signature in a URL is in no message and no file, and is refused with the right way named."""

from __future__ import annotations

from pathlib import Path

import pytest

import engine
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
SIGNED = [
    f"https://bucket.s3.amazonaws.com/r.csv?X-Amz-Credential=AKIA&X-Amz-Signature={SECRET}",
    f"http://host/r.csv?token={SECRET}",
    f"https://host/r.csv?{SECRET}",
    f"https://host?sig={SECRET}/r.csv",
    f"https://host/r.csv#access_token={SECRET}",
    f"s3://bucket/r.csv?X-Amz-Signature={SECRET}",
    f"abfs://container/r.csv?sv=2024&sig={SECRET}",
    f"simplecache::https://host/r.csv?token={SECRET}",
    f"http://alice:pa?ss@host/r.csv?token={SECRET}",
]


@pytest.mark.parametrize("url", SIGNED)
def test_what_a_server_is_asked_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    for place in (locate, Remote):
        with pytest.raises(UsageError, match="shown and written down") as raised:
            place(url)
        told = str(raised.value)
        assert not any(secret in told for secret in (SECRET, "AKIA", "alice", "pa?ss"))
        assert ("save the file first" in told) == ("http" in url)


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
        "s3://bucket/2020-??/part-?.csv",
        "s3://bucket/month=?/day=1/r.csv",
        "s3://bucket/c#/year=2020",
    ],
)
def test_other_signs_are_no_credentials(url: str) -> None:
    assert str(locate(url)) == url


COMMANDS = {
    "dataset": ["run", "{url}"],
    "pattern": ["run", "{url}*"],
    "workdir": ["run", "ratings.csv", "--workdir", "{url}"],
    "set": ["run", "--set", "dataset={url}"],
    "config": ["run", "--config", "run.toml"],
    "titles": ["run", "ratings.csv", "--titles", "{url}"],
    "test": ["run", "ratings.csv", "--test", "{url}"],
    "plan": ["plan", "{url}"],
    **{command: [command, "{url}"] for command in ("status", "verify", "clean", "report", "recommend", "serve")},
    "similar": ["similar", "{url}", "--user", "1"],
    "compare": ["compare", "{url}", "{url}"],
    "out": ["report", "w", "--out", "{url}"],
    "show": ["config", "--set", "dataset={url}"],
    "scheduler": ["run", "ratings.csv", "--set", "scheduler={url}"],
    "export": ["export", "{url}", "--out", "e"],
    "evaluate": ["evaluate", "{url}", "--lists", "lists.csv"],
}


@pytest.mark.parametrize("url", [*URLS[:6], *SIGNED[:6]])
@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_no_command_tells_them_or_writes_them_down(
    url: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating\n1,1,4\n2,1,3\n")
    (tmp_path / "run.toml").write_text(f'dataset = "{url}"\n')
    arguments = [argument.format(url=url) for argument in COMMANDS[command]]
    assert cli.main(arguments) == 2
    out, err = capfd.readouterr()
    assert SECRET not in out + err
    assert "shown and written down" in err
    assert len(err.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ratings.csv", "run.toml"]


ELSEWHERE = [
    ["data", "twin", "--out", "{url}"],
    ["data", "--data-dir", "{url}", "list"],
    ["run", "--data-dir", "{url}"],
    ["run", "--config", "{url}"],
    ["recommend", "w", "--users", "{url}"],
    ["export", "w", "--out", "{url}"],
    ["evaluate", "w", "--lists", "{url}"],
    ["run", "ratings.csv", "{url}"],
    ["completion", "{url}"],
]


@pytest.mark.parametrize("url", ["s3://bucket/x", URLS[0], URLS[3], SIGNED[0]])
@pytest.mark.parametrize("arguments", ELSEWHERE, ids=" ".join)
def test_a_url_where_a_path_is_needed_makes_no_folder_of_its_name(
    url: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main([argument.format(url=url) for argument in arguments]) == 2
    out, err = capfd.readouterr()
    assert SECRET not in out + err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_python_has_no_such_folders_either(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="credentials in a URL") as raised:
        engine.recommend_all(tmp_path, f"s3://KEY:{SECRET}@bucket/x")
    assert SECRET not in str(raised.value)


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
    moved = f"404, message='Not Found', url='https://elsewhere/x.csv?X-Amz-Date=1&X-Amz-Signature={SECRET}' (3)"
    assert without_credentials(moved) == "404, message='Not Found', url='https://elsewhere/x.csv?...' (3)"
    assert SECRET not in describe(RuntimeError(moved)).message
    for said in ("see https://host/page, or not?", "s3://bucket/part-?.csv matches no file"):
        assert without_credentials(said) == said


@pytest.mark.parametrize("url", ["s3://bucket/../x", "s3://bucket/a/..", "s3://.."])
def test_a_store_has_no_folder_above(url: str) -> None:
    with pytest.raises(UsageError, match=r"there is no '\.\.'"):
        locate(url)
