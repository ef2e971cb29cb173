"""What holds of labels whatever is written in them: nothing is read otherwise than it was written, nothing twice."""

import itertools
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from semples_cli.artifacts.label_files import WRITTEN_FORMS, write_class_list, write_labels
from semples_cli.class_names import MAX_CLASS_NAME, appearance, composed, name_trouble
from semples_cli.data.braces import expand_braces
from semples_cli.data.class_list import read_class_list
from semples_cli.data.dataset import load_dataset, load_labels
from semples_cli.data.image_folder import ImageFile
from semples_cli.data.labels.table import LabelRow, LabelTable, TableBuilder
from semples_cli.data.matching import match_rows
from semples_cli.errors import DataError, SettingsError
from semples_cli.types import ClassSet

SUFFIXES = {"jsonl": ".jsonl", "cls-labels-npy": ".npy", "wsss-list": ".txt"}
# All of Unicode, and more often what has a meaning somewhere.
ODD = st.sampled_from("|;,\"'[]\t\r\n\\/.#{}:\0\ufeff\u2028\x85\xa0 \u0301é\u200f\ud800")
ANY = st.text(st.characters() | ODD, max_size=12)
PLAIN = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)


def _read_as(form):
    return "wsss-list-from-0" if form == "wsss-list" else form


def _check_clear(error, start=""):
    """One line, which says where it is from, and after a colon or semicolon what is wrong or to be done."""
    assert "\n" not in str(error)
    assert str(error).startswith(start)
    assert ":" in str(error) or ";" in str(error) or str(error) == "a class name is empty"


def _tables(keys, names):
    """Names of classes, and which of them each image shows."""
    return st.lists(names, min_size=1, max_size=5).flatmap(
        lambda found: st.tuples(
            st.just(found), st.dictionaries(keys, st.sets(st.integers(0, len(found) - 1)), min_size=1, max_size=5)
        )
    )


@given(table=_tables(ANY, ANY), form=st.sampled_from(WRITTEN_FORMS))
@settings(max_examples=300)
def test_any_text_is_read_back_or_refused_before_it_is_written(tmp_path_factory, table, form):
    names, rows = table
    path = tmp_path_factory.mktemp("any") / f"out{SUFFIXES.get(form, '.csv')}"
    try:
        classes = ClassSet(tuple(names))
        wanted = {key: tuple(names[k] for k in sorted(present)) for key, present in rows.items()}
        write_labels(path, form, wanted, classes)
    except DataError as error:
        _check_clear(error)
        assert list(path.parent.iterdir()) == []
        return
    class_list = _class_list(path.with_name("classes.txt"), classes)
    read = load_labels(path, labels_format=_read_as(form), classes=class_list)
    assert read.table.problems == ()
    assert {key: set(row.names) for key, row in read.table.rows.items()} == {k: set(v) for k, v in wanted.items()}


def _class_list(path, classes):
    """The class list as a file; a name that begins with # can stand in a label file but not there."""
    try:
        write_class_list(path, classes)
    except DataError:
        assume(False)
    return path


@given(table=_tables(PLAIN, PLAIN), form=st.sampled_from(WRITTEN_FORMS))
@settings(max_examples=100)
def test_letters_and_digits_of_any_script_are_never_refused(tmp_path_factory, table, form):
    names, rows = table
    assume(len({composed(name) for name in names}) == len(names))
    assume(form != "onehot-csv" or all(appearance(name) != "filename" for name in names))
    assume(form != "wsss-list" or any(rows.values()))
    assume(all(name.casefold() != "background" for name in names))
    path = tmp_path_factory.mktemp("plain") / f"out{SUFFIXES.get(form, '.csv')}"
    classes = ClassSet(tuple(names))
    wanted = {f"{key}.jpg": tuple(names[k] for k in sorted(present)) for key, present in rows.items()}
    write_labels(path, form, wanted, classes)
    read = load_labels(path, labels_format=_read_as(form), classes=_class_list(path.with_name("classes.txt"), classes))
    assert {key: set(row.names) for key, row in read.table.rows.items()} == {k: set(v) for k, v in wanted.items()}


# Class lists


@given(names=st.lists(ANY, min_size=1, max_size=5), prompts=st.lists(ANY, min_size=5, max_size=5))
@settings(max_examples=200)
def test_a_class_list_is_read_back_or_refused(tmp_path_factory, names, prompts):
    path = tmp_path_factory.mktemp("lists") / "classes.txt"
    try:
        classes = ClassSet(tuple(names), tuple(prompts[: len(names)]))
        write_class_list(path, classes)
    except DataError:
        assert list(path.parent.iterdir()) == []
        return
    assert read_class_list(path) == classes


@given(content=st.lists(ANY, max_size=8).map("\n".join))
@settings(max_examples=200)
def test_whatever_is_read_as_a_class_list_can_be_a_class_set(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("lists") / "classes.txt"
    path.write_bytes(content.encode(errors="replace"))
    try:
        classes = read_class_list(path)
    except DataError as error:
        _check_clear(error, str(path))
        return
    assert [classes.index_of(name) for name in classes.names] == list(range(1, len(classes) + 1))
    assert not any(map(name_trouble, classes.names))


@given(name=ANY)
@settings(max_examples=200)
def test_a_name_is_known_by_its_index_however_its_accents_are_written(name):
    assume(not name_trouble(name) and composed(name) != "dog" and name != "background")
    classes = ClassSet(("dog", name))
    assert classes.index_of(name) == classes.index_of(composed(name)) == 2
    assert len(name) <= MAX_CLASS_NAME


# Rows and images

PATHS = st.lists(
    st.lists(st.sampled_from(["a", "b", "e\u0301", "\u00e9", "img.01"]), min_size=1, max_size=3).map("/".join),
    unique=True, min_size=1, max_size=6,
)  # fmt: skip
KEYS = st.lists(
    st.tuples(
        st.sampled_from(["", "./", "x/", "../", "b/"]),
        st.sampled_from(["a", "b", "a/b", "e\u0301", "\u00e9", "img.01", "c", "a/a/a", ".."]),
        st.sampled_from(["", ".jpg", ".PNG", ".txt", "/"]),
    ).map("".join),
    unique=True,
    max_size=8,
)


def _matched(keys, paths, said):
    rows = {key: LabelRow(said[key], 0) for key in keys}
    images = [ImageFile(path, Path("images") / f"{path}.jpg") for path in paths]
    table = LabelTable(rows, None, "", Path("labels.csv"))
    return match_rows(table, images)


@given(keys=KEYS, paths=PATHS, data=st.data())
@settings(max_examples=200)
def test_the_order_of_rows_and_images_changes_nothing(keys, paths, data):
    said = {key: data.draw(st.sampled_from([("cat",), ("dog",), ("cat", "dog"), ()])) for key in keys}
    first = _matched(keys, paths, said)
    other = _matched(data.draw(st.permutations(keys)), data.draw(st.permutations(paths)), said)
    assert _as_sets(first.labelled) == _as_sets(other.labelled)
    assert first.unmatched_rows == other.unmatched_rows
    assert len(first.problems) == len(other.problems)


@given(keys=KEYS, paths=PATHS)
@settings(max_examples=200)
def test_no_image_gets_the_rows_of_two_and_no_row_is_lost(keys, paths):
    """Each row says a class of its own, so that it is seen where it went."""
    matching = _matched(keys, paths, {key: (f"class of {key}",) for key in keys})
    used = [row.names for row in matching.labelled.values()]
    assert len(set(used)) == len(used)
    assert matching.labelled.keys() <= set(paths)
    free = len(keys) - len(used) - len(matching.unmatched_rows)
    # What is neither used nor unmatched stands in a problem: of one row that may be several images, or of an image
    # that several rows label.
    assert bool(free) == bool(matching.problems)


def _as_sets(labelled):
    return {image: set(row.names) for image, row in labelled.items()}


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["cat", "dog", "cat|dog", ""])),
        min_size=1,
        max_size=6,
    ),
    data=st.data(),
)
@settings(max_examples=60)
def test_the_order_of_lines_changes_no_label(tmp_path_factory, rows, data):
    folder = tmp_path_factory.mktemp("lines")
    for name in "abc":
        (folder / f"{name}.jpg").touch()
    read = []
    for lines in (rows, data.draw(st.permutations(rows))):
        text = "".join(f"{image}.jpg,{labels}\n" for image, labels in lines)
        (folder / "labels.csv").write_text(f"image,labels\nc.jpg,cat\n{text}")
        try:
            found = load_dataset([folder], labels_format="list-csv")
        except DataError:
            read.append(None)
            continue
        read.append({sample.id: [found.class_set.name_of(k) for k in sample.class_indices] for sample in found.samples})
    assert read[0] == read[1]


@given(keys=st.lists(ANY, max_size=6), names=st.lists(ANY, max_size=4))
@settings(max_examples=200)
def test_what_a_table_takes_is_what_it_was_given_or_a_problem(keys, names):
    table = TableBuilder(Path("labels.csv"), None)
    for line, key in enumerate(keys, 1):
        table.add(key, [(name, 0) for name in names], line)
    found = table.finish("a test")
    assert all(not name_trouble(name) for row in found.rows.values() for name in row.names)
    assert len(found.rows) + len(found.problems) + found.repeated >= len({key.strip() for key in keys if key.strip()})
    assert {name for row in found.rows.values() for name in row.names} <= {name.strip() for name in names}


# Patterns

CHOICES = st.lists(st.text("abÄ.-", max_size=3), min_size=2, max_size=4).map(
    lambda words: ("{" + ",".join(words) + "}", words)
)


def _range(first, last, padded):
    """A range of numbers as a pattern, and what it stands for."""
    step, width = (1 if first <= last else -1), 3 if padded else 1
    words = [f"{number:0{width}d}" for number in range(first, last + step, step)]
    return f"{{{first:0{width}d}..{last:0{width}d}}}", words


RANGES = st.builds(_range, st.integers(0, 12), st.integers(0, 12), st.booleans())


@given(
    parts=st.lists(CHOICES | RANGES, min_size=1, max_size=3),
    between=st.lists(st.text("xy/", max_size=2), min_size=4, max_size=4),
)
@settings(max_examples=100)
def test_patterns_stand_for_all_combinations_in_order(parts, between):
    text = "t" + "".join(itertools.chain(*zip(between, [pattern for pattern, _ in parts], strict=False)))
    wanted = []
    for chosen in itertools.product(*[words for _, words in parts]):
        name = "t" + "".join(itertools.chain(*zip(between, chosen, strict=False)))
        wanted.append(Path(name))
    assert expand_braces([Path(text)]) == wanted


@given(text=st.text("{}.,0123456789ab", max_size=30))
@settings(max_examples=200)
def test_any_pattern_is_expanded_or_refused(text):
    path = Path(f"t{text}")
    try:
        found = expand_braces([path])
    except SettingsError as error:
        _check_clear(error, str(path))
        return
    assert 1 <= len(found) <= 1_000_000
    assert all(str(name).startswith("t") for name in found)
