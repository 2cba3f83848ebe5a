"""The endpoints: answers are the recommender's, whatever is wrong has a status of 4xx, and a newer run is taken up."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from engine import Recommender, cli
from engine.chunked import memory
from engine.chunked.budget import MIB
from engine.chunked.errors import BudgetError, UsageError
from tests.support.ratings import synthetic_ratings
from tests.support.recommender import run

pytest.importorskip("uvicorn", reason="what serves")
testclient = pytest.importorskip("starlette.testclient", reason="asks without a network")
from engine.serving.web import current as web  # noqa: E402
from engine.serving.web import server  # noqa: E402
from engine.serving.web.app import make_app  # noqa: E402


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web")
    folder.joinpath("movies.csv").write_text('movieId,title\n1,"One, the"\n8,Eight\n15,The eighth\n')
    return run(folder, synthetic_ratings(60, 40))


@pytest.fixture
def client(where: Path) -> Iterator[Any]:
    with testclient.TestClient(make_app(web.Current(where, "4GiB"), hosts=["localhost"]), "http://localhost") as found:
        yield found


def items_of(found: Any, number: int = 0) -> list[Any]:
    return [each["item"] for each in found.json()["lists"][number]["items"]]


def test_a_title_at_fault_is_logged_and_the_others_are_shown(where: Path, caplog: pytest.LogCaptureFixture) -> None:
    titles = where.parent / "movies.csv"
    before = titles.read_bytes()
    titles.write_bytes(b'movieId,title\n1,"One\n8,"Eight\n and more"\n15,Fifteen\n')
    try:
        with testclient.TestClient(make_app(web.Current(where, "4GiB"))) as client:
            found = [each["title"] for each in client.get("/items?q=e").json()]
    finally:
        titles.write_bytes(before)
    assert sorted(found) == ["Eight and more", "Fifteen"]
    (told,) = [record.getMessage() for record in caplog.records if "movies.csv" in record.getMessage()]
    assert told.startswith(f"{titles}, line 2: not a valid record")


def test_answers_are_the_recommenders(client: Any, where: Path) -> None:
    recommender = Recommender.open(where)
    lists = client.get("/recommend?user=5&user=2&k=4")
    assert lists.status_code == 200
    expected = recommender.recommend([5, 2], 4)
    assert items_of(lists) + items_of(lists, 1) == expected["item"].to_list()
    assert lists.json()["lists"][0]["items"][0]["predicted"] == pytest.approx(expected["predicted"][0])
    me = recommender.likes([1, 8])
    of_me = recommender.recommend(me, 5)["item"].to_list()
    assert items_of(client.get("/recommend?like=1&like=8&k=5")) == of_me
    assert items_of(client.post("/recommend", json={"likes": [1, 8], "k": 5})) == of_me
    rated = client.post("/recommend", json={"items": [1, 8, 999], "ratings": [5, 1, 3], "k": 5})
    assert items_of(rated) == recommender.recommend(recommender.fold_in([1, 8], [5, 1]), 5)["item"].to_list()
    assert rated.json()["left_out"] == [999]
    only = client.post("/recommend", json={"user": [5], "candidates": [1, 8], "k": 5})
    assert set(items_of(only)) <= {1, 8}
    assert items_of(client.get("/recommend?user=5&user=123456&on_unknown=popular"), 1)
    assert [each["item"] for each in client.get("/similar?item=8&k=3").json()] == recommender.similar_items(8, 3)[
        "item"
    ].to_list()
    assert [each["user"] for each in client.get("/similar?user=5").json()] == recommender.similar_users(5)[
        "user"
    ].to_list()
    predicted = client.get("/predict?user=5&item=1&item=8").json()
    assert [each["predicted"] for each in predicted] == recommender.predict([5, 5], [1, 8])["predicted"].to_list()
    assert [each["title"] for each in client.get("/items?q=EIGHT").json()] == ["Eight", "The eighth"]
    assert client.get("/health").json() == {"status": "ok", "users": 60, "items": 40, "predicts_ratings": True} | {
        "items": len(recommender.items)
    }
    figures = client.get("/metrics").json()
    assert figures["requests"]["predict"] == 1
    assert figures["run"] == recommender._opened.run.fingerprint


BAD: list[tuple[str, int, str]] = [
    ("/recommend", 400, "give users"),
    ("/recommend?user=123456", 404, "no user 123456"),
    ("/recommend?user=5&like=1", 400, "give users"),
    ("/recommend?user=5&k=0", 400, "k is 0"),
    ("/recommend?user=5&k=x", 400, "whole number"),
    ("/recommend?user=5&k=-1", 400, "whole number"),
    ("/recommend?user=5&k=99999", 400, "1 to 1000"),
    ("/recommend?user=5&nonsense=1", 400, "no parameter"),
    ("/recommend?user=5&on_unknown=x", 400, "give one of"),
    ("/recommend?" + "&".join(["user=5"] * 1001), 400, "1000 at a time"),
    ("/recommend?" + "&".join(["like=5"] * 1001), 400, "1000 at a time"),
    ("/recommend?" + "&".join(["user=5"] * 26) + "&k=100", 400, "2500 items in all"),
    ("/recommend?like=123456", 400, "none of the"),
    ("/similar", 400, "user or an item"),
    ("/similar?item=123456", 404, "no item"),
    ("/predict?user=5", 400, "give one user"),
    ("/predict?user=5&item=%00", 404, "no item"),
    ("/page.html", 404, "Not Found"),
    ("/../engine/cli.py", 404, "Not Found"),
]


@pytest.mark.parametrize(("path", "status", "told"), BAD, ids=[path[:40] for path, *_ in BAD])
def test_a_bad_request_is_told_in_a_sentence(client: Any, path: str, status: int, told: str) -> None:
    found = client.get(path)
    assert found.status_code == status
    assert told in found.json()["error"]
    assert "Traceback" not in found.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"user": 5}', 400),
        (b'{"user": [5.5]}', 400),
        (b'{"user": [5], "x": 1}', 400),
        (b'{"user": [5], "k": true}', 400),
        (b'{"items": [1], "ratings": []}', 400),
        (b'{"items": [1], "ratings": [99]}', 400),
        (b'{"items": [1], "ratings": [1e999]}', 400),
        (b"[" * 200_000, 400),
        (b'{"likes": ["' + b"x" * (1 << 20) + b'"]}', 413),
        (b"\xff\xfe", 400),
    ],
    ids=range(13),
)
def test_a_bad_body_is_told_in_a_sentence(client: Any, body: bytes, status: int) -> None:
    found = client.post("/recommend", content=body)
    assert found.status_code == status
    assert found.json()["error"]


def test_it_answers_to_its_own_name_alone_and_sends_a_page_without_a_network(client: Any) -> None:
    assert client.get("/health", headers={"Host": "evil.example"}).status_code == 400
    assert client.delete("/recommend").status_code == 405
    page = client.get("/")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for name in ("page.js", "page.css"):
        assert name in page.text
        assert client.get(f"/{name}").status_code == 200
    assert "http" not in page.text.replace("http-equiv", "")


def test_too_many_at_a_time_are_told_to_come_again(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.serving.web.limits._WAITING", -1)
    with testclient.TestClient(make_app(web.Current(where, "4GiB"))) as client:
        refused = client.get("/recommend?user=5")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")


def test_a_newer_run_is_taken_up_and_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ratings = synthetic_ratings(40, 30)
    where = run(tmp_path, ratings)
    monkeypatch.setattr(web, "_LOOK_EVERY", 0.0)
    with testclient.TestClient(make_app(web.Current(where, "4GiB"))) as client:
        assert client.get("/recommend?user=2").status_code == 200
        before = client.get("/metrics").json()
        assert before["bytes_allowed"] == 4 << 30
        run(tmp_path, ratings.filter(ratings["userId"] > 2))
        assert client.get("/recommend?user=2").status_code == 404
        after = client.get("/metrics").json()
        assert after["run"] != before["run"]
        assert after["requests"]["reloads"] == 1
        (where / "published.json").write_bytes(b"{}")
        assert client.get("/recommend?user=5").status_code == 200  # what there is answers
    with pytest.raises(UsageError, match="no work directory"):
        web.Current(tmp_path, "4GiB")


WORST: list[dict[str, Any]] = [
    {"user": [5] * 250, "k": 10},
    {"user": [5, 2], "k": 1000},
    {"likes": [1, 8] * 500, "k": 1000},
    {"user": list(range(-1000, 0)), "k": 2, "on_unknown": "popular"},
    {"user": [5], "candidates": [f"{item:09}" for item in range(20_000)]},
    {"likes": ["x" * 200_000, *["1"] * 900]},
]


@pytest.mark.skipif(not memory.is_measured(), reason="needs memory to be measured")
def test_a_server_keeps_to_its_memory_whatever_is_asked_while_a_newer_run_comes(tmp_path: Path) -> None:
    ratings = synthetic_ratings(300, 3000)
    where, command = run(tmp_path, ratings), [sys.executable, "-m", "engine", "serve", "--port", f"{free_port()}"]
    refused = subprocess.run([*command, where, "--memory", "20MiB"], capture_output=True, text=True)
    found = re.search(r"--memory (\d+)MiB", refused.stderr)
    assert (refused.returncode, found is not None) == (3, True), refused.stderr
    allowed = int(found[1])  # type: ignore[index]
    with subprocess.Popen([*command, where, "--memory", f"{allowed}MiB"], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert "http://" in server.stdout.readline()  # type: ignore[union-attr]
            with ThreadPoolExecutor(30) as pool:
                asked = [pool.submit(ask_slowly, int(command[-1]), body) for body in WORST * 15]
                run(tmp_path, ratings.filter(ratings["userId"] > 2))
                told = {each.result() for each in asked}
            assert told <= {200, 400, 404, 503}  # 404: of users whom the newer run does not know
            time.sleep(web._LOOK_EVERY)
            assert ask_slowly(int(command[-1]), {"user": [2]}) == 404  # of the newer run
            assert memory.peak_bytes(server.pid) <= allowed * MIB
        finally:
            server.terminate()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def ask_slowly(port: int, body: dict[str, Any]) -> int:
    """Status of a request whose answer waits to be read."""
    for _ in range(100):
        with suppress(OSError), closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("POST", "/recommend", json.dumps(body))
            answer = connection.getresponse()
            time.sleep(0.2)
            answer.read()
            return answer.status
        time.sleep(0.1)
    raise AssertionError("no answer")


def test_too_little_memory_is_refused_with_what_is_enough(where: Path) -> None:
    with pytest.raises(BudgetError, match="serving this run takes") as refused:
        web.Current(where, "20MiB")
    assert refused.value.enough is not None
    assert web.Current(where, refused.value.enough).recommender.recommend([5], 1).height == 1


def test_a_budget_whose_unit_was_left_out_is_told(where: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", str(where), "--memory", "300"]) == 2
    assert "did you mean 300MiB?" in capsys.readouterr().err


def test_no_part_of_an_answer_waits_for_the_one_before() -> None:
    with server._listening("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_that_is_taken_is_told_before_it_serves(where: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["serve", str(where), "--memory", "4GiB", "--port", str(port)]) == 2
    told = capsys.readouterr()
    assert (
        told.err
        == f"engine: 127.0.0.1:{port} cannot be listened on (Address already in use): name another --port, or --host\n"
    )
    assert not told.out
