"""What is there already where a user wants output: a file is replaced, a pipe written into, all else refused."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from engine import cli
from engine.chunked.errors import UsageError
from engine.chunked.storage import locate
from engine.chunked.storage.outputs import is_stream, write_output
from tests.support.pipeline import finish_run
from tests.support.ratings import FEW_ROWS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "ratings.csv").write_text(FEW_ROWS)
    return finish_run(folder / "ratings.csv", folder / "small", preset="default")


class Reader(threading.Thread):
    """What somebody reads from a pipe until whoever writes closes it."""

    def __init__(self, pipe: Path) -> None:
        os.mkfifo(pipe)
        super().__init__(daemon=True)
        self.pipe, self.content = pipe, b""
        self.start()

    def run(self) -> None:
        """See `threading.Thread`."""
        self.content = self.pipe.read_bytes()

    def read(self) -> bytes:
        """All of it; and the pipe is one still."""
        self.join(60)
        assert not self.is_alive()
        assert stat.S_ISFIFO(self.pipe.lstat().st_mode)
        return self.content


@pytest.mark.parametrize("command", [["report", "RUN", "--out"], ["compare", "RUN", "RUN", "--html"]])
def test_a_page_goes_into_a_pipe(command: list[str], run: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path / "pipe")
    assert cli.main([str(run) if each == "RUN" else each for each in command] + [str(reader.pipe)]) == 0
    assert b"</html>" in reader.read()


def test_a_link_to_a_pipe_is_one(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    write_output(locate(tmp_path / "link"), b"x" * 200_000)
    assert reader.read() == b"x" * 200_000
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["recommend", "RUN", "--all", "--out", "PLACE"], "pipe"),
        (["export", "RUN", "--out", "FOLDER"], "lists.parquet"),
        (["export", "RUN", "--out", "FOLDER"], "train.parquet"),
        (["recommend", "RUN", "--all", "--out", "PLACE"], "folder"),
        (["report", "RUN", "--out", "PLACE"], "folder"),
        (["report", "RUN", "--out", "PLACE"], "socket"),
        (["compare", "RUN", "RUN", "--html", "PLACE"], "folder"),
    ],
)
def test_what_is_not_replaced_is_refused_by_its_name(
    command: list[str], name: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, bound = tmp_path / name, socket.socket(socket.AF_UNIX)
    if name == "folder":
        place.mkdir()
    elif name == "socket":
        bound.bind(str(place))
    else:
        os.mkfifo(place)
    before = place.lstat()
    known = {"RUN": run, "PLACE": place, "FOLDER": tmp_path}
    assert cli.main([str(known.get(each, each)) for each in command]) == 2
    assert f"{place}: cannot be written: it is " in (told := capsys.readouterr().err)
    assert "name a file" in told
    assert (place.lstat().st_ino, place.lstat().st_mode) == (before.st_ino, before.st_mode)
    bound.close()


def test_a_folder_in_a_work_directory_stays_with_what_is_in_it(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = run / "report.html"
    page.mkdir()
    (page / "precious").write_text("mine")
    assert cli.main(["report", str(run)]) == 2
    assert "is a folder" in capsys.readouterr().err
    assert (page / "precious").read_text() == "mine"
    (page / "precious").unlink()
    page.rmdir()
    os.mkfifo(page)
    assert cli.main(["report", str(run)]) == 2  # and waits for nobody
    page.unlink()


def test_devices_are_written_into_and_names_of_the_system_never_replaced(tmp_path: Path) -> None:
    master, terminal = os.openpty()
    name = os.ttyname(terminal)
    write_output(locate(name), b"page")
    assert os.read(master, 4) == b"page"
    with pytest.raises(UsageError, match="no regular file"):
        is_stream(Path(name), text=False)
    for descriptor in (master, terminal):
        os.close(descriptor)
    with (tmp_path / "file").open("wb") as file:  # standard output is often such a one
        for system in ("/dev/fd", "/proc/self/fd"):
            with pytest.raises(UsageError, match="not replaced"):
                is_stream(Path(f"{system}/{file.fileno()}"))
    with pytest.raises(UsageError, match="not replaced"):
        is_stream(Path("/dev/page.html"))  # where there is nothing


def test_files_are_replaced_and_new_ones_made(tmp_path: Path) -> None:
    place, link = locate(tmp_path / "page.html"), tmp_path / "link"
    for content in (b"one", b"two"):
        write_output(place, content)
        assert place.read_bytes() == content
    link.symlink_to("page.html")
    write_output(locate(link), b"three")
    assert (tmp_path / "page.html").read_bytes() == b"two"
    assert link.read_bytes() == b"three"
