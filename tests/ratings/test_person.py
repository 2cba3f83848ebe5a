"""One person's ratings."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from engine.chunked.errors import UsageError
from engine.ratings.opening import open_source
from engine.ratings.person import read_person
from tests.support.ratings_files import GOOD, Write


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("movieId,rating\n31,2.5\n\n7,4\n", "mine.csv"),
        ("rating\ttimestamp\titem_id\n2.5\t1\t31\n4\t2\t7\n", "mine.tsv"),
        ('title,Movie ID,rating\r\n"Heat, the",31,2.5\r\nX,7,4\r\n', "mine.csv"),
        (gzip.compress(b"\xef\xbb\xbfmovieId,rating\n31,2.5\n7,4\n", mtime=0), "mine.csv.gz"),
        ("userId,movieId,rating,timestamp\n1,31,2.5,3\n1,7,4,3\n", "mine.csv"),
    ],
)
def test_one_persons_ratings_are_read_by_the_usual_names(write: Write, content: str | bytes, name: str) -> None:
    usual = open_source(write(GOOD))
    assert read_person(write(content, name), usual) == ([31, 7], [2.5, 4.0])


def test_one_persons_ratings_are_read_by_the_names_of_the_runs_own_file(write: Write) -> None:
    usual = open_source(write("who,what,stars\n1,a,3\n"), ["who", "what", "stars"])
    assert read_person(write("rating,item,stars,what\n1,2,3,b\n", "mine.csv"), usual) == (["b"], [3.0])


def test_where_the_run_has_no_ratings_items_alone_are_enough(write: Write) -> None:
    usual = open_source(write("user,item\n1,31\n"))
    assert read_person(write("item\n31\n7\n", "mine.csv"), usual) == ([31, 7], [1.0, 1.0])
    assert read_person(write("item,rating\n31,4\n", "mine.csv"), usual) == ([31], [4.0])
    counted = open_source(write("user,item,plays\n1,31,2\n"))
    assert read_person(write("item,plays\n31,4\n7,0\n", "mine.csv"), counted) == ([31], [4.0])
    assert read_person(write("movieId,rating\n31,4\n7,0\n", "mine.csv"), open_source(write(GOOD)))[1] == [4.0, 0.0]
    with pytest.raises(UsageError, match="has the columns movieId: call them movieId,rating"):
        read_person(write("movieId\n31\n", "mine.csv"), open_source(write(GOOD)))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "is empty"),
        ("movieId,rating\n", "has a header and no ratings"),
        ("\n\n", "only blank lines"),
        ("31,2.5\n7,4\n", "line 1 holds a rating, not column names: put movieId,rating above it"),
        ("what,stars\n31,2.5\n", "has the columns what, stars: call them movieId,rating"),
        (
            "movieId,rating\n31,2.5\nseven,4\n",
            "line 3, column movieId: item id is not a whole number, as those of the run are; correct it: 'seven'",
        ),
        ("movieId,rating\n31,2.5\n7\n", "line 3, column rating: missing rating"),
        (
            "movieId,rating\n31,inf\n",
            "column rating: rating is not a finite number; mend or delete the line: 'inf'",
        ),
        ("movieId,rating\n31,2.5,9\n", "line 2: 3 fields where the file has 2"),
        ('movieId,rating\n31,"2.5\n7,4\n', "line 2"),
        (b"\x00\x01\x02\x03", "is not text"),
        (b"PAR1....", "is Parquet: give a person's ratings as text"),
        (b"PK\x03\x04", "is a zip archive"),
    ],
)
def test_what_is_wrong_with_one_persons_ratings_is_named(write: Write, content: str | bytes, what: str) -> None:
    usual = open_source(write(GOOD))
    with pytest.raises(UsageError, match=re.escape(what)):
        read_person(write(content, "mine.csv"), usual)
    with pytest.raises(UsageError, match=r"does not exist or is no file: give a file with the columns movieId,rating"):
        read_person(Path("nowhere"), usual)
