"""From folders to the page: the document, the gallery, and what happens where something is missing."""

import base64
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from report_world import CLASSES, LEAST_CONFIDENT_FIRST, SCENES, SIZE, WORST_FIRST, band, make_world, write_manifest

from semples_cli.artifacts.manifest_entries import ManifestEntry
from semples_cli.artifacts.mask_png import voc_palette, write_mask
from semples_cli.artifacts.prompts_file import PromptTraining, write_prompts
from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.errors import ArtifactError, DataError
from semples_cli.steps.cam_reader import ANY_FORM
from semples_cli.steps.evaluate_masks import evaluate_cams, evaluate_masks
from semples_cli.steps.make_report import make_evaluation_page, make_report
from semples_cli.steps.progress import silent
from semples_cli.steps.report_stages import score_images
from semples_cli.types import PromptSet


@pytest.fixture
def run(tmp_path):
    return make_world(tmp_path)


@pytest.fixture
def report(run):
    """make_report without bars; notes are kept in `said`."""

    def call(folder=run, *args, **options):
        call.said = []
        return make_report(folder, *args, begin=lambda part: silent, note=call.said.append, **options)

    return call


def images_of(made):
    """What the data block of the page holds of each image, by id."""
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', made.path.read_text(), re.DOTALL)
    return {image["id"]: image for image in json.loads(block[1])["images"]}


def pixels(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGBA"))


def test_the_page_lies_in_the_folder_and_the_document_is_json(run, report, tmp_path):
    made = report(ground_truth=tmp_path / "truth")
    assert made.path == run / "report.html"
    document = json.loads(json.dumps(made.document, allow_nan=False))
    assert document["title"] == "run"
    assert [stage["name"] for stage in document["stages"]] == ["seeds", "crf"]
    assert document["num_masks"] == 4
    assert report.said == []
    assert made.num_missing == 0


def test_the_document_holds_the_evaluation_of_each_stage(report, tmp_path):
    seeds, crf = report(ground_truth=tmp_path / "truth").document["stages"]
    expected = evaluate_masks(tmp_path / "run" / "crf", tmp_path / "truth", progress=silent)
    assert crf["evaluation"]["miou"] == seeds["evaluation"]["miou"] == expected.miou
    assert len(seeds["curve"]) == 101
    assert seeds["best_miou"] == max(miou for _, miou in seeds["curve"] if miou is not None)
    assert (crf["curve"], crf["best_miou"], crf["best_background_score"]) == ([], None, None)
    assert (seeds["background_score"], crf["background_score"]) == (0.4, 0.4)
    assert (seeds["confidence"], crf["confidence"]) == (None, pytest.approx(0.6))
    assert crf["engine"]["licence"] == "MIT-0"


def test_classes_have_the_colours_of_the_masks(report, tmp_path):
    background, cat, dog, emu = report(ground_truth=tmp_path / "truth").document["classes"]
    assert (background["name"], background["colour"]) == ("background", None)
    assert [each["colour"] for each in (cat, dog, emu)] == [
        "#{:02x}{:02x}{:02x}".format(*c) for c in voc_palette()[1:4]
    ]
    assert [each["num_found"] for each in (cat, dog, emu)] == [1, 2, 1]
    assert [each["num_labelled"] for each in (cat, dog, emu)] == [1, 2, 1]
    assert [each["confidence"] for each in (cat, dog, emu)] == pytest.approx([0.9, 0.6, 0.3])
    assert cat["iou"] == pytest.approx(0.5)
    assert cat["coverage"] == 1.0


def test_coverage_of_a_class_is_the_decided_share_of_its_own_pixels(run, report, tmp_path):
    values = band(SCENES["c"][1])
    values[:, 10:] = 255
    write_mask(run / "crf" / "c.png", values)
    made = report(ground_truth=tmp_path / "truth")
    assert made.document["classes"][3]["coverage"] == pytest.approx(0.5)
    assert {image["id"]: image["coverage"] for image in made.document["images"]}["c"] == pytest.approx(0.5)


def test_the_worst_come_first_by_ground_truth_and_the_least_confident_without(report, tmp_path):
    with_truth = report(ground_truth=tmp_path / "truth").document["images"]
    assert [image["id"] for image in with_truth] == WORST_FIRST
    assert [image["score"] for image in with_truth] == pytest.approx([0.0, 0.25, 4 / 12, 1.0])
    without = report().document["images"]
    assert [image["id"] for image in without] == LEAST_CONFIDENT_FIRST
    assert {image["score"] for image in without} == {None}


def test_the_gallery_shows_as_many_as_asked_for(report, tmp_path):
    made = report(ground_truth=tmp_path / "truth", gallery=2)
    assert list(images_of(made)) == WORST_FIRST[:2]
    assert "2 of 4 images: the worst by ground truth" in made.path.read_text()
    assert report(gallery=0).document["images"] == []


def test_each_image_has_its_pictures(run, report, tmp_path):
    image = images_of(report(ground_truth=tmp_path / "truth"))["a/2"]
    pictures = image["pictures"]
    assert sorted(pictures) == ["cams", "error", "image", "mask", "stages", "truth"]
    assert (pixels(pictures["mask"])[..., 3] > 0).tolist() == (band(SCENES["a/2"][1]) > 0).tolist()
    assert (pixels(pictures["truth"])[..., 3] > 0).tolist() == (band(SCENES["a/2"][0]) > 0).tolist()
    differ = band(SCENES["a/2"][0]) != band(SCENES["a/2"][1])
    assert (pixels(pictures["error"])[..., 3] > 0).tolist() == differ.tolist()
    assert list(pictures["stages"]) == ["seeds"]
    assert list(pictures["cams"]) == ["2"]  # those of seeds, which crf was made from
    assert pixels(pictures["image"]).shape[:2] == SIZE
    assert (image["classes"], image["truth_classes"], image["label_classes"]) == ([2], [2], [2])


def test_ground_truth_is_only_read_where_it_is_given(run, report):
    shutil.move(run.parent / "truth", run / "SegmentationClass")  # beside the runs, as in a devkit
    made = report()
    assert made.document["stages"][0]["evaluation"] is None
    assert "truth" not in images_of(made)["b"]["pictures"]


def test_images_that_are_gone_are_said_and_the_rest_is_shown(run, report, tmp_path):
    (tmp_path / "images" / "b.png").unlink()
    made = report()
    images = images_of(made)
    assert images["b"]["pictures"]["image"] is None
    assert images["b"]["trouble"] == "the image was not found"
    assert images["c"]["pictures"]["image"]
    assert report.said == ["1 of 4 images are not to be had and are left out of the page; see --images"]
    shutil.rmtree(tmp_path / "images")
    assert {image["trouble"] for image in images_of(report()).values()} == {"the image was not found"}
    assert "say by --images where they are now" in report.said[0]


def test_images_elsewhere(run, report, tmp_path):
    shutil.move(tmp_path / "images", tmp_path / "moved")
    images = images_of(report(images=tmp_path / "moved"))
    assert all(image["pictures"]["image"] for image in images.values())
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        report(images=tmp_path / "nowhere")


def test_an_image_of_another_size_is_not_shown(run, report, tmp_path):
    Image.new("RGB", (5, 5)).save(tmp_path / "images" / "b.png")
    assert "is not the image of this mask: 5 × 5 and 12 × 20 pixels" in images_of(report())["b"]["trouble"]


def test_a_damaged_image_is_said_and_stops_nothing(run, report, tmp_path):
    (tmp_path / "images" / "b.png").write_bytes(b"\x89PNG")
    assert "b.png" in images_of(report())["b"]["trouble"]


def test_a_damaged_mask_stops_with_its_name(run, report):
    (run / "crf" / "b.png").write_bytes(b"no PNG")
    with pytest.raises(ArtifactError, match=r"b\.png: this file is not a PNG"):
        report()
    assert not (run / "report.html").exists()


def test_failed_and_skipped_items_are_counted_with_their_reasons(run, report, tmp_path):
    others = [ManifestEntry(f"bad{k}", "failed", "truncated file") for k in range(12)]
    others.append(ManifestEntry("none", "skipped", "no label"))
    write_manifest(run / "crf", tmp_path, SCENES, confident=True, others=others)
    crf = report().document["stages"][-1]
    assert crf["counts"] == {"ok": 4, "skipped": 1, "failed": 12}
    truncated, no_label = crf["reasons"]
    assert (truncated["status"], truncated["reason"], truncated["count"]) == ("failed", "truncated file", 12)
    assert truncated["ids"] == sorted(f"bad{k}" for k in range(12))[:10]
    assert no_label == {"status": "skipped", "reason": "no label", "count": 1, "ids": ["none"]}


def test_a_run_in_which_everything_failed_has_a_page(run, report, tmp_path):
    for path in (run / "crf").rglob("*.png"):
        path.unlink()
    write_manifest(run / "crf", tmp_path, {}, confident=True, others=[ManifestEntry("b", "failed", "boom")])
    made = report(run / "crf", ground_truth=tmp_path / "truth")
    assert made.document["stages"][0]["counts"] == {"ok": 0, "skipped": 0, "failed": 1}
    assert "boom" in made.path.read_text()
    assert report.said == [f"{run / 'crf'}: no mask here, nothing to compare with the ground truth"]


def test_a_plain_folder_of_masks(run, report, tmp_path):
    shutil.rmtree(run / "crf" / ".semples")
    made = report(run / "crf", None, CLASSES, images=tmp_path / "images")
    (stage,) = made.document["stages"]
    assert (stage["command"], stage["engine"], stage["counts"]["ok"]) == (None, {}, 4)
    assert [image["id"] for image in made.document["images"]] == sorted(SCENES)
    assert images_of(made)["b"]["pictures"]["image"]


def test_missing_masks_are_counted(run, report, tmp_path):
    (run / "crf" / "b.png").unlink()
    made = report(ground_truth=tmp_path / "truth")
    assert made.num_missing == 1
    assert made.document["stages"][-1]["evaluation"]["missing"] == ["b"]


def test_the_cams_of_a_crf_are_found_by_its_record(run, report):
    assert list(images_of(report(run / "crf"))["b"]["pictures"]["cams"]) == ["2"]
    shutil.rmtree(run / "seeds")
    assert "cams" not in images_of(report(run / "crf"))["b"]["pictures"]


def test_a_damaged_cam_stops_with_its_name(run, report):
    (RunFolder(run / "seeds").cams / "b.npz").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"b\.npz: not a readable CAM"):
        report()


def test_prompts_are_reported_by_what_their_file_holds(run, report):
    vectors = np.zeros((3, 2, 4), np.float32)
    settings = {"num_pairs": 4, "batch_size": 2, "unlearned_classes": ["emu"]}
    prompts = PromptSet(CLASSES.names, CLASSES.names, vectors, "tiny", "ef" * 32, False, settings=settings)
    write_prompts(run / "prompts.safetensors", prompts, PromptTraining({"loss": [1.0, 0.5, 0.5, 0.25]}))
    facts = report().document["prompts"]
    assert (facts["clip"], facts["length"], facts["described"]) == ("tiny", 2, False)
    assert facts["loss_by_epoch"] == [0.75, 0.375]
    assert [(each["class"], each["learned"]) for each in facts["classes"]] == [
        ("cat", True),
        ("dog", True),
        ("emu", False),
    ]
    described = [
        {
            "class": name,
            "learned": True,
            "nouns": [{"noun": "sea", "similarity": 0.9}],
            "nearest_class": "cat",
            "nearest_class_similarity": 0.5,
            "own_similarity": 0.4,
            "describes_own_class": False,
        }
        for name in CLASSES.names
    ]
    made = report(described=described)
    assert made.document["prompts"]["classes"] == described
    assert "sea" in made.path.read_text()


def test_the_same_run_gives_the_same_bytes(run, report, tmp_path):
    first = report(run, tmp_path / "1.html", ground_truth=tmp_path / "truth").path.read_bytes()
    assert report(run, tmp_path / "2.html", ground_truth=tmp_path / "truth").path.read_bytes() == first


def test_progress_is_announced_by_part(run, tmp_path):
    seen = []

    def begin(part):
        return lambda done, total: seen.append((part, done, total))

    make_report(run, ground_truth=tmp_path / "truth", begin=begin)
    assert list(dict.fromkeys(part for part, _, _ in seen)) == [
        "evaluate seeds",
        "background scores of seeds",
        "evaluate crf",
        "thumbnails",
    ]
    assert seen[-1] == ("thumbnails", 4, 4)


def evaluation(folder, out, report, truth, **options):
    return make_evaluation_page(folder, out, report, truth, begin=lambda part: silent, **options)


def test_the_page_of_an_evaluation_of_masks(run, tmp_path):
    scores = {}
    observe = score_images(scores)
    found = evaluate_masks(run / "crf", tmp_path / "truth", progress=silent, observe=observe)
    made = evaluation(run / "crf", tmp_path / "out" / "report.html", found, tmp_path / "truth", image_scores=scores)
    assert made.document["stages"][0]["evaluation"]["miou"] == found.miou
    assert list(images_of(made)) == WORST_FIRST


def test_the_page_of_an_evaluation_of_cams_shows_what_is_cut_from_them(run, tmp_path):
    found = evaluate_cams(run / "seeds", tmp_path / "truth", background_score=0.85, progress=silent)
    made = evaluation(run / "seeds", tmp_path / "r.html", found, tmp_path / "truth", cams_form=ANY_FORM)
    (stage,) = made.document["stages"]
    assert stage["background_score"] == 0.85
    assert len(stage["curve"]) == 101
    images = images_of(made)
    assert {image["score"] for image in images.values()} == {0.0}
    assert not (pixels(images["c"]["pictures"]["mask"])[..., 3]).any()


def test_the_page_of_the_folder_of_cams_itself(run, tmp_path):
    folder = RunFolder(run / "seeds").cams
    found = evaluate_cams(folder, tmp_path / "truth", CLASSES, progress=silent)
    made = evaluation(folder, tmp_path / "r.html", found, tmp_path / "truth", cams_form=ANY_FORM)
    assert made.document["title"] == "seeds"
    assert len(made.document["images"]) == 4


def test_the_images_of_a_devkit_are_found_beside_its_ground_truth(run, tmp_path):
    devkit = tmp_path / "devkit"
    devkit.mkdir()
    shutil.move(tmp_path / "truth", devkit / "SegmentationClass")
    shutil.move(tmp_path / "images", devkit / "JPEGImages")
    shutil.rmtree(run / "crf" / ".semples")
    scores = {}
    found = evaluate_masks(run / "crf", devkit, CLASSES, progress=silent, observe=score_images(scores))
    made = evaluation(run / "crf", tmp_path / "r.html", found, devkit, image_scores=scores)
    assert all(image["pictures"]["image"] for image in images_of(made).values())
