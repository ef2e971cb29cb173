"""Samples in tars: which member is the image, how it is called, and what a folder of tars is."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tar_files import write_tar

from semples_cli.data.dataset import load_dataset
from semples_cli.data.image_folder import SUFFIXES, ImageFile, check_output_folder, find_images
from semples_cli.data.images import read_image, read_image_size
from semples_cli.data.webdataset import (
    find_tar_images,
    find_tar_problems,
    is_compressed_tar,
    is_tar,
    key_in_tar,
    sample_key,
)
from semples_cli.errors import DataError, SettingsError


def ids(*inputs):
    return [image.id for image in find_images(inputs)]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("000123.jpg", "000123"),
        ("000123.seg.png", "000123"),
        ("n01/000123.jpg", "n01/000123"),
        ("v1.0/a.b/000123.input.jpg", "v1.0/a.b/000123"),
        ("bare", "bare"),
        ("v1.0/bare", "v1.0/bare"),
    ],
)
def test_the_key_ends_at_the_first_dot_of_the_last_part(name, key):
    assert sample_key(name) == key


def test_the_key_is_that_of_the_webdataset_package():
    tariterators = pytest.importorskip("webdataset.tariterators")
    for name in ("000123.jpg", "a/b.c/1.seg.png", "v1.0/x.cls", "x.y.z/1.2.3"):
        assert tariterators.base_plus_ext(name)[0] == sample_key(name)


@pytest.mark.parametrize(
    ("name", "tar", "compressed"),
    [
        ("a.tar", True, False),
        ("a.TAR", True, False),
        ("a.tar.gz", True, True),
        ("a.tgz", True, True),
        ("a.tar.zst", True, True),
        ("a.tbz2", True, True),
        ("a.tarx", False, False),
        ("a.gz", False, False),
        ("tar", False, False),
    ],
)
def test_tars_are_known_by_their_names(name, tar, compressed):
    assert (is_tar(Path(name)), is_compressed_tar(Path(name))) == (tar, compressed)


@pytest.mark.parametrize(
    ("image_id", "path", "key"),
    [
        ("train-000/1", "shards/train-000.tar/1.jpg", "1"),
        ("train-000/n01/1", "/abs/train-000.tar/n01/1.input.jpg", "n01/1"),
        ("sub/train-000/1", "shards/sub/train-000.TAR/1.jpg", "1"),
        ("a/1", "images/a/1.jpg", ""),
        ("1", "images/1.jpg", ""),
        ("1", "1.jpg", ""),
    ],
)
def test_the_key_of_an_id_is_what_stands_behind_the_tar(image_id, path, key):
    assert key_in_tar(image_id, Path(path)) == key


def test_a_tar_stands_for_a_folder_of_its_name(tmp_path):
    tar = write_tar(tmp_path / "train-000.tar", {"b.jpg": b"", "a/1.JPG": b"", "a/1.cls": b"", "notes.md": b""})
    assert find_images([tar]) == (
        ImageFile("train-000/a/1", tar / "a/1.JPG"),
        ImageFile("train-000/b", tar / "b.jpg"),
    )
    assert find_images([tmp_path]) == find_images([tar])
    (tmp_path / "unpacked/train-000/a").mkdir(parents=True)
    for name in ("a/1.JPG", "b.jpg"):
        (tmp_path / "unpacked/train-000" / name).touch()
    assert ids(tmp_path / "unpacked") == ids(tar)


def test_tars_with_equal_keys_do_not_clash(tmp_path):
    for name in ("train-000", "train-001", "sub/val"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_tar(tmp_path / f"{name}.tar", {"1.jpg": b""})
    assert ids(tmp_path) == ["sub/val/1", "train-000/1", "train-001/1"]
    assert ids(*(tmp_path / f"train-00{k}.tar" for k in range(2))) == ["train-000/1", "train-001/1"]
    assert ids(tmp_path / "sub/val.tar", tmp_path / "train-000.tar") == ["sub/val/1", "train-000/1"]
    assert ids(tmp_path / "train-{000..001}.tar") == ["train-000/1", "train-001/1"]


def test_beside_images_tars_are_the_archives_that_these_came_in(tmp_path):
    write_tar(tmp_path / "images.tar", {"1.jpg": b""})
    (tmp_path / "images.tar.gz").touch()
    (tmp_path / "1.jpg").touch()
    assert ids(tmp_path) == ["1"]
    assert ids(tmp_path, tmp_path / "images.tar") == ["1", "images/1"]  # unless they are named


def test_hidden_tars_and_tars_of_results_are_left_out(tmp_path):
    write_tar(tmp_path / ".hidden.tar", {"1.jpg": b""})
    (tmp_path / "masks/.semples").mkdir(parents=True)
    write_tar(tmp_path / "masks/x.tar", {"1.jpg": b""})
    with pytest.raises(DataError, match=r"no images here; .* are taken, alone or in a \.tar"):
        find_images([tmp_path])


def test_hidden_members_and_webdatasets_own_are_no_images(tmp_path):
    names = ("1.jpg", "._1.jpg", ".cache/2.jpg", "__MACOSX__/1.jpg", "__init__.jpg", "a/._3.jpg")
    tar = write_tar(tmp_path / "t.tar", dict.fromkeys(names, b""))
    assert ids(tar) == ["t/1", "t/__init__"]


@pytest.mark.parametrize(
    ("names", "image"),
    [
        (["1.jpg", "1.seg.png"], "1.jpg"),
        (["1.depth.png", "1.png", "1.seg.png"], "1.png"),
        (["1.input.jpg"], "1.input.jpg"),
        (["v1.0/1.jpg", "v1.0/1.seg.png"], "v1.0/1.jpg"),
    ],
)
def test_of_several_images_of_a_sample_the_plain_one_is_meant(tmp_path, names, image):
    tar = write_tar(tmp_path / "t.tar", dict.fromkeys(names, b""))
    (found,) = find_images([tar])
    assert found == ImageFile(f"t/{sample_key(image)}", tar / image)


@pytest.mark.parametrize("names", [["1.jpg", "1.png"], ["1.input.jpg", "1.target.jpg"], ["img.01.jpg", "img.02.jpg"]])
def test_two_images_of_a_sample_are_refused_and_both_named(tmp_path, names):
    tar = write_tar(tmp_path / "t.tar", dict.fromkeys(names, b""))
    with pytest.raises(DataError, match=rf"{names[0]} and {names[1]} are both images .* or unpack it into a folder"):
        find_images([tar])


@pytest.mark.parametrize("name", ["t.tar.gz", "t.tgz", "t.tar.zst"])
def test_compressed_tars_are_refused_with_the_cure(tmp_path, name):
    (tmp_path / name).write_bytes(b"whatever")
    for given in (tmp_path / name, tmp_path):
        with pytest.raises(
            DataError, match=rf"{name}: this tar is compressed.*decompress it to a plain \.tar, or unpack"
        ):
            find_images([given])


def test_a_tar_that_holds_no_images_is_no_input(tmp_path):
    tar = write_tar(tmp_path / "t.tar", {"1.cls": b"1", "readme.txt": b""})
    with pytest.raises(DataError, match=r"t\.tar: no images here"):
        find_images([tar])


def test_a_shard_that_is_not_there_is_said(tmp_path):
    write_tar(tmp_path / "t-0.tar", {"1.jpg": b""})
    with pytest.raises(DataError, match=r"t-1\.tar: no such file or folder"):
        find_images([tmp_path / "t-{0..1}.tar"])


def test_masks_do_not_go_where_the_tars_lie(tmp_path):
    tar = write_tar(tmp_path / "t.tar", {"1.jpg": b""})
    with pytest.raises(SettingsError, match="is where the images lie"):
        check_output_folder([tar], tmp_path)
    check_output_folder([tar], tmp_path / "masks")


def test_a_tar_and_an_image_of_its_name_go_together(tmp_path):
    tar = write_tar(tmp_path / "t.tar", {"1.jpg": b""})
    (tmp_path / "t.jpg").touch()
    (tmp_path / "t").mkdir()
    assert ids(tar, tmp_path / "t.jpg") == ["t", "t/1"]
    (tmp_path / "t/1.png").touch()
    with pytest.raises(DataError, match=r"would both be written as 't/1'"):
        find_images([tmp_path / "t.jpg", tar, tmp_path / "t/1.png"])


def test_a_member_in_trouble_is_an_image_that_will_fail(tmp_path):
    tar = write_tar(tmp_path / "t.tar", [("1.jpg", b""), ("../2.jpg", b""), ("1.jpg", b"")])
    assert ids(tar) == ["t/1", "t/2"]


def test_damage_is_a_problem_of_the_dataset(tmp_path):
    tar = write_tar(tmp_path / "t.tar", {"a/1.jpg": b"x" * 600, "a/2.jpg": b"y" * 600}, "ustar")
    good = write_tar(tmp_path / "u.tar", {"1.jpg": b""})
    os.truncate(tar, 1536)
    found = find_images([tmp_path])
    (problem,) = find_tar_problems(image.path for image in found)
    assert problem[0] == str(tar)
    assert "damaged from byte 1536" in problem[1]
    dataset = load_dataset([tar, good], label="cat")
    assert [sample.id for sample in dataset.samples] == ["t/a/1", "u/1"]
    assert dataset.problems == (problem,)


def test_images_in_folders_cost_no_look_at_tars(tmp_path):
    (tmp_path / "a.tar").mkdir()
    (tmp_path / "a.tar/1.jpg").touch()
    assert ids(tmp_path) == ["a.tar/1"]
    assert find_tar_problems([tmp_path / "a.tar/1.jpg"]) == ()


def test_only_the_asked_suffixes_are_images(tmp_path):
    tar = write_tar(tmp_path / "t.tar", {"1.jpg": b"", "1.npy": b"", "2.gif": b""})
    assert [key for key, _ in find_tar_images(tar, {".npy"})] == ["1"]
    assert [key for key, _ in find_tar_images(tar, SUFFIXES)] == ["1", "2"]


def encoded(form, **how):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)).save(out, form, **how)
    return out.getvalue()


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif", "tif", "webp", "ppm"])
def test_every_kind_of_image_is_read_out_of_a_tar_as_out_of_a_folder(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = {"exif": exif} if suffix in ("jpg", "png", "tif", "webp") else {}
    form = {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper())
    (tmp_path / f"1.{suffix}").write_bytes(encoded(form, **turned))
    tar = write_tar(tmp_path / "t.tar", {f"0.{suffix}": b"#" * 777, f"1.{suffix}": encoded(form, **turned)})
    inside, outside = tar / f"1.{suffix}", tmp_path / f"1.{suffix}"
    np.testing.assert_array_equal(read_image(inside), read_image(outside))
    assert read_image_size(inside) == read_image_size(outside) == ((30, 20) if turned else (20, 30))


def test_an_image_that_does_not_end_in_its_member_is_damaged(tmp_path):
    """What follows in the tar is not its."""
    content = encoded("JPEG")
    tar = write_tar(tmp_path / "t.tar", {"1.jpg": content[:400], "2.jpg": content[400:]})
    with pytest.raises(DataError, match=r"t\.tar/1\.jpg: damaged or incomplete image"):
        read_image(tar / "1.jpg")


@pytest.mark.parametrize("read", [read_image, read_image_size])
def test_what_cannot_be_read_out_of_a_tar_says_why(tmp_path, read):
    tar = write_tar(tmp_path / "t.tar", [("1.jpg", b""), ("1.jpg", b"")])
    with pytest.raises(
        DataError, match=r"1\.jpg: cannot be read: there are several members .*; mend that, or take it out"
    ):
        read(tar / "1.jpg")
    with pytest.raises(DataError, match=r"none\.jpg: no such image; correct the path"):
        read(tar / "none.jpg")
    tar.write_bytes(b"no tar any more")
    with pytest.raises(DataError, match=r"1\.jpg: cannot be read: not a tar file"):
        read(tar / "1.jpg")
