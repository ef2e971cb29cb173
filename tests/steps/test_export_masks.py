"""The step behind `semples export` of masks: what it reads, refuses, lists, keeps and leaves when the disk fails."""

import dataclasses
import json
from contextlib import contextmanager

import numpy as np
import pytest
from export_world import CLASSES, MASKS, NUM_VOID, files_in, write_images
from PIL import Image

from semples_cli.artifacts.export.protocol import ExportSettings
from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.manifest_entries import ManifestEntry
from semples_cli.artifacts.mask_png import write_mask
from semples_cli.artifacts.run_folder import RunFolder, class_record, write_run_record
from semples_cli.data.image_folder import find_images
from semples_cli.errors import ArtifactError, SettingsError
from semples_cli.steps.export_masks import FORMATS, check_options, export_masks, load_exporter
from semples_cli.steps.progress import silent
from semples_cli.types import ClassSet, Shard

# Label Studio needs its SDK, whose tests are apart.
ALL = ("coco", "cvat", "hf", "labelme", "voc", "yolo")
INDEX = {
    "coco": "instances.json",
    "cvat": "annotations.zip",
    "hf": "metadata.jsonl",
    "labelme": "labels.txt",
    "voc": "splits/train.txt",
    "yolo": "data.yaml",
}


@pytest.fixture
def world(tmp_path):
    """images/ and masks/, a run folder that says where the images are."""
    write_images(tmp_path / "images")
    for sample_id, values in MASKS.items():
        write_mask(tmp_path / f"masks/{sample_id}.png", values)
    record = {"command": "cams", "inputs": [str(tmp_path / "images")], "classes": class_record(CLASSES)}
    write_run_record(tmp_path / "masks", record)
    return tmp_path


def export(world, to="coco", settings=None, source="masks", out="out", **kwargs):
    return export_masks(world / source, world / out, to, settings, progress=kwargs.pop("progress", silent), **kwargs)


def visible(folder):
    return [name for name in files_in(folder) if not name.startswith(".semples")]


def exported_names(world):
    return [image["file_name"] for image in json.loads((world / "out/instances.json").read_bytes())["images"]]


@pytest.mark.parametrize("to", ALL)
def test_every_mask_is_exported_and_the_index_is_returned(world, to):
    done = export(world, to)
    assert (done.summary.written, done.summary.failed, done.summary.skipped) == (len(MASKS), (), ())
    assert world / "out" / INDEX[to] in done.files
    assert all(path.is_file() for path in done.files)
    assert not list((world / "out").rglob("*.partial"))


@pytest.mark.parametrize("to", sorted(FORMATS))
def test_each_exporter_has_only_options_that_there_are(to):
    exporter = load_exporter(to)
    assert exporter.options <= {field.name for field in dataclasses.fields(ExportSettings)}


@pytest.mark.parametrize(
    ("to", "rule"),
    [
        ("coco", "left out: COCO has no ignored pixels"),
        ("cvat", "written as 0, background"),
        ("hf", None),
        ("voc", None),
    ],
)
def test_what_becomes_of_void_is_said_with_its_size(world, to, rule):
    notes = []
    export(world, to, note=notes.append)
    said = [
        note for note in notes if note.startswith(f"{sum(NUM_VOID.values())} pixels of 255 (ignore) in 3 masks are ")
    ]
    assert len(said) == (rule is not None)
    assert rule is None or rule in said[0]


def test_without_void_nothing_is_said(world):
    for sample_id in ("a/void", "a/b/ring", "ragged"):
        write_mask(world / f"masks/{sample_id}.png", np.zeros_like(MASKS[sample_id]))
    notes = []
    export(world, "cvat", note=notes.append)
    assert notes == []


def test_progress_counts_masks_to_the_end(world):
    steps = []
    export(world, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(number, len(MASKS)) for number in range(1, len(MASKS) + 1)]


def test_confidences_of_the_manifest_are_handed_on(world):
    with Manifest(RunFolder(world / "masks")) as manifest:
        manifest.append(ManifestEntry("full", "ok", class_confidence={"3": 0.5}))
    export(world)
    annotations = json.loads((world / "out/instances.json").read_bytes())["annotations"]
    assert [each["score"] for each in annotations if "score" in each] == [0.5]


# What cannot be exported


def break_png(world):
    (world / "masks/full.png").write_bytes((world / "masks/full.png").read_bytes()[:50])


def break_size(world):
    Image.new("RGB", (5, 5)).save(world / "images/full.jpg")


def break_image(world):
    (world / "images/full.jpg").write_bytes(b"not an image")


def break_values(world):
    write_mask(world / "masks/full.png", np.full((6, 9), 5, np.uint8))


def remove_image(world):
    (world / "images/full.jpg").unlink()


@pytest.mark.parametrize(
    ("breaks", "reason"),
    [
        (break_png, "full.png: this PNG is damaged"),
        (break_size, "the mask is 6 × 9, the image"),
        (break_image, "full.jpg: not an image that can be read"),
        (break_values, "full.png holds 5, but there are 4 classes; add --classes"),
        (remove_image, "no image with this id; give the image folder"),
    ],
)
def test_what_cannot_be_exported_is_listed_and_the_rest_is_written(world, breaks, reason):
    breaks(world)
    done = export(world)
    assert done.summary.written == len(MASKS) - 1
    assert [sample_id for sample_id, _ in done.summary.failed] == ["full"]
    assert reason in done.summary.failed[0][1]
    assert exported_names(world) == [f"{sample_id}.jpg" for sample_id in MASKS if sample_id != "full"]


def test_what_an_exporter_refuses_is_listed_too_and_its_void_is_not_counted(world):
    write_images(world / "images", {"#1": MASKS["a/void"]})
    write_mask(world / "masks/#1.png", MASKS["a/void"])
    notes = []
    done = export(world, "cvat", note=notes.append)
    assert [sample_id for sample_id, _ in done.summary.failed] == ["#1"]
    assert notes[0].startswith(f"{sum(NUM_VOID.values())} pixels of 255 (ignore) in 3 masks")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a\\1", "holds a backslash"), ("a\n1", "control character"), ("\udcff", "is no valid UTF-8")],
)
def test_names_that_no_index_can_hold_fail_alone(world, name, reason):
    try:
        write_images(world / "images", {name: MASKS["one"]})
        write_mask(world / f"masks/{name}.png", MASKS["one"])
    except (OSError, ValueError):
        pytest.skip("this file system does not have such names")
    done = export(world)
    assert [sample_id for sample_id, _ in done.summary.failed] == [name]
    assert reason in done.summary.failed[0][1]
    assert done.summary.failed[0][1].endswith("rename the image")


def test_an_image_without_a_mask_is_skipped(world):
    write_images(world / "images", {"z": MASKS["one"], "b": MASKS["one"]})
    reason = f"no mask in {world / 'masks'}"
    assert export(world).summary.skipped == (("b", reason), ("z", reason))


def test_masks_are_upright_as_images_are(world):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (6, 9)).save(world / "images/full.jpg", exif=exif)  # stored 9 × 6, meant 6 × 9
    assert export(world).summary.failed == ()


# Where things are


def test_any_folder_of_masks_goes_with_images_and_classes(world):
    plain = world / "plain"
    for sample_id in ("full", "a/b/ring"):
        write_mask(plain / f"{sample_id}.png", MASKS[sample_id], "L")
    done = export(world, source="plain", images=world / "images", class_set=CLASSES)
    assert exported_names(world) == ["a/b/ring.jpg", "full.jpg"]
    assert len(done.summary.skipped) == len(MASKS) - 2


def test_images_may_be_given_as_found(world):
    images = [image for image in find_images([world / "images"]) if image.id == "full"]
    done = export(world, images=images)
    assert exported_names(world) == ["full.jpg"]
    assert len(done.summary.failed) == len(MASKS) - 1


def test_other_names_rename_the_classes_of_a_run(world):
    export(world, class_set=ClassSet(("w", "x", "y", "z")))
    categories = json.loads((world / "out/instances.json").read_bytes())["categories"]
    assert [category["name"] for category in categories] == ["w", "x", "y", "z"]


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"to": "pascal"}, SettingsError, "--to pascal: choose one of coco, cvat, hf, label-studio"),
        (
            {"to": "voc", "settings": ExportSettings(instances="components")},
            SettingsError,
            "--instances: --to voc does",
        ),
        ({"class_set": ClassSet(("a",))}, SettingsError, "lists 4 classes, --classes 1"),
        ({"source": "images"}, ArtifactError, "images: no mask PNGs here; give the folder"),
        ({"source": "nowhere"}, ArtifactError, "nowhere: no such folder"),
        ({"source": "plain"}, SettingsError, "nothing here says where the images are; give them with --images"),
        ({"out": "masks"}, SettingsError, "lie inside each other"),
        ({"out": "masks/out"}, SettingsError, "lie inside each other"),
        ({"out": "images"}, SettingsError, "is where the images lie"),
        ({"out": "."}, SettingsError, "lie inside each other"),
    ],
)
def test_refusals_write_nothing(world, kwargs, error, message):
    write_mask(world / "plain/full.png", MASKS["full"])
    before = files_in(world)
    with pytest.raises(error, match=message):
        export(world, **kwargs)
    assert files_in(world) == before


def test_without_classes_none_are_invented(world):
    write_mask(world / "plain/full.png", MASKS["full"])
    with pytest.raises(SettingsError, match=r"plain does not say its classes .*: add --classes classes\.txt"):
        export(world, source="plain", images=world / "images")


def test_a_folder_that_holds_the_images_is_no_place_for_an_export(world):
    (world / "data").mkdir()
    (world / "images").rename(world / "data/images")
    with pytest.raises(SettingsError, match="holds the images"):
        export(world, out="data", images=world / "data/images", overwrite=True)


@pytest.mark.parametrize(
    ("to", "given", "message"),
    [
        ("cvat", ["instances", "copy_images"], "^--instances, --copy-images: --to cvat .*it has no options of its own"),
        ("coco", ["shard_size"], r"^--shard-size: --to coco .*\(it has --instances, --polygons\)$"),
    ],
)
def test_options_that_a_format_does_not_have_are_refused_by_name(to, given, message):
    with pytest.raises(SettingsError, match=message):
        check_options(to, load_exporter(to), given)


# Shards


def masks_of(world):
    """Ids of the masks of each shard, as their indices name them."""
    found = {}
    for folder in sorted((world / "out").iterdir()):
        document = json.loads((folder / "instances.json").read_bytes())
        found[folder.name] = [image["file_name"].removesuffix(".jpg") for image in document["images"]]
    return found


def test_each_mask_and_each_skipped_image_is_in_one_shard(world):
    write_images(world / "images", dict.fromkeys(("0", "b", "x", "z"), MASKS["one"]))
    done = [export(world, shard=Shard(i, 3)) for i in (1, 2, 3)]
    assert masks_of(world) == {f"shard-{i}of3": sorted(MASKS)[i - 1 :: 3] for i in (1, 2, 3)}
    assert [each.summary.written for each in done] == [3, 2, 2]
    assert [[key for key, _ in each.summary.skipped] for each in done] == [["0", "z"], ["b"], ["x"]]
    assert [each.files for each in done] == [(world / f"out/shard-{i}of3/instances.json",) for i in (1, 2, 3)]


@pytest.mark.parametrize("to", ALL)
@pytest.mark.parametrize("shard", [Shard(2, 3), Shard(9, 9)], ids=str)
def test_a_shard_is_the_export_of_its_masks_alone(world, to, shard):
    own = sorted(MASKS)[shard.part]
    (world / "own").mkdir()
    for sample_id in own:
        write_mask(world / f"own/{sample_id}.png", MASKS[sample_id])
    done = export(world, to, shard=shard)
    assert (done.summary.written, done.summary.failed) == (len(own), ())
    root = world / f"out/shard-{shard.index}of{shard.count}"
    assert all(path.is_file() and path.is_relative_to(root) for path in done.files)
    if own:
        export(world, to, source="own", out="expected", images=world / "images", class_set=CLASSES)
        assert visible(root) == visible(world / "expected")
        for name in visible(root):
            content = (root / name).read_bytes().replace(bytes(root), bytes(world / "expected"))
            assert content == (world / "expected" / name).read_bytes(), name
    again = export(world, to, shard=shard)
    assert (again.summary.written, again.summary.resumed, again.files) == (0, len(own), done.files)


def test_a_bad_mask_fails_in_its_shard_alone(world):
    break_png(world)
    done = [export(world, shard=Shard(i, 2)) for i in (1, 2)]
    assert [[key for key, _ in each.summary.failed] for each in done] == [[], ["full"]]


@pytest.mark.parametrize(
    ("first", "message"),
    [(Shard(1, 3), r"holds another number of shards \(shard-1of3\)"), (None, "an export that is not cut into shards")],
)
def test_shards_beside_another_cut_are_refused(world, first, message):
    export(world, shard=first)
    before = files_in(world / "out")
    with pytest.raises(SettingsError, match=f"{message}, and with --shard 1/2 images .* twice: choose another --out"):
        export(world, shard=Shard(1, 2), overwrite=True)
    assert files_in(world / "out") == before


def test_a_whole_export_beside_shards_is_refused(world):
    export(world, shard=Shard(1, 2))
    with pytest.raises(SettingsError, match="is not empty and no export of ours"):
        export(world)


def test_shards_may_not_lie_in_what_is_read(world):
    with pytest.raises(SettingsError, match="lie inside each other"):
        export(world, out="masks", shard=Shard(1, 2))


# Doing it again


@pytest.mark.parametrize("to", ALL)
def test_the_same_export_is_kept(world, to):
    first = export(world, to)
    stamp = first.files[0].stat().st_mtime_ns
    again = export(world, to)
    assert (again.summary.written, again.summary.resumed, again.files) == (0, len(MASKS), first.files)
    assert first.files[0].stat().st_mtime_ns == stamp


def test_a_complete_export_of_other_masks_is_not_replaced_unasked(world):
    export(world)
    write_mask(world / "masks/one.png", np.zeros((1, 1), np.uint8))
    with pytest.raises(
        SettingsError, match="holds a complete export, and masks changed since; choose another --out, or"
    ):
        export(world)
    assert export(world, overwrite=True).summary.written == len(MASKS)


def test_an_index_that_was_removed_is_written_again(world):
    export(world)
    (world / "out/instances.json").unlink()
    assert export(world).summary.written == len(MASKS)


def test_an_export_with_failures_is_made_again(world):
    break_png(world)
    export(world)
    write_mask(world / "masks/full.png", MASKS["full"])
    assert export(world).summary.written == len(MASKS)


def test_another_format_needs_overwrite_and_leaves_nothing_of_the_first(world):
    export(world, "voc")
    with pytest.raises(SettingsError, match="was made by `semples export --to voc`; choose another --out"):
        export(world, "coco")
    export(world, "coco", overwrite=True)
    assert visible(world / "out") == ["instances.json"]


def test_images_that_are_gone_leave_the_export_when_it_is_made_again(world):
    export(world, "hf")
    (world / "masks/one.png").unlink()
    export(world, "hf", overwrite=True)
    assert not (world / "out/images/one.jpg").exists()
    assert not (world / "out/masks/one.png").exists()
    assert (world / "images/one.jpg").exists()  # the link went, the image stayed


def test_a_folder_of_the_users_is_added_to_by_overwrite_alone(world):
    (world / "out").mkdir()
    (world / "out/notes.txt").write_text("mine")
    with pytest.raises(SettingsError, match="is not empty and no export of ours"):
        export(world)
    assert files_in(world / "out") == ["notes.txt"]
    export(world, overwrite=True)
    assert visible(world / "out") == ["instances.json", "notes.txt"]


def test_a_run_folder_is_no_place_for_an_export(world):
    write_run_record(world / "out", {"command": "crf"})
    with pytest.raises(SettingsError, match="was made by `semples crf`"):
        export(world)


def test_a_list_that_leads_out_of_the_folder_is_not_followed(world):
    export(world, "hf")
    (world / "out/.semples/written.txt").write_text("../images/one.jpg\n")
    with pytest.raises(ArtifactError, match="lies outside of the export"):
        export(world, "hf", overwrite=True)
    assert (world / "images/one.jpg").exists()


# When it is cut short


@contextmanager
def small_disk():
    """No file may grow beyond 4000 bytes, as on a disk that fills up."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("to", ALL)
def test_a_disk_that_fails_leaves_no_index_and_the_same_command_goes_on(world, to):
    noise = np.random.default_rng(0).integers(0, 4, (150, 150)).astype(np.uint8)  # 6 kB as PNG, more as RLE
    write_images(world / "images", {"b": noise})
    write_mask(world / "masks/b.png", noise)
    failed = pytest.raises(ArtifactError, match=r"cannot be written \(File too large\); make room")
    with small_disk(), failed:
        export(world, to)
    assert not (world / "out" / INDEX[to]).exists()
    assert not list((world / "out").rglob("*.partial"))
    assert json.loads((world / "out/.semples/run.json").read_text())["complete"] is False
    assert export(world, to).summary.written == len(MASKS) + 1


@pytest.mark.parametrize("to", ALL)
def test_an_interrupt_leaves_no_index(world, to):
    def interrupt(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(world, to, progress=interrupt)
    assert not (world / "out" / INDEX[to]).exists()
    assert not list((world / "out").rglob("*.partial"))


def test_two_exports_do_not_write_into_one_folder(world):
    def again(done, total):
        with pytest.raises(ArtifactError, match="another semples run"):
            export(world)

    export(world, progress=again)
    assert len(exported_names(world)) == len(MASKS)
