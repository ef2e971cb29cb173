from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from semples_cli.data.image_folder import ImageFile
from semples_cli.data.labels.table import LabelRow, LabelTable
from semples_cli.data.matching import match_rows

FOLDER = Path("/data/images")


def images(*names):
    return tuple(ImageFile(str(Path(name).with_suffix("")), FOLDER / name) for name in names)


def table(*keys, source="/data/labels.csv", **labelled):
    rows = {key: LabelRow((f"class {line}",), line) for line, key in enumerate(keys, 2)}
    rows.update({key: LabelRow(tuple(names), 9) for key, names in labelled.items()})
    return LabelTable(rows, None, "", Path(source))


def matched(keys, names, source="/data/labels.csv"):
    """Line of the row that each image got."""
    matching = match_rows(table(*keys, source=source), images(*names))
    assert matching.problems == ()
    return {image_id: row.line for image_id, row in matching.labelled.items()}, matching.unmatched_rows


def test_by_path_with_or_without_suffix():
    assert matched(["a/1.jpg", "b/1"], ["a/1.jpg", "b/1.png"]) == ({"a/1": 2, "b/1": 3}, ())


def test_by_path_relative_to_the_label_file():
    keys = ["images/a/1.jpg", "images/b/1.jpg"]
    assert matched(keys, ["a/1.jpg", "b/1.jpg"]) == ({"a/1": 2, "b/1": 3}, ())


def test_by_absolute_path():
    assert matched(["/data/images/b/1.jpg"], ["a/1.jpg", "b/1.jpg"]) == ({"b/1": 2}, ())


def test_by_path_though_the_label_file_knows_another_suffix():
    names = ["a/1.jpg", "b/1.jpg"]
    assert matched(["a/1.png", "b/1.JPG"], names) == ({"a/1": 2, "b/1": 3}, ())
    assert matched(["images/a/1.png", "images/b/1"], names) == ({"a/1": 2, "b/1": 3}, ())


def test_by_path_though_it_goes_through_a_parent_folder():
    keys = ["../images/a/1.jpg", "../images/b/1.jpg"]
    assert matched(keys, ["a/1.jpg", "b/1.jpg"], source="/data/labels/labels.csv") == ({"a/1": 2, "b/1": 3}, ())
    folder = tuple(ImageFile(f"{name}/1", Path(f"/data/x/../images/{name}/1.jpg")) for name in "ab")
    assert set(match_rows(table("images/b/1.jpg"), folder).labelled) == {"b/1"}


def test_by_file_name_then_by_stem():
    assert matched(["elsewhere/1.jpg", "x/2.png", "3"], ["a/1.jpg", "b/2.jpg", "c/3.tif"]) == (
        {"a/1": 2, "b/2": 3, "c/3": 4},
        (),
    )


def test_dots_in_names_are_no_suffixes():
    assert matched(["img.01", "v1.2.jpg"], ["img.01.jpg", "v1.2.png"]) == ({"img.01": 2, "v1.2": 3}, ())
    assert matched(["img.02"], ["img.jpg"]) == ({}, ("img.02",))


def test_what_matches_nothing_is_listed_sorted():
    assert matched(["z.jpg", "1.jpg", "gone.jpg"], ["1.jpg"]) == ({"1": 3}, ("gone.jpg", "z.jpg"))


def test_an_image_with_its_own_row_is_not_given_to_another_of_the_same_file_name():
    for keys in (["a/1.jpg", "b/1.jpg"], ["b/1.jpg", "a/1.jpg"]):
        assert matched(keys, ["a/1.jpg"]) == ({"a/1": keys.index("a/1.jpg") + 2}, ("b/1.jpg",))


def test_an_ambiguous_name_lists_both_and_labels_neither():
    matching = match_rows(table("1.jpg", "2"), images("a/1.jpg", "b/1.jpg", "a/2.jpg", "b/2.png", "3.jpg"))
    assert matching.labelled == {}
    assert matching.unmatched_rows == ()
    assert matching.problems == (
        ("/data/labels.csv:2", "1.jpg may be a/1 or b/1; write the path, not only the name"),
        ("/data/labels.csv:3", "2 may be a/2 or b/2; write the path, not only the name"),
    )


def test_an_ambiguous_name_stays_so_where_one_image_has_a_row_of_its_own():
    matching = match_rows(table("a/1.jpg", "1.jpg"), images("a/1.jpg", "b/1.jpg"))
    assert set(matching.labelled) == {"a/1"}
    assert [where for where, _ in matching.problems] == ["/data/labels.csv:3"]


def test_rows_that_label_one_image_differently_are_all_left_out():
    matching = match_rows(table("x/1.jpg", "y/1.jpg"), images("1.jpg"))
    assert matching.labelled == {}
    message = (
        "the image 1 is labelled in several ways: x/1.jpg (class 2), y/1.jpg (class 3); none is used, keep one row"
    )
    assert matching.problems == (("/data/labels.csv:3", message),)


def test_rows_that_label_one_image_alike_are_one():
    rows = {key: LabelRow(names, 2) for key, names in (("1.jpg", ("cat", "dog")), ("1", ("dog", "cat")))}
    matching = match_rows(LabelTable(rows, None, "", Path("labels.csv")), images("1.jpg"))
    assert matching.labelled == {"1": LabelRow(("cat", "dog"), 2)}
    assert matching.problems == ()


def test_nothing_matches_nothing():
    assert matched([], []) == ({}, ())


PATHS = st.lists(
    st.text("ab/1", min_size=1, max_size=6).filter(lambda p: "//" not in p and p.strip("/") == p), unique=True
)


@given(paths=PATHS, data=st.data())
def test_every_row_ends_in_one_place_and_no_image_gets_a_row_that_is_not_its_own(paths, data):
    folder = images(*(f"{path}.jpg" for path in paths))
    keys = data.draw(st.lists(st.sampled_from([f"{p}{s}" for p in (*paths, "x/a") for s in ("", ".jpg")]), unique=True))
    matching = match_rows(table(*keys), folder)
    exact = {key.removesuffix(".jpg") for key in keys} & set(paths)
    both = {path for path in exact if path in keys and f"{path}.jpg" in keys}
    assert exact - both <= set(matching.labelled)
    assert not both & set(matching.labelled)
    for image_id, row in matching.labelled.items():
        if image_id in exact:
            assert keys[row.line - 2].removesuffix(".jpg") == image_id
