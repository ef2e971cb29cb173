from pathlib import Path

import pytest

from semples_cli.artifacts.tag_scores import check_tag_out, scores_path, write_tag_scores
from semples_cli.errors import SettingsError
from semples_cli.types import ClassSet


def test_the_exact_bytes(tmp_path):
    path = tmp_path / "deep/labels.scores.csv"
    rows = [("a/1.jpg", ("cat", "hot dog"), 0.01234, "cat", [0.31234, -0.1]), ('b,"2".jpg', (), 1.0, "hot dog", [0, 1])]
    write_tag_scores(path, rows, ClassSet(("cat", "hot dog")))
    assert path.read_text(encoding="utf-8") == (
        "image,proposed,certainty,unsure,cat,hot dog\n"
        "a/1.jpg,cat|hot dog,0.0123,cat,0.3123,-0.1000\n"
        '"b,""2"".jpg",,1.0000,hot dog,0.0000,1.0000\n'
    )
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_scores_lie_beside_the_labels():
    assert scores_path(Path("here/labels.csv")) == Path("here/labels.scores.csv")


@pytest.mark.parametrize(
    ("name", "better"), [("labels", "labels.csv"), ("labels.txt", "labels.csv"), ("", "labels.csv")]
)
def test_a_file_that_is_no_csv_is_refused_with_a_better_name(tmp_path, name, better):
    with pytest.raises(SettingsError, match="proposed labels are a CSV file; call it ") as error:
        check_tag_out(tmp_path / name, overwrite=True)
    assert str(error.value).endswith(str(tmp_path / better))


def test_scores_without_labels_are_what_an_interrupted_run_left(tmp_path):
    (tmp_path / "labels.scores.csv").write_text("image,proposed\n")
    assert check_tag_out(tmp_path / "labels.csv", overwrite=False) is None


def test_what_is_there_is_kept_unless_told_otherwise(tmp_path):
    (tmp_path / "labels.csv").write_text("corrected by hand")
    with pytest.raises(
        SettingsError, match=r"labels\.csv is there already, perhaps corrected by hand; give --overwrite"
    ):
        check_tag_out(tmp_path / "labels.csv", overwrite=False)
    assert check_tag_out(tmp_path / "labels.csv", overwrite=True) is None
    assert check_tag_out(tmp_path / "other.CSV", overwrite=False) is None
