import numpy as np
import pytest
from PIL import Image

from semples_cli.artifacts.contact_sheet import GAP, HEADING, colour_mask, write_contact_sheet
from semples_cli.errors import ArtifactError


def pictures(count, shape=(5, 7, 3)):
    return [np.random.default_rng(seed).integers(0, 256, shape, np.uint8) for seed in range(count)]


def cell(sheet, row, column, height, width, factor):
    top = HEADING + GAP + row * (height * factor + GAP)
    left = GAP + column * (width * factor + GAP)
    return sheet[top : top + height * factor, left : left + width * factor]


@pytest.mark.parametrize("factor", [1, 3])
def test_each_picture_lies_enlarged_in_its_own_cell(tmp_path, factor):
    six = pictures(6)
    write_contact_sheet(tmp_path / "new" / "sheet.png", ["a", "b", "c"], [six[:3], six[3:]], factor)
    sheet = np.asarray(Image.open(tmp_path / "new" / "sheet.png"))
    assert sheet.shape == (HEADING + GAP + 2 * (5 * factor + GAP), GAP + 3 * (7 * factor + GAP), 3)
    for n, picture in enumerate(six):
        shown = cell(sheet, n // 3, n % 3, 5, 7, factor)
        assert np.array_equal(shown[::factor, ::factor], picture)
        assert np.array_equal(shown[factor - 1 :: factor, factor - 1 :: factor], picture)


def test_headings_are_written_above_their_columns_and_gaps_are_blank(tmp_path):
    big = pictures(2, (20, 40, 3))
    write_contact_sheet(tmp_path / "sheet.png", ["image", ""], [big], 2)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert (sheet[: HEADING + GAP, : GAP + 80] < 128).any()
    assert (sheet[: HEADING + GAP, GAP + 80 + GAP :] == 255).all()
    assert (sheet[:, :GAP] == 255).all()
    assert (sheet[-GAP:] == 255).all()


def test_the_same_pictures_give_the_same_bytes_and_nothing_is_left_beside(tmp_path):
    write_contact_sheet(tmp_path / "a.png", ["x"], [pictures(1)])
    write_contact_sheet(tmp_path / "b.png", ["x"], [pictures(1)])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("headings", "rows", "said"),
    [
        (["a"], [], "rows of 1 pictures"),
        (["a", "b"], [pictures(2), pictures(1)], "rows of 2 pictures"),
        (["a", "b"], [[*pictures(1), *pictures(1, (5, 8, 3))]], "of one size"),
        (["a"], [pictures(1, (5, 7))], "RGB pictures"),
        (["a"], [pictures(1, (5, 7, 4))], "RGB pictures"),
    ],
)
def test_what_makes_no_table_is_refused_and_leaves_no_file(tmp_path, headings, rows, said):
    with pytest.raises(ArtifactError, match=rf"sheet\.png: .*{said}"):
        write_contact_sheet(tmp_path / "sheet.png", headings, rows)
    assert not list(tmp_path.iterdir())


def test_masks_are_coloured_as_voc_does():
    values = np.array([[0, 1, 2], [3, 20, 255]], np.uint8)
    expected = [[(0, 0, 0), (128, 0, 0), (0, 128, 0)], [(128, 128, 0), (0, 64, 128), (224, 224, 192)]]
    assert np.array_equal(colour_mask(values), expected)
