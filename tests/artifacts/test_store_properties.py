"""What is written comes back as it was, whatever it holds: names of any characters, numbers of any size, odd shapes."""

import json
import math
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semples_cli.artifacts.cam_store import find_cams, read_cam, stored_scores, write_cam
from semples_cli.artifacts.count_files import (
    PixelCounts,
    counts_path,
    merge_counts,
    read_counts,
    read_fingerprint,
    write_counts,
)
from semples_cli.artifacts.generator_file import KINDS, STAGES, GeneratorWeights, read_generator, write_generator
from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.manifest_entries import FileIdentity, ManifestEntry, item_key, read_entries, read_manifest
from semples_cli.artifacts.mask_png import find_masks, read_mask, write_mask
from semples_cli.artifacts.prompts_file import PromptTraining, read_prompt_training, read_prompts, write_prompts
from semples_cli.artifacts.report_files import PER_CLASS, read_report, report_as_dict, write_report
from semples_cli.artifacts.run_folder import (
    RunFolder,
    class_record,
    read_class_set,
    read_run_record,
    write_run_record,
)
from semples_cli.artifacts.tensor_file import read_tensors, write_tensors
from semples_cli.class_names import composed, name_trouble
from semples_cli.types import Cam, ClassSet, PromptSet, Report, Shard

FEW = settings(max_examples=40)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
# File names are bytes; those that are no valid UTF-8 reach Python as lone surrogates.
FILE_NAMES = TEXT.filter(bool) | st.binary(min_size=1, max_size=8).map(os.fsdecode)
CLASS_NAMES = TEXT.filter(lambda name: not name_trouble(name) and name != "background")
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
UNIT = st.floats(0, 1)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
SETTINGS = st.dictionaries(TEXT, JSON_VALUES, max_size=3)
CURVES = st.dictionaries(TEXT, st.lists(NUMBERS, max_size=4), max_size=3)
HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One for all examples: each writes over what the one before it wrote."""
    return tmp_path_factory.mktemp("stores")


@st.composite
def class_sets(draw, most=5):
    names = tuple(draw(st.lists(CLASS_NAMES, min_size=1, max_size=most, unique_by=composed)))
    return ClassSet(names, tuple(draw(CLASS_NAMES) for _ in names))


def assert_equal_arrays(one, other):
    np.testing.assert_array_equal(one, other)
    assert (one.dtype, one.shape) == (other.dtype, other.shape)


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)), st.sampled_from(["palette", "L"]))
@FEW
def test_masks(folder, values, mode):
    write_mask(folder / "mask.png", values, mode)
    assert_equal_arrays(read_mask(folder / "mask.png"), values)
    first = (folder / "mask.png").read_bytes()
    write_mask(folder / "mask.png", values, mode)
    assert (folder / "mask.png").read_bytes() == first


@st.composite
def cams(draw):
    shape = draw(st.tuples(st.integers(0, 4), st.integers(1, 9), st.integers(1, 9)))
    scores = draw(hnp.arrays(np.float32, shape, elements=st.floats(0, 1, width=32)))
    indices = draw(st.lists(st.integers(1, 254), min_size=shape[0], max_size=shape[0], unique=True))
    size = draw(st.tuples(st.integers(1, 10**4), st.integers(1, 10**4)))
    return Cam("a/1", np.array(indices, np.int64), scores, size)


@given(cams(), SETTINGS)
@FEW
def test_cams(folder, cam, facts):
    path = write_cam(folder / "cams", cam, facts)
    found = read_cam(path, "a/1")
    assert_equal_arrays(found.class_indices, cam.class_indices)
    assert_equal_arrays(found.scores, stored_scores(cam.scores))
    assert (found.sample_id, found.image_size) == ("a/1", cam.image_size)
    with np.load(path) as arrays:
        assert json.loads(arrays["settings"].item()) == facts
    first = path.read_bytes()
    assert write_cam(folder / "cams", found, facts).read_bytes() == first  # what was read is written as it was


@given(st.lists(st.text("ab .é,#%", min_size=1, max_size=4).map(str.strip), min_size=1, max_size=4, unique=True))
@FEW
def test_ids_of_cams_and_masks(tmp_path_factory, names):
    ids = sorted({f"{name}/{name}" for name in names if name.strip(".") and not name.startswith(".")})
    root = tmp_path_factory.mktemp("ids")
    for sample_id in ids:
        write_cam(root / "cams", Cam(sample_id, np.array([1]), np.zeros((1, 1, 1), np.float32), (1, 1)), {})
        write_mask(root / "masks" / f"{sample_id}.png", np.zeros((1, 1), np.uint8))
    if ids:
        assert list(find_cams(root / "cams")) == list(find_masks(root / "masks")) == ids


@given(
    st.dictionaries(
        TEXT.filter(lambda name: name != "__metadata__"),
        hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)),
        min_size=1,
        max_size=3,
    ),
    st.dictionaries(TEXT, TEXT, max_size=3),
)
@FEW
def test_tensors(folder, arrays, metadata):
    path = write_tensors(folder / "any.safetensors", arrays, metadata)
    found, texts = read_tensors(path, "write it again")
    assert texts == metadata
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert_equal_arrays(found[name], array)


@st.composite
def prompt_sets(draw):
    classes = draw(class_sets())
    shape = (len(classes), draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    vectors = draw(hnp.arrays(np.float32, shape, elements=FLOATS))
    template = draw(TEXT.filter(lambda text: "{}" not in text)) + " {}."
    return PromptSet(
        classes.names,
        classes.prompt_names,
        vectors,
        draw(TEXT),
        draw(HASHES),
        draw(st.booleans()),
        template,
        draw(SETTINGS),
    )


@given(prompt_sets(), CURVES, TEXT)
@FEW
def test_prompts(folder, prompts, curves, fingerprint):
    path = write_prompts(folder / "prompts.safetensors", prompts, PromptTraining(curves, fingerprint))
    found = read_prompts(path)
    assert_equal_arrays(found.vectors, prompts.vectors)
    assert replace(found, vectors=prompts.vectors) == prompts
    training = read_prompt_training(path)
    assert (training.curves, training.fingerprint) == (curves, fingerprint)
    first = path.read_bytes()
    assert write_prompts(path, found, training).read_bytes() == first


@st.composite
def generators(draw):
    classes = draw(class_sets())
    shapes = hnp.array_shapes(min_dims=1, max_dims=2, max_side=3)
    tensors = draw(st.dictionaries(st.text("ab.0", min_size=1), hnp.arrays(np.float32, shapes, elements=FLOATS)))
    shape = draw(st.dictionaries(TEXT, st.integers(0, 4096) | st.floats(0, 1) | TEXT, max_size=3))
    kind, stage = draw(st.sampled_from(KINDS)), draw(st.sampled_from(STAGES))
    return GeneratorWeights(
        kind,
        stage,
        classes.names,
        classes.prompt_names,
        draw(TEXT),
        draw(HASHES),
        draw(st.booleans()),
        shape,
        tensors,
        draw(SETTINGS),
        draw(CURVES),
        draw(TEXT),
    )


@given(generators())
@FEW
def test_generators(folder, generator):
    path = write_generator(folder / "generator.safetensors", generator)
    found = read_generator(path)
    assert replace(found, tensors={}) == replace(generator, tensors={})
    assert (found.sha256, found.record) == (generator.sha256, generator.record)
    for name, tensor in generator.tensors.items():
        assert_equal_arrays(found.tensors[name], tensor)
    first = path.read_bytes()
    assert write_generator(path, found).read_bytes() == first


@st.composite
def pixel_counts(draw, names=None, num_scores=None):
    names = draw(st.lists(CLASS_NAMES, min_size=1, max_size=3, unique=True)) if names is None else names
    number = draw(st.integers(0, 3)) if num_scores is None else num_scores
    size, pixels = len(names) + 1, st.integers(0, 2**50)
    return PixelCounts(
        class_names=("background", *names),
        confusion=draw(hnp.arrays(np.int64, (size, size + 1), elements=pixels)),
        num_images=draw(st.integers(0, 10**9)),
        missing=tuple(sorted(draw(st.lists(FILE_NAMES, max_size=3)))),
        background_score=draw(st.none() | UNIT),
        thresholds=np.linspace(0, 1, number),
        curve=draw(hnp.arrays(np.int64, (size, size, number + 1), elements=pixels)),
        image_scores=draw(st.dictionaries(FILE_NAMES, UNIT | st.just(math.nan), max_size=3)),
    )


def assert_equal_counts(one, other):
    for name in ("class_names", "num_images", "missing", "background_score"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("confusion", "thresholds", "curve"):
        assert_equal_arrays(getattr(one, name), getattr(other, name))
    assert list(one.image_scores) == list(other.image_scores)
    np.testing.assert_array_equal(list(one.image_scores.values()), list(other.image_scores.values()))


@given(pixel_counts(), TEXT)
@FEW
def test_counts(folder, counts, fingerprint):
    path = counts_path(folder, Shard(1, 2))
    write_counts(path, counts, fingerprint)
    assert_equal_counts(read_counts(path), counts)
    assert read_fingerprint(path) == fingerprint


@given(st.lists(pixel_counts(["cat"], 2), min_size=1, max_size=4), st.randoms())
@FEW
def test_counts_add_up_in_any_order(parts, random):
    parts = [replace(part, background_score=0.5, image_scores={}) for part in parts]
    merged = merge_counts(parts)
    assert_equal_counts(merge_counts(random.sample(parts, len(parts))), merged)
    np.testing.assert_array_equal(merged.confusion, sum(part.confusion for part in parts))
    np.testing.assert_array_equal(merged.curve, sum(part.curve for part in parts))
    assert merged.num_images == sum(part.num_images for part in parts)
    assert sorted(merged.missing) == sorted(name for part in parts for name in part.missing)


IDENTITIES = st.builds(FileIdentity, FILE_NAMES, st.integers(0), st.integers(0), HASHES)
ENTRIES = st.builds(
    ManifestEntry,
    id=FILE_NAMES,
    status=st.sampled_from(["ok", "skipped", "failed"]),
    reason=FILE_NAMES | st.just(""),
    key=HASHES | st.just(""),
    seconds=st.floats(0, 1e9),
    output=FILE_NAMES.filter(lambda path: path[0] != "/" and ".." not in path.split("/")) | st.just(""),
    confidence=st.none() | UNIT,
    files=st.lists(IDENTITIES, max_size=2).map(tuple),
    class_confidence=st.dictionaries(st.integers(1, 254).map(str), UNIT, max_size=2),
    coverage=st.none() | UNIT,
)


@given(st.lists(ENTRIES, max_size=5))
@FEW
def test_manifest_lines(tmp_path_factory, entries):
    run = RunFolder(tmp_path_factory.mktemp("run"))
    with Manifest(run) as manifest:
        for entry in entries:
            manifest.append(entry)
    last = {entry.id: entry for entry in entries}
    assert read_manifest(run.manifest) == read_entries(run) == last
    assert run.manifest.read_bytes().count(b"\n") == len(entries)  # whatever the names hold
    with Manifest(run) as manifest:
        assert manifest.entries == last


@given(st.lists(ENTRIES, min_size=1, max_size=3, unique_by=lambda entry: entry.id), st.data())
@FEW
def test_a_manifest_cut_anywhere_loses_its_last_line_alone(tmp_path_factory, entries, data):
    run = RunFolder(tmp_path_factory.mktemp("run"))
    with Manifest(run) as manifest:
        for entry in entries:
            manifest.append(entry)
    whole = run.manifest.read_bytes()
    first_of_last = whole[:-1].rfind(b"\n") + 1
    run.manifest.write_bytes(whole[: data.draw(st.integers(first_of_last, len(whole) - 1))])
    assert list(read_manifest(run.manifest).values()) == entries[:-1]


@given(st.lists(IDENTITIES, max_size=2), SETTINGS)
@FEW
def test_keys_know_contents_and_facts_and_not_where_files_lie(files, facts):
    key = item_key(files, facts)
    assert item_key([replace(file, path="elsewhere", mtime_ns=0) for file in files], facts) == key
    assert item_key(files, dict(reversed(facts.items()))) == key
    assert item_key(files, {**facts, "one more fact": 1}) != key
    assert item_key([*files, FileIdentity("x", 1, 1, "0" * 64)], facts) != key


@given(class_sets(), SETTINGS, st.lists(FILE_NAMES, max_size=2))
@FEW
def test_run_records(folder, classes, facts, inputs):
    write_run_record(folder, {"command": "cams", "settings": facts, "classes": class_record(classes), "inputs": inputs})
    record = read_run_record(folder)
    assert (record["settings"], record["inputs"]) == (facts, inputs)
    assert read_class_set(folder) == classes


SHARES = UNIT | st.just(math.nan)


@st.composite
def reports(draw):
    names = ("background", *draw(st.lists(CLASS_NAMES, max_size=3, unique=True)))
    size = len(names)
    return Report(
        class_names=names,
        **{key: np.array(draw(st.lists(SHARES, min_size=size, max_size=size)), np.float64) for key in PER_CLASS},
        miou=draw(SHARES),
        num_classes_averaged=draw(st.integers(0, size)),
        pixel_accuracy=draw(SHARES),
        confusion=draw(hnp.arrays(np.int64, (size, size + 1), elements=st.integers(0, 2**60))),
        coverage=draw(SHARES),
        num_images=draw(st.integers(0, 10**9)),
        missing=tuple(draw(st.lists(FILE_NAMES, max_size=3))),
        background_score=draw(st.none() | UNIT),
        curve=tuple(draw(st.lists(st.tuples(UNIT, SHARES), max_size=3))),
    )


@given(reports())
@FEW
def test_reports(folder, report):
    found = read_report(write_report(folder, report))
    for name in (*PER_CLASS, "confusion"):
        assert_equal_arrays(getattr(found, name), getattr(report, name))
    np.testing.assert_equal(report_as_dict(found), report_as_dict(report))
    assert (found.class_names, found.missing) == (report.class_names, report.missing)
    assert (folder / "curve.csv").exists() == bool(report.curve)
