import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from semples_cli.artifacts.mask_png import read_mask, voc_palette
from semples_cli.config import WorldSettings
from semples_cli.demo.names import BACKGROUNDS, OBJECTS, paired_backgrounds
from semples_cli.demo.world import render_scene
from semples_cli.errors import ArtifactError, SettingsError
from semples_cli.steps.progress import silent
from semples_cli.steps.render_demo import render_demo, scene_id

WORLD = WorldSettings(seed=2, num_images=6, size=32)


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def lines(path):
    return path.read_text().splitlines()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    out = tmp_path_factory.mktemp("render") / "deep" / "world"
    summary = render_demo(out, WORLD, progress=silent)
    assert (summary.written, summary.resumed, summary.skipped, summary.failed) == (6, 0, (), ())
    return out


def test_the_pictures_are_the_scenes_bit_for_bit(world):
    for index in range(6):
        name, scene = f"2_0_{index:06d}.png", render_scene(WORLD, index)
        assert np.array_equal(np.asarray(Image.open(world / "JPEGImages" / name)), scene.image)
        assert np.array_equal(read_mask(world / "SegmentationClass" / name), scene.target)
        assert np.array_equal(read_mask(world / "Backgrounds" / name), scene.backgrounds)


def test_ground_truth_has_the_voc_palette(world):
    image = Image.open(world / "SegmentationClass" / "2_0_000000.png")
    assert image.mode == "P"
    assert image.getpalette()[: 3 * 256] == voc_palette().ravel().tolist()


def test_the_split_lists_every_scene_in_order(world):
    ids = [scene_id(WORLD, index) for index in range(6)]
    assert lines(world / "ImageSets" / "Segmentation" / "train.txt") == ids
    assert sorted(path.stem for path in (world / "JPEGImages").iterdir()) == ids


def test_the_class_lists_of_the_split_say_what_the_ground_truth_shows(world):
    for k, name in enumerate(OBJECTS, 1):
        rows = [line.split() for line in lines(world / "ImageSets" / "Main" / f"{name}_train.txt")]
        assert len(rows) == 6
        for sample_id, flag in rows:
            shown = (read_mask(world / "SegmentationClass" / f"{sample_id}.png") == k).any()
            assert flag == ("1" if shown else "-1")


def test_the_label_table_says_the_same(world):
    with (world / "labels.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["image"] for row in rows] == [f"{scene_id(WORLD, index)}.png" for index in range(6)]
    for row in rows:
        values = np.unique(read_mask(world / "SegmentationClass" / row["image"]))
        assert row["labels"] == "|".join(OBJECTS[k - 1] for k in values if k)
        assert row["labels"]


def test_names_and_record(world):
    assert lines(world / "classes.txt") == list(OBJECTS)
    assert lines(world / "backgrounds.txt") == list(BACKGROUNDS)
    record = json.loads((world / "world.json").read_text())
    assert WorldSettings(**record["settings"]) == WORLD
    assert tuple(record["objects"]) == OBJECTS
    assert tuple(record["backgrounds"]) == BACKGROUNDS
    assert record["own_backgrounds"]["boat"] == "sea"


def test_the_record_names_the_drawn_pairing(tmp_path):
    render_demo(tmp_path, replace(WORLD, num_images=1, pairing=3), progress=silent)
    record = json.loads((tmp_path / "world.json").read_text())
    assert tuple(record["own_backgrounds"].values()) == paired_backgrounds(3)
    assert (tmp_path / "JPEGImages" / "2_3_000000.png").is_file()


def test_the_same_world_has_the_same_bytes(world, tmp_path):
    render_demo(tmp_path, WORLD, progress=silent)
    assert files(tmp_path) == files(world)


def test_a_longer_world_begins_with_the_shorter_one(world, tmp_path):
    render_demo(tmp_path, replace(WORLD, num_images=8), progress=silent)
    longer = files(tmp_path)
    assert all(longer[name] == data for name, data in files(world).items() if name.endswith(".png"))
    assert lines(tmp_path / "labels.csv")[:7] == lines(world / "labels.csv")
    assert sum(name.startswith("JPEGImages") for name in longer) == 8


def test_an_interrupted_world_is_finished_and_what_was_whole_is_kept(world, tmp_path):
    def interrupt(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_demo(tmp_path, WORLD, progress=interrupt)
    assert not (tmp_path / "labels.csv").exists()
    (tmp_path / "Backgrounds" / "2_0_000001.png").unlink()
    kept = tmp_path / "JPEGImages" / "2_0_000000.png"
    before = kept.stat().st_mtime_ns
    summary = render_demo(tmp_path, WORLD, progress=silent)
    assert (summary.written, summary.resumed) == (4, 2)
    assert kept.stat().st_mtime_ns == before
    assert files(tmp_path) == files(world)


def test_a_whole_world_is_kept(tmp_path):
    render_demo(tmp_path, WORLD, progress=silent)
    before = files(tmp_path)
    summary = render_demo(tmp_path, WORLD, progress=silent)
    assert (summary.written, summary.resumed) == (0, 6)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 9}, "seed 2, not 9"),
        ({"bias": 0.5}, "bias 0.9, not 0.5"),
        ({"num_images": 5}, "num_images 6, not 5"),
        ({"size": 48, "pairing": 1}, "size 32, not 48, pairing 0, not 1"),
    ],
)
def test_another_world_in_the_folder_is_refused_and_left_alone(tmp_path, change, said):
    render_demo(tmp_path, WORLD, progress=silent)
    before = files(tmp_path)
    with pytest.raises(SettingsError, match=f"{said}.*--overwrite"):
        render_demo(tmp_path, replace(WORLD, **change), progress=silent)
    assert files(tmp_path) == before


def test_overwrite_leaves_nothing_of_the_old_world_but_what_others_put_there(tmp_path):
    render_demo(tmp_path / "fresh", replace(WORLD, seed=9, num_images=4), progress=silent)
    out = tmp_path / "again"
    render_demo(out, WORLD, progress=silent)
    mine = out / "JPEGImages" / "mine.txt"
    mine.write_text("keep me")
    summary = render_demo(out, replace(WORLD, seed=9, num_images=4), overwrite=True, progress=silent)
    assert (summary.written, summary.resumed) == (4, 0)
    assert files(out).keys() - files(tmp_path / "fresh").keys() == {"JPEGImages/mine.txt"}
    mine.unlink()
    assert files(out) == files(tmp_path / "fresh")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_files_is_refused_even_with_overwrite(tmp_path, overwrite):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(SettingsError, match=r"not empty: choose another --out"):
        render_demo(tmp_path, WORLD, overwrite=overwrite, progress=silent)
    assert files(tmp_path) == {"thesis.tex": b"precious"}


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "world").write_text("")
    with pytest.raises(SettingsError, match="choose another --out"):
        render_demo(tmp_path / "world", WORLD, progress=silent)


def test_an_empty_folder_is_welcome(tmp_path):
    assert render_demo(tmp_path, replace(WORLD, num_images=1), progress=silent).written == 1


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"format_version": 1, "settings": {"tempo": 3}}', '{"format_version": 1, "settings": 3}']
)
def test_a_damaged_record_is_refused_by_name(tmp_path, text):
    (tmp_path / "world.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"world\.json is damaged .*render the world again"):
        render_demo(tmp_path, WORLD, progress=silent)


def test_a_record_of_another_format_is_refused(tmp_path):
    (tmp_path / "world.json").write_text('{"format_version": 2, "settings": {}}')
    with pytest.raises(ArtifactError, match="format 2, but this semples renders 1"):
        render_demo(tmp_path, WORLD, progress=silent)


def test_a_damaged_kept_mask_is_refused_by_name(tmp_path):
    render_demo(tmp_path, WORLD, progress=silent)
    (tmp_path / "SegmentationClass" / "2_0_000004.png").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"2_0_000004\.png"):
        render_demo(tmp_path, WORLD, progress=silent)


def test_progress_counts_every_scene(tmp_path):
    calls = []
    render_demo(tmp_path, WORLD, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 6) for done in range(1, 7)]
