import io
import shutil
from pathlib import Path

import pytest

from semples_cli.data.dataset import Dataset, load_dataset
from semples_cli.errors import DataError, SettingsError


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path()


@pytest.fixture
def images(home):
    """images/ with a/1.jpg, a/2.png, b.jpg; pixels are not needed here."""
    for name in ("a/1.jpg", "a/2.png", "b.jpg"):
        write(home / "images" / name)
    return home / "images"


@pytest.fixture
def devkit(home):
    root = home / "voc"
    for name in ("1", "2", "3"):
        write(root / f"JPEGImages/{name}.jpg")
        write(root / f"SegmentationClass/{name}.png", "never opened")
    write(root / "ImageSets/Segmentation/train.txt", "1\n2\n")
    write(root / "ImageSets/Segmentation/val.txt", "3\n")
    write(root / "ImageSets/Main/cat_train.txt", "1  1\n2 -1\n")
    write(root / "ImageSets/Main/cat_val.txt", "3 -1\n")
    write(root / "ImageSets/Main/bird_trainval.txt", "1 -1\n2  0\n3  1\n")
    return root


def present(dataset):
    return {s.id: tuple(dataset.class_set.name_of(k) for k in s.class_indices) for s in dataset.samples}


ROWS = "a/1.jpg,cat|dog\na/2.png,\nb.jpg,cat\n"
FOUND = {"a/1": ("cat", "dog"), "a/2": (), "b": ("cat",)}


@pytest.mark.parametrize("place", ["images/labels.csv", "images/metadata.csv", "labels.csv", "metadata.csv"])
def test_labels_beside_the_images_are_found(images, place):
    write(Path(place), f"image,labels\n{ROWS}")
    for dataset in (load_dataset([images]), load_dataset(data=images)):
        assert present(dataset) == FOUND
        assert dataset.class_set.names == ("cat", "dog")
        assert [sample.image_path for sample in dataset.samples] == [
            images / p for p in ("a/1.jpg", "a/2.png", "b.jpg")
        ]
        assert dataset.unlabelled == dataset.unmatched_rows == dataset.problems == ()
        assert dataset.notes == (
            f"{place}: read as list-column CSV: 2 classes, 3 images",
            "2 classes, in the order of sorted names; --classes fixes another",
        )


def test_what_lies_among_the_images_comes_before_what_lies_beside_them(images):
    write(Path("labels.csv"), "image,labels\nb.jpg,wrong\n")
    write(images / "labels.csv", "image,labels\nb.jpg,right\n")
    assert present(load_dataset([images])) == {"b": ("right",)}


def test_labels_lie_beside_a_single_image_too(images):
    write(images / "labels.csv", f"image,labels\n{ROWS}")
    dataset = load_dataset([images / "b.jpg"])
    assert present(dataset) == {"b": ("cat",)}
    assert dataset.unmatched_rows == ("a/1.jpg", "a/2.png")


def test_a_label_file_is_named(images):
    path = write(Path("elsewhere/x.txt"), ROWS)
    assert present(load_dataset([images], labels=path)) == FOUND
    assert present(load_dataset([images], labels=path, labels_format="headerless-csv")) == FOUND
    with pytest.raises(DataError, match=r"x\.txt:1: .*no column is called|x\.txt:1: no column is called 'image'"):
        load_dataset([images], labels=write(path, "u,v,w\n"), labels_format="list-csv")


def test_two_label_files_are_not_guessed(images):
    write(Path("one/a.jpg"))
    write(Path("one/labels.csv"), "a.jpg,cat\n")
    write(images / "labels.csv", ROWS)
    with pytest.raises(SettingsError, match=r"images/labels\.csv and one/labels\.csv both lie .*--labels"):
        load_dataset([images, Path("one")])


def test_several_inputs_share_a_label_file(images):
    write(images / "labels.csv", ROWS)
    assert present(load_dataset([images / "a/1.jpg", images / "b.jpg"], labels=images / "labels.csv")) == {
        "a/1": ("cat", "dog"),
        "b": ("cat",),
    }


def test_labels_are_found_where_listed_files_meet(images):
    write(images / "labels.csv", ROWS)
    write(Path("images/c/3.jpg"))
    listed = [images / "a/1.jpg", images / "a/2.png", images / "c/3.jpg"]
    dataset = load_dataset(listed)
    assert present(dataset) == {"a/1": ("cat", "dog"), "a/2": ()}
    assert dataset.unlabelled == ("c/3",)
    write(images / "c/labels.csv", "3.jpg,cat\n")
    assert present(load_dataset(listed, classes=None)) == {"c/3": ("cat",)}


def test_no_labels_at_all_names_the_three_cures(images):
    with pytest.raises(SettingsError) as error:
        load_dataset([images / "b.jpg"])
    for cure in ("--labels FILE", "--label NAME", "a labels.csv beside the images"):
        assert cure in str(error.value)
    assert error.value.exit_code == 2
    assert "class-folders" not in str(error.value)
    with pytest.raises(SettingsError, match="if each folder is a class, give --labels-format class-folders"):
        load_dataset([images])


# Class order


def test_a_class_list_fixes_the_order_and_the_prompt_names(images):
    write(images / "labels.csv", ROWS)
    classes = write(Path("classes.txt"), "background\ndog\tpuppy\nzebra\ncat\n")
    dataset = load_dataset([images], classes=classes)
    assert dataset.class_set.names == ("dog", "zebra", "cat")
    assert dataset.class_set.prompt_names == ("puppy", "zebra", "cat")
    assert dataset.samples[0].class_indices == (1, 3)
    assert dataset.notes[-1] == "3 classes, in the order of the class list"


def test_a_built_in_class_list_goes_by_name(images):
    write(images / "labels.csv", "b.jpg,cat\n")
    assert load_dataset([images], classes="voc12").samples[0].class_indices == (8,)


def test_a_one_hot_header_fixes_the_order(images):
    write(images / "labels.csv", "image,zebra,cat\nb.jpg,0,1\n")
    dataset = load_dataset([images])
    assert dataset.class_set.names == ("zebra", "cat")
    assert dataset.samples[0].class_indices == (2,)
    assert "in the order of the label source" in dataset.notes[-1]


def test_more_than_254_classes_are_refused(images):
    names = [f"c{k}" for k in range(255)]
    write(images / "labels.csv", f"image,{','.join(names)}\nb.jpg,{','.join('1' * 255)}\n")
    with pytest.raises(DataError, match=r"labels\.csv: 255 classes, but a mask holds at most 254"):
        load_dataset([images])


def test_rows_that_name_no_class_need_a_class_list(images):
    path = write(images / "labels.csv", "image,labels\nb.jpg,none\n")
    with pytest.raises(DataError, match=r"labels\.csv: no row that can be used names a class; give .*--classes"):
        load_dataset([images])
    assert present(load_dataset([images], classes="voc12")) == {"b": ()}
    write(path, "image,labels\nb.jpg,cat,dog\n")
    with pytest.raises(DataError, match=r"names a class \(images/labels\.csv:2:1: 3 cells where the header has 2"):
        load_dataset([images])


# What does not go together


def test_both_sides_unmatched_and_problems_are_reported_and_the_rest_is_there(images):
    write(images / "c/1.jpg")
    write(images / "labels.csv", "image,labels\nb.jpg,cat\ngone.jpg,cat\n1.jpg,cat\na/2.png,catt\n")
    dataset = load_dataset([images], classes=write(Path("classes.txt"), "cat\n"))
    assert present(dataset) == {"b": ("cat",)}
    assert dataset.unlabelled == ("a/1", "a/2", "c/1")
    assert dataset.unmatched_rows == ("gone.jpg",)
    assert dataset.problems == (
        ("images/labels.csv:5:2", "unknown class 'catt'; did you mean 'cat'?"),
        ("images/labels.csv:4", "1.jpg may be a/1 or c/1; write the path, not only the name"),
    )


def test_colliding_images_are_refused_before_anything(images):
    write(images / "b.png")
    write(images / "labels.csv", ROWS)
    with pytest.raises(DataError, match="would both be written as 'b'"):
        load_dataset([images])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "neither images nor --data were given"),
        ({"images": [Path("images")], "data": Path("images")}, "both images and --data were given"),
        ({"images": [Path("images")], "labels_format": "xml"}, "choose one of auto, list-csv"),
        ({"images": [Path("images")], "split": "train"}, "only a VOC devkit or a COCO folder has splits.*leave it out"),
        ({"data": Path("images"), "label": "cat"}, "does not go with --labels, --data or --split; leave one out"),
        ({"images": [Path("images")], "label": "cat", "labels": Path("x.csv")}, "--label .* does not go with"),
        ({"images": [Path("images")], "label": "cat", "split": "train"}, "--label .* does not go with"),
    ],
)
def test_options_that_contradict_each_other_are_refused(images, options, message):
    write(images / "labels.csv", ROWS)
    with pytest.raises(SettingsError, match=message):
        load_dataset(**options)


# One label


def test_one_label_for_every_image(images):
    dataset = load_dataset([images], label=" person, boat ,person")
    assert dataset.class_set.names == ("boat", "person")
    assert present(dataset) == dict.fromkeys(("a/1", "a/2", "b"), ("boat", "person"))
    assert dataset.notes[0] == "every image shows: person, boat"
    assert load_dataset([images], label="boat,person").class_set == dataset.class_set


def test_one_label_with_a_class_list(images):
    dataset = load_dataset([images / "b.jpg"], label="boat", classes="voc12")
    assert [sample.class_indices for sample in dataset.samples] == [(4,)]
    with pytest.raises(SettingsError, match="--label: unknown class 'boot'; did you mean 'boat'"):
        load_dataset([images], label="boot", classes="voc12")


@pytest.mark.parametrize("label", ["", " , ", "background", "Background"])
def test_a_label_without_a_class_is_refused(images, label):
    with pytest.raises(SettingsError, match=r"names no class: say what the images show, such as --label boat"):
        load_dataset([images], label=label)


# Class folders


@pytest.fixture
def folders(home):
    for name in ("cat/1.jpg", "dog/1.jpg", "dog/deep/2.jpg"):
        write(home / "images" / name)
    return home / "images"


IN_FOLDERS = {"cat/1": ("cat",), "dog/1": ("dog",), "dog/deep/2": ("dog",)}


def test_class_folders_by_their_format(folders):
    write(folders / "top.jpg")
    dataset = load_dataset([folders], labels_format="class-folders")
    assert present(dataset) == IN_FOLDERS
    assert dataset.unlabelled == ("top",)
    assert dataset.notes[0] == "images: read as class folders: 2 classes, 3 images"


def test_class_folders_by_the_class_list(folders):
    classes = write(Path("classes.txt"), "dog\ncat\nbird\n")
    dataset = load_dataset([folders], classes=classes)
    assert present(dataset) == IN_FOLDERS
    assert dataset.class_set.names == ("dog", "cat", "bird")
    write(classes, "dog\n")
    with pytest.raises(SettingsError, match="no labels found"):
        load_dataset([folders], classes=classes)


def test_a_folder_of_class_folders_as_labels(folders, home):
    write(home / "flat/1.jpg")
    shutil.rmtree(folders / "dog")
    assert present(load_dataset([home / "flat"], labels=folders)) == {"1": ("cat",)}


# VOC


def test_a_devkit_by_data_as_images_and_by_its_images_folder(devkit):
    shutil.copytree(devkit, "outer/VOCdevkit/VOC2012")
    for dataset in (
        load_dataset(data=devkit),
        load_dataset([devkit]),
        load_dataset([devkit / "JPEGImages"]),
        load_dataset(data=Path("outer")),
    ):
        assert present(dataset) == {"1": ("cat",), "2": ()}
        assert dataset.unlabelled == dataset.unmatched_rows == dataset.problems == ()
        assert any(note.endswith("VOC layout, split train, 2 images") for note in dataset.notes)


def test_names_of_voc_have_vocs_order(devkit):
    dataset = load_dataset(data=devkit)
    assert dataset.class_set.index_of("bird") == 3
    assert dataset.samples[0].class_indices == (8,)
    assert len(dataset.class_set) == 20


def test_other_names_are_sorted_and_a_class_list_in_the_devkit_wins(devkit):
    write(devkit / "ImageSets/Main/camel_train.txt", "2 1\n")
    assert load_dataset(data=devkit).class_set.names == ("bird", "camel", "cat")
    write(devkit / "classes.txt", "cat\nbird\ncamel\n")
    dataset = load_dataset(data=devkit)
    assert dataset.class_set.names == ("cat", "bird", "camel")
    assert present(dataset) == {"1": ("cat",), "2": ("camel",)}
    mine = write(Path("mine.txt"), "camel\ncat\nbird\n")
    assert load_dataset(data=devkit, classes=mine).class_set.names == ("camel", "cat", "bird")


def test_the_class_order_does_not_depend_on_the_split(devkit):
    write(devkit / "ImageSets/Main/camel_train.txt", "2 1\n")
    assert load_dataset(data=devkit, split="val").class_set == load_dataset(data=devkit).class_set


def test_splits(devkit):
    assert present(load_dataset(data=devkit, split="val")) == {"3": ("bird",)}
    assert present(load_dataset([devkit / "JPEGImages"], split="val")) == {"3": ("bird",)}
    write(devkit / "ImageSets/Segmentation/train_aug.txt", "3\n1\n")
    dataset = load_dataset(data=devkit)
    assert present(dataset) == {"1": ("cat",), "3": ("bird",)}
    assert dataset.notes[0] == "voc: VOC layout, split train_aug, 2 images"
    with pytest.raises(DataError, match="no list of split test; choose by --split: train, train_aug, val"):
        load_dataset(data=devkit, split="test")


def test_an_image_that_is_listed_and_missing_is_a_problem(devkit):
    (devkit / "JPEGImages/2.jpg").unlink()
    dataset = load_dataset(data=devkit)
    assert present(dataset) == {"1": ("cat",)}
    assert dataset.problems == (("2", "in split train, but not in voc/JPEGImages; bring the image"),)
    assert dataset.notes[0].endswith("split train, 1 images")


def test_an_image_that_no_class_file_names_is_unlabelled(devkit):
    write(devkit / "JPEGImages/4.png")
    write(devkit / "ImageSets/Segmentation/train.txt", "1\n4\n")
    dataset = load_dataset(data=devkit)
    assert present(dataset) == {"1": ("cat",)}
    assert dataset.unlabelled == ("4",)


def test_without_main_labels_csv_is_read_and_without_it_the_error_says_what_is_needed(devkit):
    shutil.rmtree(devkit / "ImageSets/Main")
    needed = r"ImageSets/Main/<class>_<split>\.txt or Annotations/.*put a labels\.csv .*--labels FILE"
    with pytest.raises(DataError, match=needed):
        load_dataset(data=devkit)
    write(devkit / "labels.csv", "image,labels\n1.jpg,cat\n2.jpg,bird\n3.jpg,cat\n")
    dataset = load_dataset(data=devkit)
    assert present(dataset) == {"1": ("cat",), "2": ("bird",)}
    assert dataset.unmatched_rows == ()
    assert dataset.class_set.index_of("cat") == 8


def test_a_one_hot_header_in_a_devkit_keeps_its_order(devkit):
    shutil.rmtree(devkit / "ImageSets/Main")
    write(devkit / "labels.csv", "image,cat,bird\n1.jpg,1,0\n2.jpg,0,1\n")
    assert load_dataset(data=devkit).class_set.names == ("cat", "bird")


def test_a_label_file_replaces_the_devkits_labels_and_keeps_its_split(devkit):
    path = write(Path("mine.csv"), "1,cow\n3,cow\n")
    dataset = load_dataset(data=devkit, labels=path, labels_format="headerless-csv", split="val")
    assert present(dataset) == {"3": ("cow",)}
    assert present(load_dataset(data=devkit, labels=path, labels_format="headerless-csv")) == {"1": ("cow",)}


def test_the_images_folder_with_labels_of_its_own_is_taken_whole(devkit):
    path = write(Path("mine.csv"), "1.jpg,cow\n3.jpg,cow\n")
    assert set(present(load_dataset([devkit / "JPEGImages"], labels=path))) == {"1", "3"}
    shutil.move(path, devkit / "JPEGImages/labels.csv")
    assert set(present(load_dataset([devkit / "JPEGImages"]))) == {"1", "3"}


def test_a_devkit_without_lists_is_taken_whole(devkit):
    shutil.rmtree(devkit / "ImageSets/Segmentation")
    dataset = load_dataset(data=devkit)
    assert set(present(dataset)) == {"1", "2", "3"}
    assert dataset.notes[0] == "voc: VOC layout, split all images, 3 images"


def test_ground_truth_is_never_opened(devkit, monkeypatch):
    opened = []
    real = io.open

    def watch(file, *args, **kwargs):
        opened.append(str(file))
        return real(file, *args, **kwargs)

    monkeypatch.setattr(io, "open", watch)
    assert present(load_dataset(data=devkit)) == {"1": ("cat",), "2": ()}
    assert any("ImageSets/Main" in name for name in opened)
    assert not any("SegmentationClass" in name for name in opened)


def test_the_same_twice(devkit, images):
    write(images / "labels.csv", ROWS)
    for options in ({"data": devkit}, {"images": [images]}):
        first = load_dataset(**options)
        assert isinstance(first, Dataset)
        assert load_dataset(**options) == first
        assert [s.id for s in first.samples] == sorted(s.id for s in first.samples)
