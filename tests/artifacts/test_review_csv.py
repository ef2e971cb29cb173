import csv
from dataclasses import replace
from pathlib import Path

import pytest

from semples_cli.artifacts.review_csv import HEADER, ReviewRow, check_review_out, write_review
from semples_cli.errors import SettingsError

ROW = ReviewRow("a/1", 2, "cat", 0.25, 0.5, 1.0, Path("masks/a/1.png"))


def read(path):
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_a_spreadsheet_reads_what_was_written_in_its_order(tmp_path):
    write_review(tmp_path / "q.csv", [ROW, replace(ROW, id="b", confidence=1 / 3)])
    first, second = read(tmp_path / "q.csv")
    assert first == {
        "image": "a/1",
        "class": "cat",
        "confidence": "0.2500",
        "area": "0.5000",
        "coverage": "1.0000",
        "mask": "masks/a/1.png",
    }
    assert (second["image"], second["confidence"]) == ("b", "0.3333")


@pytest.mark.parametrize("name", ['a "b", c', "line\nbreak", "Straße/ボート", "=1+1", " spaces ", "a\r\nb"])
def test_odd_names_come_back_as_they_were(tmp_path, name):
    write_review(tmp_path / "q.csv", [replace(ROW, id=name, class_name=name)])
    (row,) = read(tmp_path / "q.csv")
    assert (row["image"], row["class"]) == (name, name)


def test_names_that_are_no_utf_8_keep_their_bytes(tmp_path):
    write_review(tmp_path / "q.csv", [replace(ROW, id="\udcff")])
    assert b"\xff," in (tmp_path / "q.csv").read_bytes()


def test_no_row_leaves_a_header(tmp_path):
    write_review(tmp_path / "deep/q.csv", [])
    assert (tmp_path / "deep/q.csv").read_text() == ",".join(HEADER) + "\n"


def test_a_queue_that_was_not_finished_leaves_the_old_one(tmp_path):
    write_review(tmp_path / "q.csv", [ROW])
    before = (tmp_path / "q.csv").read_bytes()

    def rows():
        yield ROW
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_review(tmp_path / "q.csv", rows())
    assert (tmp_path / "q.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["q.csv"]


def test_what_is_there_is_refused_with_the_cure(tmp_path):
    path = tmp_path / "q.csv"
    check_review_out(path, overwrite=False)
    path.write_text("mine")
    with pytest.raises(SettingsError, match="is there already; give --overwrite, or choose another --out"):
        check_review_out(path, overwrite=False)
    check_review_out(path, overwrite=True)
    with pytest.raises(SettingsError, match=r"is a folder: name the file, such as .*review\.csv"):
        check_review_out(tmp_path, overwrite=True)
