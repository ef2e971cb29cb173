"""Every command on images in tars: the same bytes as from the same images in a folder, resume, changes, bad members."""

import io
import json
import os
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image
from small_world import CLASSES, CLIP_CONFIG, PHOTOS
from tar_files import FORMATS, special, write_tar
from typer.testing import CliRunner

from semples_cli.artifacts.manifest_entries import read_manifest
from semples_cli.artifacts.mask_png import find_masks, read_mask
from semples_cli.artifacts.prompts_file import read_prompts
from semples_cli.artifacts.run_folder import RunFolder, read_run_record
from semples_cli.cli.app import app

ENGINE = ["--device", "cpu", "--precision", "fp32"]
CAMS = [*ENGINE, "--size", "40", "--batch-size", "2"]
WIDE = {"COLUMNS": "300", "TERM": "dumb"}


@pytest.fixture
def folder(photos, monkeypatch):
    """The tests stand in the folder that holds `images/`, `shards/photos.tar` with the same, and `classes.txt`."""
    folder = photos.parent
    monkeypatch.chdir(folder)
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    (folder / "shards").mkdir()
    write_tar(folder / "shards/photos.tar", members_of(photos))
    return folder


def members_of(photos, ids=PHOTOS):
    """Image and labels of each photo, as WebDataset lays them out."""
    members = {}
    for sample_id in ids:
        members[f"{sample_id}.jpg"] = (photos / f"{sample_id}.jpg").read_bytes()
        members[f"{sample_id}.json"] = json.dumps({"labels": PHOTOS[sample_id][1]}).encode()
    return members


def semples(*args):
    return CliRunner().invoke(app, [*map(str, args)], env=WIDE)


@pytest.fixture
def cams(clip_dir):
    def run(*args):
        return semples("cams", *args, "--weights", clip_dir, *CAMS)

    return run


def masks_of(out, tar=""):
    """Bytes of the masks by id, without the tar's name."""
    found = {path.relative_to(out).as_posix() for path in out.rglob("*.png") if "overlays" not in path.parts}
    assert all(name.startswith(tar) for name in found)
    return {name.removeprefix(tar): (out / name).read_bytes() for name in found}


@pytest.mark.parametrize("form", FORMATS)
def test_cams_of_a_tar_are_those_of_the_folder(cams, folder, form):
    write_tar(folder / "shards/photos.tar", members_of(folder / "images"), form, prefix="./")
    plain = cams("images", "--out", "plain", "--overlay")
    assert plain.exit_code == 0, plain.stderr
    packed = cams("shards/photos.tar", "--out", "masks", "--overlay")
    assert packed.exit_code == 0, packed.stderr
    assert "read as WebDataset, .json 'labels': 3 classes, 5 images" in packed.stderr
    assert masks_of(folder / "masks", "photos/") == masks_of(folder / "plain")
    assert set(find_masks(folder / "masks")) == {f"photos/{sample_id}" for sample_id in PHOTOS}
    for name in ("masks/.semples/cams/photos/a/1.npz", "masks/overlays/photos/a/1.png"):
        theirs = folder / name.replace("masks/", "plain/").replace("photos/", "")
        assert (folder / name).read_bytes() == theirs.read_bytes()
    assert read_run_record(folder / "masks")["inputs"] == [str(folder / "shards/photos.tar")]
    assert not list(folder.rglob("shards/*.jpg"))


def test_a_folder_of_shards_a_pattern_and_an_expanded_one_are_one(cams, folder):
    (folder / "shards/photos.tar").unlink()
    halves = (["a/1", "a/2", "b"], ["empty", "one"])
    for k, half in enumerate(halves):
        write_tar(folder / f"shards/train-{k:03}.tar", members_of(folder / "images", half))
    expected = {f"train-{k:03}/{sample_id}" for k, half in enumerate(halves) for sample_id in half}
    shards = [folder / f"shards/train-{k:03}.tar" for k in range(2)]
    for number, given in enumerate((["shards/"], ["shards/train-{000..001}.tar"], shards, ["--data", "shards"])):
        done = cams(*given, "--out", f"masks-{number}")
        assert done.exit_code == 0, done.stderr
        assert set(find_masks(folder / f"masks-{number}")) == expected
        assert masks_of(folder / f"masks-{number}") == masks_of(folder / "masks-0")
    assert read_run_record(folder / "masks-1")["inputs"] == [str(path) for path in shards]


def test_a_second_run_keeps_what_is_done_and_redoes_what_changed(cams, folder):
    tar, photos = folder / "shards/photos.tar", folder / "images"
    assert cams(tar, "--out", "masks").exit_code == 0
    before = read_manifest(RunFolder(folder / "masks").manifest)
    assert {entry.files[0].path for entry in before.values()} == {str(tar / f"{name}.jpg") for name in PHOTOS}
    entry = before["photos/b"]
    assert (entry.files[0].size, entry.files[0].mtime_ns) == (
        (photos / "b.jpg").stat().st_size,
        tar.stat().st_mtime_ns,
    )
    again = cams(tar, "--out", "masks", "--json")
    assert (json.loads(again.stdout)["written"], json.loads(again.stdout)["resumed"]) == (0, 5)
    os.utime(tar, ns=(1, 1))  # touched: read again, but nothing is redone
    again = cams(tar, "--out", "masks", "--json")
    assert (json.loads(again.stdout)["written"], json.loads(again.stdout)["resumed"]) == (0, 5)
    members = members_of(photos)
    members["b.jpg"] = flipped(members["b.jpg"])
    write_tar(tar, dict(reversed(members.items())))  # all lie elsewhere, and one is another
    again = cams(tar, "--out", "masks", "--json")
    assert (json.loads(again.stdout)["written"], json.loads(again.stdout)["resumed"]) == (1, 4)
    after = read_manifest(RunFolder(folder / "masks").manifest)
    assert {key for key in after if after[key].key != before[key].key} == {"photos/b"}


def flipped(content):
    image = Image.open(io.BytesIO(content)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95)
    return out.getvalue()


def test_a_tar_that_changes_during_the_run_is_never_read_at_old_places(cams, folder, monkeypatch):
    """Between planning and reading the tar is written anew, with everything elsewhere."""
    from semples_cli.steps import make_cams

    tar = folder / "shards/photos.tar"
    assert cams(tar, "--out", "calm").exit_code == 0
    plan = make_cams.plan_batches

    def plan_and_change(*args):
        planned = plan(*args)
        write_tar(tar, {"0.txt": bytes(3000), **dict(reversed(members_of(folder / "images").items()))})
        return planned

    monkeypatch.setattr(make_cams, "plan_batches", plan_and_change)
    done = cams(tar, "--out", "masks")
    assert done.exit_code == 0, done.stderr
    assert masks_of(folder / "masks") == masks_of(folder / "calm")


def test_bad_members_fail_by_name_and_stop_nothing(cams, folder):
    tar = folder / "shards/photos.tar"
    good = members_of(folder / "images", ["a/1", "b"])
    with tarfile.open(tar, "w") as handle:
        for name, content in [*good.items(), ("twice.jpg", b"1"), ("twice.jpg", b"2"), ("../out.jpg", b"3")]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            handle.addfile(info, io.BytesIO(content))
        handle.addfile(special("link.jpg", tarfile.SYMTYPE, "/etc/passwd"))
        info = tarfile.TarInfo("noise.jpg")
        info.size = 5
        handle.addfile(info, io.BytesIO(b"noise"))
    done = cams(tar, "--label", "cat", "--out", "masks")
    assert done.exit_code == 3, done.stderr
    assert set(find_masks(folder / "masks")) == {"photos/a/1", "photos/b"}
    for said in (
        f"{tar}/twice.jpg: cannot be read: there are several members of this name in the tar",
        f"{tar}/out.jpg: cannot be read: its name leads out of the tar by '..'",
        f"{tar}/link.jpg: cannot be read: it is a link",
        f"{tar}/noise.jpg: not an image that can be read",
    ):
        assert said in done.stderr
    failed = {key: entry.status for key, entry in read_manifest(RunFolder(folder / "masks").manifest).items()}
    assert [key for key, status in failed.items() if status == "failed"] == [
        f"photos/{name}" for name in ("link", "noise", "out", "twice")
    ]
    assert not (folder.parent / "out.png").exists()


def test_a_tar_that_was_cut_off_ends_with_3(cams, folder, clip_dir):
    tar = folder / "shards/photos.tar"
    data = tar.read_bytes()
    tar.write_bytes(data[: data.index(b"one.jpg")])  # its header's first bytes
    done = cams(tar, "--out", "masks")
    assert done.exit_code == 3, done.stderr
    assert f"{tar}: damaged from byte" in done.stderr
    assert set(find_masks(folder / "masks")) == {f"photos/{name}" for name in PHOTOS if name != "one"}
    tagged = semples("tag", tar, "--classes", "classes.txt", "--out", "l.csv", "--weights", clip_dir, *ENGINE)
    assert tagged.exit_code == 3, tagged.stderr
    assert f"{tar}: damaged from byte" in tagged.stderr


@pytest.mark.parametrize("name", ["photos.tar.gz", "zipped.tar"])
def test_a_compressed_tar_is_refused_before_anything_is_loaded(cams, folder, name):
    import gzip

    packed = folder / name
    packed.write_bytes(gzip.compress((folder / "shards/photos.tar").read_bytes()))
    done = cams(packed, "--out", "masks")
    assert done.exit_code == 1
    assert f"{name}: this tar is compressed" in done.stderr
    assert "decompress it to a plain .tar, or unpack it into a folder" in done.stderr
    assert not (folder / "masks").exists()


def test_crf_check_report_and_export_find_the_images_in_the_tar(cams, folder):
    assert cams("images", "--out", "plain").exit_code == 0
    assert cams("shards/photos.tar", "--out", "masks").exit_code == 0
    for source, out, images in (("plain", "crf-plain", []), ("masks", "crf", []), ("masks", "crf-given", ["shards"])):
        given = ["--images", *images] if images else []
        done = semples("crf", source, "--out", out, "--workers", "1", *given)
        assert done.exit_code == 0, done.stderr
    assert (
        masks_of(folder / "crf", "photos/")
        == masks_of(folder / "crf-plain")
        == masks_of(folder / "crf-given", "photos/")
    )
    checked = semples("check", "masks", "--json")
    assert checked.exit_code == 0, checked.stdout
    assert "no images known" not in checked.stderr
    reported = semples("report", "masks", "--out", "report.html")
    assert reported.exit_code == 0, reported.stderr
    plainly = semples("report", "plain", "--out", "plain.html")
    assert plainly.exit_code == 0, plainly.stderr
    shown = [(folder / name).read_text().count("data:image/webp") for name in ("report.html", "plain.html")]
    assert shown == [len(PHOTOS)] * 2
    for to in ("yolo", "voc", "hf", "coco", "cvat", "labelme"):
        done = semples("export", "masks", "--to", to, "--out", f"as-{to}")
        assert done.exit_code == 0, (to, done.stderr)
    images = {path.relative_to(folder / "as-hf").as_posix(): path for path in (folder / "as-hf").rglob("*.jpg")}
    assert len(images) == len(PHOTOS)
    for name, path in images.items():
        assert path.read_bytes() == (folder / "images" / name.partition("photos/")[2]).read_bytes()


def test_a_pattern_in_images_is_kept_expanded(cams, folder):
    shutil.copy(folder / "shards/photos.tar", folder / "shards/photos-0.tar")
    (folder / "shards/photos.tar").unlink()
    assert cams("shards/photos-{0..0}.tar", "--out", "masks").exit_code == 0
    done = semples("crf", "masks", "--images", "shards/photos-{0..0}.tar", "--out", "crf", "--workers", "1")
    assert done.exit_code == 0, done.stderr
    assert read_run_record(folder / "crf")["inputs"] == [str(folder / "shards/photos-0.tar")]
    assert "not there" not in semples("check", "crf").stderr


def test_crf_workers_read_the_tar_by_themselves(cams, folder):
    assert cams("shards", "--out", "masks").exit_code == 0
    for workers in (1, 2):
        done = semples("crf", "masks", "--out", f"crf-{workers}", "--workers", workers)
        assert done.exit_code == 0, done.stderr
    assert masks_of(folder / "crf-1") == masks_of(folder / "crf-2")


def test_tag_proposes_what_it_proposes_of_the_folder_and_its_file_goes_with_the_tar(cams, folder, clip_dir):
    rows = []
    for number, given in enumerate(("images", "shards")):
        fixed = ["--classes", "classes.txt", "--threshold", "0", "--out", f"l-{number}.csv"]
        done = semples("tag", given, *fixed, "--weights", clip_dir, *ENGINE)
        assert done.exit_code == 0, done.stderr
        rows.append((folder / f"l-{number}.csv").read_text().replace("photos/", ""))
    assert rows[0] == rows[1]
    done = cams("shards", "--labels", "l-1.csv", "--classes", "classes.txt", "--out", "masks")
    assert done.exit_code == 0, done.stderr
    assert len(find_masks(folder / "masks")) == len(PHOTOS)


def test_prompts_learned_from_a_tar_are_those_of_the_folder(folder, clip_dir):
    small = ["--prompt-length", "2", "--epochs", "1", "--batch-size", "2", "--size", "32"]
    for number, given in enumerate(("images", "shards")):
        out = ["--out", f"p-{number}.safetensors", "--weights", clip_dir, *ENGINE, "--min-images", "1"]
        done = semples("learn-prompts", given, *small, *out)
        assert done.exit_code == 0, done.stderr
    plain, packed = (read_prompts(folder / f"p-{number}.safetensors").vectors for number in range(2))
    np.testing.assert_array_equal(plain, packed)


@pytest.fixture(scope="module")
def long_clip_dir(tmp_path_factory):
    """The small CLIP with a token window that holds prompts of the preset's 30 tokens."""
    import open_clip
    import torch

    from semples_cli.engine.model_dir import ModelDir, write_model_dir

    config = {**CLIP_CONFIG, "text_cfg": {**CLIP_CONFIG["text_cfg"], "context_length": 40}}
    folder = tmp_path_factory.mktemp("models") / "long"
    torch.manual_seed(0)
    write_model_dir(ModelDir(folder, config, licence="CC0"), open_clip.CLIP(**config).state_dict())
    return folder


def test_a_whole_run_is_that_of_the_folder_and_goes_on(folder, long_clip_dir):
    """Prompts, seeds, refinement and CRF."""
    small = [*ENGINE, "--size", "32", "--epochs", "1", "--workers", "1", "--min-images", "1"]
    for given, out in (("images", "plain"), ("shards", "packed")):
        done = semples("run", given, "--out", out, "--weights", long_clip_dir, *small)
        assert done.exit_code == 0, done.stderr
    for stage in ("seeds", "refined", "crf"):
        ours = masks_of(folder / "packed" / stage, "photos/")
        assert ours == masks_of(folder / "plain" / stage)
        assert len(ours) == len(PHOTOS)
    before = {path: path.stat().st_mtime_ns for path in (folder / "packed").rglob("*.png")}
    again = semples("run", "shards", "--out", "packed", "--weights", long_clip_dir, *small)
    assert again.exit_code == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_labels_are_inspected_and_converted(folder):
    shown = semples("labels", "inspect", "shards", "--json")
    assert shown.exit_code == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert (found["form"], found["images"], found["rows"], found["empty_rows"]) == ("webdataset", 5, 5, 1)
    assert {each["name"]: each["rows"] for each in found["classes"]} == {"boat": 2, "cat": 1, "dog": 2}
    done = semples("labels", "convert", "shards/photos.tar", "--out", "labels.csv")
    assert done.exit_code == 0, done.stderr
    assert (folder / "labels.csv").read_text().splitlines()[1:] == [
        "photos/a/1,cat",
        "photos/a/2,boat|dog",
        "photos/b,dog",
        "photos/empty,",
        "photos/one,boat",
    ]
    again = semples("labels", "inspect", "shards", "--labels", "labels.csv", "--json")
    counts = {each["name"]: each["images"] for each in json.loads(again.stdout)["classes"]}
    assert counts == {"boat": 2, "cat": 1, "dog": 2}


def test_shards_that_the_webdataset_package_writes_are_read(cams, folder):
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(folder / "shards/photos.tar")) as writer:
        for sample_id, (_, classes) in PHOTOS.items():
            sample = {"__key__": sample_id, "jpg": (folder / f"images/{sample_id}.jpg").read_bytes()}
            number = {"cls": CLASSES.index(classes[0])} if classes else {}
            writer.write({**sample, **number, "json": {"labels": list(classes)}, "txt": "a caption"})
    done = cams("shards", "--classes", "classes.txt", "--out", "masks")
    assert done.exit_code == 3  # of a/2, .cls says one class and .json two
    assert ".cls says boat and .json 'labels' says boat|dog; neither is used" in done.stderr
    assert "WebDataset, .cls and .json 'labels', class numbers from 0" in done.stderr
    assert set(find_masks(folder / "masks")) == {f"photos/{name}" for name in PHOTOS if name != "a/2"}
    assert read_mask(folder / "masks/photos/b.png").shape == PHOTOS["b"][0]
