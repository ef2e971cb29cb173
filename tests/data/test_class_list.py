import pytest
from hypothesis import given
from hypothesis import strategies as st

from semples_cli.data.class_list import built_in_class_lists, read_class_list
from semples_cli.errors import DataError

# As printed in the development kit of PASCAL VOC.
VOC = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]


def write(tmp_path, content):
    path = tmp_path / "classes.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_one_name_a_line_and_a_prompt_name_after_a_tab(tmp_path):
    classes = read_class_list(write(tmp_path, "cat\ntv\ttelevision set\nhot dog\t\n"))
    assert classes.names == ("cat", "tv", "hot dog")
    assert classes.prompt_names == ("cat", "television set", "hot dog")


@pytest.mark.parametrize(
    "content",
    [
        "cat\ndog",
        "\ufeffcat\ndog\n",
        "cat\r\ndog\r\n",
        "cat\rdog\r",
        "# ours\n\n  cat  \n\n# more\ndog\n\n",
        "background\ncat\ndog\n",
        "Background\ncat\ndog\n",
        "\ufeffbackground\r\n# x\r\ncat\r\ndog",
    ],
)
def test_bom_line_endings_comments_blank_lines_and_background(tmp_path, content):
    assert read_class_list(write(tmp_path, content)).names == ("cat", "dog")


@pytest.mark.parametrize("name", ["background", "Background", "BACKGROUND\tsky"])
def test_background_further_down_is_refused(tmp_path, name):
    with pytest.raises(DataError, match=r"classes\.txt: 'background' is always class 0: leave it out"):
        read_class_list(write(tmp_path, f"cat\n{name}\n"))


def test_a_class_listed_twice_is_refused_with_both_lines(tmp_path):
    with pytest.raises(DataError, match=r"classes\.txt:4: class 'cat' is listed again, first on line 2; remove one"):
        read_class_list(write(tmp_path, "# x\ncat\ndog\ncat\tpussy cat\n"))


def test_254_classes_fit_and_255_are_refused_with_the_line(tmp_path):
    names = [f"class {k}" for k in range(254)]
    assert len(read_class_list(write(tmp_path, "\n".join(["background", *names])))) == 254
    with pytest.raises(DataError, match=r"classes\.txt:255: more than 254 classes do not fit a mask; split"):
        read_class_list(write(tmp_path, "\n".join([*names, "one more"])))


@pytest.mark.parametrize("content", ["", "\n\n", "# only this\n", "background\n"])
def test_an_empty_list_is_refused(tmp_path, content):
    with pytest.raises(DataError, match=r"classes\.txt: no class at all: name at least one"):
        read_class_list(write(tmp_path, content))


@pytest.mark.parametrize("content", ["Füße".encode("latin-1"), "cat\ndog".encode("utf-16")])
def test_what_is_not_utf8_is_refused(tmp_path, content):
    with pytest.raises(DataError, match=r"classes\.txt:1: .*cannot be read as UTF-8 text.*save it as UTF-8"):
        read_class_list(write(tmp_path, content))


def test_an_unknown_list_names_the_built_in_ones(tmp_path):
    with pytest.raises(DataError, match=r"voc11: no such class list; give a file .* or coco14 or voc12"):
        read_class_list("voc11")


def test_a_file_wins_over_a_built_in_list_of_the_same_name(tmp_path, monkeypatch):
    (tmp_path / "voc12").write_text("cat\n")
    monkeypatch.chdir(tmp_path)
    assert read_class_list("voc12").names == ("cat",)


def test_voc_is_in_its_own_order_with_sharpened_prompt_names():
    classes = read_class_list("voc12")
    assert list(classes.names) == VOC
    differing = {a: b for a, b in zip(classes.names, classes.prompt_names, strict=True) if a != b}
    assert differing == {
        "bird": "bird avian",
        "chair": "chair seat",
        "diningtable": "dining table",
        "person": "person with clothes,people,human",
        "pottedplant": "potted plant",
        "tvmonitor": "tvmonitor screen",
    }


def test_coco_has_the_80_classes_in_id_order():
    classes = read_class_list("coco14")
    assert len(classes) == 80
    assert {a: b for a, b in zip(classes.names, classes.prompt_names, strict=True) if a != b} == {
        "bird": "bird avian",
        "chair": "chair seat",
        "person": "person with clothes,people,human",
        "remote": "remote control",
        "tie": "necktie",
        "tv": "tvmonitor screen",
    }
    # Positions on both sides of each gap in COCO's ids (12, 26, 29-30, 45, 66, 68-69, 71, 83, 91).
    known = {
        "person": 1, "fire hydrant": 11, "stop sign": 12, "bird": 15, "giraffe": 24, "backpack": 25, "umbrella": 26,
        "handbag": 27, "bottle": 40, "wine glass": 41, "bed": 60, "dining table": 61, "toilet": 62, "tv": 63,
        "refrigerator": 73, "book": 74, "toothbrush": 80,
    }  # fmt: skip
    assert {name: classes.index_of(name) for name in known} == known


def test_the_built_in_lists_are_these():
    assert built_in_class_lists() == ("coco14", "voc12")


@given(
    names=st.lists(
        st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8), min_size=1, max_size=9, unique=True
    )
)
def test_what_is_written_is_read(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("lists") / "classes.txt"
    path.write_text("".join(f"{name}\t{name} seen\n" for name in names), encoding="utf-8")
    classes = read_class_list(path)
    assert classes.names == tuple(names)
    assert classes.prompt_names == tuple(f"{name} seen" for name in names)
