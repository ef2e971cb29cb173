import pytest

from semples_cli.data.background_words import read_background_words
from semples_cli.errors import DataError

# Lin et al., CVPR 2023.
VOC = [
    "ground",
    "land",
    "grass",
    "tree",
    "building",
    "wall",
    "sky",
    "lake",
    "water",
    "river",
    "sea",
    "railway",
    "railroad",
    "keyboard",
    "helmet",
    "cloud",
    "house",
    "mountain",
    "ocean",
    "road",
    "rock",
    "street",
    "valley",
    "bridge",
    "sign",
]


def test_the_words_for_voc():
    assert list(read_background_words("voc")) == VOC


def test_those_for_coco_are_the_same_without_keyboard_and_sign():
    assert list(read_background_words("coco")) == [word for word in VOC if word not in ("keyboard", "sign")]


def test_none_is_no_word():
    assert read_background_words("none") == ()


def test_a_file_has_one_word_a_line_each_taken_once(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes(b"\xef\xbb\xbf# ours\r\nsnow\r\n\r\nparking lot\r\nsnow\r\n")
    assert read_background_words(str(path)) == ("snow", "parking lot")


def test_an_unknown_name_names_the_choices():
    with pytest.raises(DataError, match="imagenet: no such background words; choose coco, voc, none, or a file"):
        read_background_words("imagenet")


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"words\.txt:1: .*cannot be read as UTF-8 text.*save it as UTF-8"):
        read_background_words(str(path))
