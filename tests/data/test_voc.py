import pytest

from semples_cli.data.labels.voc_main import read_voc_main
from semples_cli.data.voc import MAIN, devkit_around, find_devkit, read_split, voc_order
from semples_cli.errors import DataError
from semples_cli.types import ClassSet


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def devkit(tmp_path):
    (tmp_path / "JPEGImages").mkdir()
    for split in ("train", "val", "trainval"):
        write(tmp_path / f"ImageSets/Segmentation/{split}.txt", f"a\n{split}\n")
    return tmp_path


def main(devkit, **files):
    for name, text in files.items():
        write(devkit / f"ImageSets/Main/{name}.txt", text)


def names(table):
    return {key: row.names for key, row in table.rows.items()}


@pytest.mark.parametrize("inner", [".", "VOCdevkit/VOC2012", "VOC2012"])
def test_a_devkit_is_found_in_the_folders_it_comes_in(tmp_path, inner):
    assert find_devkit(tmp_path) is None
    (tmp_path / inner / "JPEGImages").mkdir(parents=True)
    assert find_devkit(tmp_path) == tmp_path / inner


def test_a_devkit_is_found_around_its_images_if_it_has_image_sets(tmp_path):
    images = tmp_path / "JPEGImages"
    images.mkdir()
    assert devkit_around(images) is None
    write(tmp_path / "ImageSets/Main/cat_train.txt")
    assert devkit_around(images) == tmp_path
    assert devkit_around(tmp_path) is None


def test_train_is_the_default_and_train_aug_before_it(devkit):
    assert read_split(devkit, None) == ("train", ("a", "train"))
    write(devkit / "ImageSets/Segmentation/train_aug.txt", "b\na\n")
    assert read_split(devkit, None) == ("train_aug", ("b", "a"))
    assert read_split(devkit, "val") == ("val", ("a", "val"))


def test_without_any_list_all_images_are_taken(tmp_path):
    assert read_split(tmp_path, None) == ("all images", None)


def test_an_unknown_split_names_those_that_are_there(devkit):
    with pytest.raises(DataError, match="no list of split tran; choose by --split: train, trainval, val"):
        read_split(devkit, "tran")


def test_lists_without_a_default_one_are_not_guessed(devkit):
    (devkit / "ImageSets/Segmentation/train.txt").unlink()
    with pytest.raises(DataError, match="no list of split train_aug or train; choose by --split: trainval, val"):
        read_split(devkit, None)


def test_a_split_without_any_list_is_refused(tmp_path):
    with pytest.raises(DataError, match="no list of split val; leave --split out for all images"):
        read_split(tmp_path, "val")


def test_a_list_may_name_files_and_repeat_itself(devkit):
    pair = "/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png\r\n"
    write(devkit / "ImageSets/Segmentation/train_aug.txt", f"{pair}{pair}\nJPEGImages/b.c.png\nd.e\n")
    assert read_split(devkit, "train_aug")[1] == ("2007_000032", "b.c", "d.e")


def test_a_list_that_is_no_text_is_refused(devkit):
    (devkit / "ImageSets/Segmentation/train.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"train\.txt:1: .*cannot be read as UTF-8 text"):
        read_split(devkit, "train")


def test_only_1_is_present(devkit):
    main(devkit, cat_train="a  1\nb -1\nc  0\n", dog_train="a  1\nb  1\nc -1\n")
    table = read_voc_main(devkit / MAIN, None)
    assert names(table) == {"a": ("cat", "dog"), "b": ("dog",), "c": ()}
    assert table.class_names == ("cat", "dog")
    read_as = "read as VOC image sets: 2 classes, 3 images; 1 marked 0 (difficult) taken as absent"
    assert table.description == f"{devkit / 'ImageSets/Main'}: {read_as}"
    assert table.absent == {"cat": 1, "dog": 1}
    assert table.uncertain == {"cat": 1, "dog": 0}
    assert table.problems == ()


def test_all_splits_are_read_and_lists_of_ids_are_no_classes(devkit):
    main(devkit, cat_train="a 1\n", cat_val="b 1\nc -1\n", cat_trainval="a 1\nb 1\nc -1\n", train="a\n", val="b\nc\n")
    main(devkit, train_aug="a\nd\n", cat_train_aug="d 1\n")
    assert names(read_voc_main(devkit / MAIN, None)) == {"a": ("cat",), "b": ("cat",), "c": (), "d": ("cat",)}


def test_class_names_with_underscores_and_shared_endings(devkit):
    main(devkit, dog_train="a -1\n", hot_dog_train="a 1\n", train="a\n")
    main(devkit, **{"fire hydrant_minival": "a 1\n", "minival": "a\n"})
    main(devkit, tea_a_z="a -1\n", a_z="a\n", z="a\n")
    table = read_voc_main(devkit / MAIN, None)
    assert table.class_names == ("dog", "fire hydrant", "hot_dog", "tea")
    assert names(table) == {"a": ("fire hydrant", "hot_dog")}


def test_only_the_wanted_ids_are_kept_and_all_classes(devkit):
    main(devkit, cat_train="a 1\nb 1\n", dog_train="a -1\nb 1\n")
    table = read_voc_main(devkit / MAIN, None, {"a", "elsewhere"})
    assert names(table) == {"a": ("cat",)}
    assert table.class_names == ("cat", "dog")


def test_without_class_files_there_is_no_table(devkit):
    assert read_voc_main(devkit / MAIN, None) is None
    main(devkit, train="a\nb\n")
    assert read_voc_main(devkit / MAIN, None) is None


@pytest.mark.parametrize("line", ["a 2", "a", "a 1 1", "a yes"])
def test_a_line_that_is_not_vocs_is_refused_with_its_number(devkit, line):
    main(devkit, cat_train=f"b 1\n\n{line}\n")
    with pytest.raises(DataError, match=rf"cat_train\.txt:3: '{line}' is not `<id> 1`.*correct this line"):
        read_voc_main(devkit / MAIN, None)


def test_a_file_of_an_unknown_class_is_refused(devkit):
    main(devkit, cat_train="a 1\n", planes_train="a 1\n")
    with pytest.raises(DataError, match=r"planes_train\.txt: unknown class 'planes'; did you mean 'plane'\?"):
        read_voc_main(devkit / MAIN, ClassSet(("cat", "plane")))


def test_names_of_voc_get_vocs_order(devkit):
    main(devkit, sofa_train="a 1\n", bird_train="a -1\n")
    order = voc_order(read_voc_main(devkit / MAIN, None))
    assert order is not None
    assert (len(order), order.names[2], order.prompt_names[2]) == (20, "bird", "bird avian")


def test_other_names_do_not(devkit):
    main(devkit, sofa_train="a 1\n", camel_train="a -1\n")
    assert voc_order(read_voc_main(devkit / MAIN, None)) is None
