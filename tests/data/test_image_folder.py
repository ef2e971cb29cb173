import errno
import os
from pathlib import Path

import pytest

from semples_cli.data.image_folder import SUFFIXES, ImageFile, check_output_folder, common_folder, find_images
from semples_cli.errors import DataError, SettingsError


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def ids(*inputs):
    return [image.id for image in find_images(inputs)]


def test_ids_are_sorted_relative_posix_paths_without_suffix(tmp_path):
    touch(*(tmp_path / name for name in ("b.jpg", "a/2.png", "a/1.JPG", "a/deep/er/x.y.tif", "C.webp")))
    assert find_images([tmp_path]) == (
        ImageFile("C", tmp_path / "C.webp"),
        ImageFile("a/1", tmp_path / "a/1.JPG"),
        ImageFile("a/2", tmp_path / "a/2.png"),
        ImageFile("a/deep/er/x.y", tmp_path / "a/deep/er/x.y.tif"),
        ImageFile("b", tmp_path / "b.jpg"),
    )


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_suffix_is_found_in_any_case(tmp_path, suffix):
    touch(tmp_path / f"low{suffix}", tmp_path / f"up{suffix.upper()}")
    assert ids(tmp_path) == ["low", "up"]


def test_other_and_hidden_and_unfinished_files_are_left_out(tmp_path):
    touch(*(tmp_path / name for name in ("a.jpg", ".b.jpg", ".hidden/c.jpg", "x/.y/d.jpg", "e.jpg.partial", "f.txt")))
    (tmp_path / "folder.jpg").mkdir()
    assert ids(tmp_path) == ["a"]


def test_results_below_the_images_are_no_images(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "masks/a.png", tmp_path / "masks/overlays/a.png", tmp_path / "sub/b.jpg")
    assert ids(tmp_path) == ["a", "masks/a", "masks/overlays/a", "sub/b"]
    (tmp_path / "masks/.semples").mkdir()
    assert ids(tmp_path) == ["a", "sub/b"]
    assert ids(tmp_path / "masks") == ["a", "overlays/a"]


def test_a_folder_in_a_hidden_place_is_read(tmp_path):
    touch(tmp_path / ".cache/images/a.jpg")
    assert ids(tmp_path / ".cache/images") == ["a"]


def test_files_of_one_folder_are_named_by_their_stems(tmp_path):
    touch(tmp_path / "deep/photo.one.jpg", tmp_path / "deep/odd.xyz")
    assert ids(tmp_path / "deep/photo.one.jpg") == ["photo.one"]
    assert ids(tmp_path / "deep/photo.one.jpg", tmp_path / "deep/odd.xyz") == ["odd", "photo.one"]


def test_files_are_named_as_the_folder_that_holds_them_all_names_them(tmp_path):
    touch(*(tmp_path / name for name in ("a/1.jpg", "a/2.png", "b/1.jpg", "b/c/4.jpg", "5.jpg")))
    files = [image.path for image in find_images([tmp_path])]
    assert find_images(files[::-1]) == find_images([tmp_path])
    assert ids(*(file for file in files if "b" in file.parts)) == ["1", "c/4"]


def test_relative_and_roundabout_paths_of_files_give_the_same_ids(tmp_path, monkeypatch):
    touch(tmp_path / "images/a/1.jpg", tmp_path / "images/b/1.jpg")
    monkeypatch.chdir(tmp_path)
    assert ids(Path("images/a/1.jpg"), Path("images/b/1.jpg")) == ["a/1", "b/1"]
    assert ids(Path("./images/a/1.jpg"), tmp_path / "images/b/1.jpg") == ["a/1", "b/1"]
    assert ids(Path("images/b/../a/1.jpg"), Path("images/b/1.jpg"), Path("images/a/1.jpg")) == ["a/1", "b/1"]


def test_the_common_folder_is_that_of_files_alone(tmp_path):
    touch(tmp_path / "a/x/1.jpg", tmp_path / "a/y/2.jpg", tmp_path / "far/3.jpg")
    assert common_folder([tmp_path / "a/x/1.jpg", tmp_path / "a/y/2.jpg", tmp_path / "far"]) == tmp_path / "a"
    assert common_folder([tmp_path / "a/x/1.jpg"]) == tmp_path / "a/x"
    assert common_folder([tmp_path / "far"]) is None
    assert common_folder([]) is None
    assert ids(tmp_path / "a/x/1.jpg", tmp_path / "a/y/2.jpg", tmp_path / "far") == ["3", "x/1", "y/2"]


def test_two_files_of_one_name_with_different_suffixes_are_refused(tmp_path):
    touch(tmp_path / "a/1.jpg", tmp_path / "a/1.png", tmp_path / "b/1.jpg")
    with pytest.raises(DataError, match="would both be written as 'a/1'"):
        find_images([tmp_path / name for name in ("a/1.jpg", "b/1.jpg", "a/1.png")])


def test_unicode_and_spaces_stay(tmp_path):
    touch(tmp_path / "Füße/図 1.jpg")
    assert ids(tmp_path) == ["Füße/図 1"]


def test_the_same_file_twice_counts_once(tmp_path):
    touch(tmp_path / "a.jpg")
    assert ids(tmp_path, tmp_path / "a.jpg", tmp_path) == ["a"]


def test_two_suffixes_of_one_name_are_refused_with_both_names(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "a.png")
    with pytest.raises(DataError, match="would both be written as 'a': rename one") as error:
        find_images([tmp_path])
    assert "a.jpg" in str(error.value)
    assert "a.png" in str(error.value)


def test_one_id_from_two_inputs_is_refused(tmp_path):
    touch(tmp_path / "one/a.jpg", tmp_path / "two/a.jpg")
    with pytest.raises(DataError, match=r"one.a\.jpg and .*two.a\.jpg would both be written"):
        find_images([tmp_path / "one", tmp_path / "two"])


def test_a_missing_path_and_an_empty_folder_are_refused_with_the_cure(tmp_path):
    with pytest.raises(DataError, match="gone: no such file or folder; give the folder of the images"):
        find_images([tmp_path / "gone"])
    with pytest.raises(DataError, match=r"no images here; files ending in .*\.jpg.* are taken"):
        find_images([tmp_path])


def test_a_folder_that_cannot_be_listed_is_refused_not_left_out(tmp_path, monkeypatch):
    touch(tmp_path / "a.jpg", tmp_path / "locked/b.jpg")
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"locked: cannot be listed \(Permission denied\); allow reading it"):
        find_images([tmp_path])


def test_nothing_given_is_nothing_found():
    assert find_images([]) == ()


@pytest.mark.parametrize("out", [".", "sub/..", "../images"])
def test_writing_among_the_images_is_refused(tmp_path, out):
    images = tmp_path / "images"
    (images / "sub").mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"is where the images lie.*choose another folder"):
        check_output_folder([images], images / out)


def test_writing_beside_an_input_file_is_refused(tmp_path):
    touch(tmp_path / "a.jpg")
    with pytest.raises(SettingsError, match="choose another folder"):
        check_output_folder([tmp_path / "a.jpg"], tmp_path)


def test_any_other_folder_is_fine(tmp_path):
    touch(tmp_path / "images/a.jpg")
    for out in (tmp_path, tmp_path / "images/masks", tmp_path / "masks"):
        assert check_output_folder([tmp_path / "images"], out) is None
    assert check_output_folder([Path("x.jpg")], Path("masks")) is None
