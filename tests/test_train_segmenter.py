"""The end of the road: a network trained on masks, its script, its example on the built-in world, its benchmark."""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torchvision.models import mobilenet_v3_large

from semples_cli.artifacts.mask_png import write_mask
from semples_cli.errors import DataError, EngineError, SemplesError, SettingsError

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "train_segmenter"
IGNORE = 255
COLOURS = np.array([(0, 0, 0), (255, 0, 0), (0, 0, 255)], np.uint8)


def load(name, path):
    specification = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


script = load("train_segmenter_example", EXAMPLE / "train_segmenter.py")


def labels(seed, height=24, width=32):
    """A rectangle of class 1 or 2 on background."""
    rng = np.random.default_rng(seed)
    values = np.zeros((height, width), np.uint8)
    top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
    values[top : top + height // 2, left : left + width // 2] = 1 + seed % 2
    return values


def write_pair(root, name, values, mask=None):
    """An image whose colours tell the classes, and its mask."""
    (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(COLOURS[np.where(values == IGNORE, 0, values)]).save(root / "images" / f"{name}.png")
    write_mask(root / "masks" / f"{name}.png", values if mask is None else mask)


@pytest.fixture
def folder(tmp_path):
    """Six images with masks and a class list."""
    for number in range(6):
        write_pair(tmp_path, f"sub/{number}" if number == 5 else str(number), labels(number))
    (tmp_path / "classes.txt").write_text("red\nblue\n")
    return tmp_path


def arguments(folder, **others):
    """Options of a short training, validated on its own images."""
    images, masks = folder / "images", folder / "masks"
    about = {"images": images, "masks": masks, "list": None, "val_images": images, "val_masks": masks, "val_list": None}
    about |= {"classes": str(folder / "classes.txt"), "out": folder / "out", "arch": script.ARCHITECTURES[0]}
    about |= {"backbone": None, "epochs": 1, "batch_size": 3, "size": 32, "lr": 1e-3, "seed": 0}
    return argparse.Namespace(**{**about, "device": "cpu", "workers": 0, **others})


def find_pairs(folder, listed=None, num_classes=3):
    return script.find_pairs(folder / "images", folder / "masks", listed, num_classes)


# What is trained on


def test_images_meet_the_masks_of_the_same_name_in_every_subfolder(folder, capsys):
    pairs = find_pairs(folder)
    ids = [str(Path(image).relative_to(folder / "images")) for image, _ in pairs]
    assert ids == ["0.png", "1.png", "2.png", "3.png", "4.png", "sub/5.png"]
    assert all(image.relative_to(folder / "images") == mask.relative_to(folder / "masks") for image, mask in pairs)
    assert capsys.readouterr().err == ""


def test_an_image_without_a_mask_is_skipped_and_named(folder, capsys):
    (folder / "masks" / "2.png").unlink()
    (folder / "masks" / "4.png").unlink()
    assert [mask.stem for _, mask in find_pairs(folder)] == ["0", "1", "3", "5"]
    said = capsys.readouterr().err
    assert "2 of 6 images skipped" in said
    assert f"{folder / 'masks'}: 2 …" in said


def test_a_list_chooses_the_images_in_either_form(folder):
    listed = folder / "train_aug.txt"
    listed.write_text("# comment\n3\n\n/JPEGImages/1.jpg /SegmentationClassAug/1.png\nsub/5 1 2\n3\n")
    assert [mask.stem for _, mask in find_pairs(folder, listed)] == ["3", "1", "5"]


def test_an_id_with_spaces_is_found_in_a_list(folder):
    write_pair(folder, "my boat", labels(1))
    (folder / "list.txt").write_text("my boat\n")
    assert [mask.stem for _, mask in find_pairs(folder, folder / "list.txt")] == ["my boat"]


def test_a_list_with_an_unknown_image_is_refused_at_its_line(folder):
    listed = folder / "list.txt"
    listed.write_text("0\nboat\n")
    with pytest.raises(DataError, match=r"list\.txt:2: no image 'boat'; ids there look like '0'"):
        find_pairs(folder, listed)


def test_no_mask_at_all_is_refused_with_the_rule_of_names(folder):
    for path in (folder / "masks").rglob("*.png"):
        path.rename(path.with_name(f"mask_{path.name}"))
    with pytest.raises(DataError, match=r"no mask of any of the 6 images .* the mask of a\.jpg is a\.png"):
        find_pairs(folder)


def test_an_empty_list_is_refused(folder):
    (folder / "list.txt").write_text("\n")
    with pytest.raises(DataError, match=r"no mask of any of the 0 images of .*list\.txt"):
        find_pairs(folder, folder / "list.txt")


def test_a_mask_of_another_size_is_refused_with_both_sizes(folder):
    write_mask(folder / "masks" / "1.png", np.zeros((32, 24), np.uint8))
    with pytest.raises(DataError, match=r"masks/1\.png is \(32, 24\) .*images/1\.png is \(24, 32\)"):
        find_pairs(folder)


def test_a_mask_with_a_class_that_is_not_listed_is_refused_by_name(folder):
    with pytest.raises(DataError, match=r"masks/1\.png: the mask holds the value 2, but there are 2 classes"):
        find_pairs(folder, num_classes=2)


def test_255_is_no_class_too_many(folder):
    write_pair(folder, "0", labels(0), np.full((24, 32), IGNORE, np.uint8))
    assert len(find_pairs(folder)) == 6


# Crops


def test_pixels_are_normalised_as_backbones_expect(tmp_path):
    Image.new("RGB", (2, 1), (255, 0, 51)).save(tmp_path / "a.png")
    image = script.read_normalised(tmp_path / "a.png")
    assert image.shape == (3, 1, 2)
    assert image.dtype == torch.float32
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    assert image[:, 0, 1].tolist() == pytest.approx(expected, abs=1e-6)


def test_image_and_mask_are_cut_alike_and_nothing_is_taught_outside_of_the_image(folder):
    values = np.ones((16, 32), np.uint8)
    values[:, 16:] = 2
    write_pair(folder, "0", values)
    crops = script.Crops([(folder / "images" / "0.png", folder / "masks" / "0.png")], 48)
    torch.manual_seed(0)
    seen, mirrored, padded = set(), set(), 0
    for _ in range(30):
        image, target = crops[0]
        assert image.shape == (3, 48, 48)
        assert image.dtype == torch.float32
        assert target.shape == (48, 48)
        assert target.dtype == torch.int64
        inside = target != IGNORE
        red, blue = image[0] > image[2] + 3.5, image[2] > image[0] + 3.5  # the border between them is blurred
        assert (target[red] == 1).all()
        assert (target[blue] == 2).all()
        assert (red | blue).sum() > 0.7 * inside.sum()
        assert (image[:, ~inside] == 0).all()
        seen.add(int(inside.sum()))
        padded += int((~inside).any())
        if {1, 2} <= set(target.unique().tolist()):
            mirrored.add(bool(((target == 1) * torch.arange(48)).sum() / (target == 1).sum() > 24))
    assert len(seen) > 10
    assert padded > 10
    assert mirrored == {False, True}


def test_small_images_are_enlarged_to_the_size_of_training(folder):
    crops = script.Crops([(folder / "images" / "0.png", folder / "masks" / "0.png")], 128)
    torch.manual_seed(1)
    areas = [int((crops[0][1] != IGNORE).sum()) for _ in range(20)]
    assert min(areas) >= 0.9 * 64 * 48  # fitted into 128 it is 128 × 96; the smallest scale is a half
    assert max(areas) > 128 * 96


# The loss


def test_the_loss_of_even_logits_is_the_logarithm_of_the_number_of_classes():
    target = torch.tensor([[[0, 1], [2, IGNORE]]])
    assert script.mask_loss(torch.zeros(1, 5, 2, 2), target).item() == pytest.approx(np.log(5), rel=1e-6)


@given(st.integers(0, 10**6), st.floats(0, 0.95))
@settings(max_examples=40, deadline=None)
def test_pixels_of_255_do_not_count_whatever_the_network_says_there(seed, share):
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 6, 5, generator=draw)
    target = torch.randint(4, (2, 6, 5), generator=draw)
    ignored = torch.rand(2, 6, 5, generator=draw) < share
    ignored[0, 0, 0] = False
    masked = target.masked_fill(ignored, IGNORE)
    others = torch.where(ignored[:, None], 10 * torch.randn(2, 4, 6, 5, generator=draw), logits).requires_grad_()
    loss = script.mask_loss(others, masked)
    by_hand = -logits.log_softmax(1).gather(1, target[:, None])[:, 0][~ignored].mean()
    assert loss.item() == pytest.approx(script.mask_loss(logits, masked).item(), rel=1e-6)
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, others)
    assert (gradient.movedim(1, -1)[ignored] == 0).all()
    assert (gradient.movedim(1, -1)[~ignored] != 0).any()


def test_a_batch_of_nothing_but_255_teaches_nothing():
    logits = torch.randn(1, 3, 4, 4).requires_grad_()
    loss = script.mask_loss(logits, torch.full((1, 4, 4), IGNORE))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


# Validation


class Colours(nn.Module):
    """Tells the classes by their colours; `wrong`: calls everything class 1."""

    def __init__(self, wrong=False):
        super().__init__()
        self.wrong, self.sizes = wrong, []

    def forward(self, images):
        self.sizes.append(tuple(images.shape[-2:]))
        red, blue = images[:, 0], images[:, 2]
        if self.wrong:
            red, blue = torch.ones_like(red), torch.zeros_like(blue)
        return {"out": torch.stack([torch.zeros_like(red), red, blue], 1)}


def validate(network, folder, side=32):
    names = ("background", "red", "blue")
    return script.validate(network, find_pairs(folder), side, torch.device("cpu"), names)


def test_a_network_that_is_right_has_an_miou_of_1(folder):
    write_pair(folder, "0", labels(0, 48, 20))
    network = Colours()
    figures = validate(network, folder, 48)
    assert figures["miou"] > 0.9  # borders are blurred by resizing
    assert figures["num_val_images"] == 6
    assert network.sizes == [(48, 20), *[(36, 48)] * 5]  # the longer side fitted, the shape kept


def test_counts_are_added_up_over_the_dataset_and_255_is_left_out(tmp_path):
    one, other = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    one[:4] = 1
    other[0] = 1
    other[1] = IGNORE
    write_pair(tmp_path, "one", one)
    write_pair(tmp_path, "other", other)
    figures = validate(Colours(wrong=True), tmp_path, 8)
    red = (32 + 8) / (64 + 56)  # the mean over images would be (32 / 64 + 8 / 56) / 2
    assert figures["iou"] == {"background": 0, "red": pytest.approx(red), "blue": None}
    assert figures["miou"] == pytest.approx(red / 2)
    assert figures["num_classes_averaged"] == 2
    assert figures["pixel_accuracy"] == pytest.approx(red)


def test_ground_truth_without_a_pixel_that_counts_is_refused(tmp_path):
    write_pair(tmp_path, "one", np.full((8, 8), IGNORE, np.uint8))
    with pytest.raises(DataError, match="all their pixels are 255"):
        validate(Colours(), tmp_path, 8)


# Weights


@pytest.mark.parametrize("arch", script.ARCHITECTURES[:2])
def test_weights_of_a_classification_network_start_the_backbone(arch, tmp_path):
    torch.manual_seed(3)
    classifier = mobilenet_v3_large(weights=None)
    torch.save(classifier.state_dict(), tmp_path / "weights.pth")
    network = script.build_network(arch, 3, tmp_path / "weights.pth")
    theirs = classifier.features.state_dict()
    ours = network.backbone.state_dict()
    assert len(ours) > 200
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    other = script.build_network(arch, 3, None).backbone.state_dict()
    assert not torch.equal(other["0.0.weight"], theirs["0.0.weight"])


@pytest.mark.parametrize("content", [b"", b"not weights", None])
def test_another_file_is_refused_as_weights(content, tmp_path):
    path = tmp_path / "weights.pth"
    if content is None:
        torch.save({"conv1.weight": torch.zeros(2)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(EngineError, match=r"weights\.pth: no weights for lraspp.* torchvision's classifier"):
        script.build_network(script.ARCHITECTURES[0], 3, path)


# The whole training


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    for number in range(6):
        write_pair(root, str(number), labels(number))
    (root / "classes.txt").write_text("red\nblue\n")
    return root, script.run(arguments(root, epochs=2))


def test_both_files_are_written_and_no_half_one_is_left(trained):
    root, figures = trained
    assert sorted(path.name for path in (root / "out").iterdir()) == ["metrics.json", "model.pt"]
    written = json.loads((root / "out" / "metrics.json").read_text())
    assert written == figures
    keys = {"settings", "num_images", "num_val_images", "seconds", "loss"}
    assert written.keys() == keys | {"miou", "num_classes_averaged", "pixel_accuracy", "iou"}
    assert (written["num_images"], written["num_val_images"]) == (6, 6)
    assert len(written["loss"]) == 2
    assert written["iou"].keys() == {"background", "red", "blue"}
    assert 0 <= written["miou"] <= 1
    assert written["settings"]["masks"] == str(root / "masks")
    assert written["settings"]["seed"] == 0


def test_the_model_file_gives_the_figures_again(trained):
    root, figures = trained
    saved = torch.load(root / "out" / "model.pt", weights_only=True)
    network = script.build_network(saved["arch"], len(saved["classes"]), None)
    network.load_state_dict(saved["state_dict"])
    again = script.validate(network, find_pairs(root), saved["size"], torch.device("cpu"), saved["classes"])
    assert again == {key: figures[key] for key in again}


def test_running_means_are_those_of_the_finished_weights(trained):
    saved = torch.load(trained[0] / "out" / "model.pt", weights_only=True)
    counts = [value.item() for key, value in saved["state_dict"].items() if key.endswith("num_batches_tracked")]
    assert set(counts) == {2}  # one pass of two batches; the four steps of the training are forgotten


def test_the_seed_decides(trained, tmp_path):
    root, figures = trained
    again = script.run(arguments(root, epochs=2, out=tmp_path / "again"))
    other = script.run(arguments(root, epochs=2, out=tmp_path / "other", seed=1))
    assert again["loss"] == figures["loss"]
    assert again["iou"] == figures["iou"]
    assert other["loss"] != figures["loss"]


def test_deeplab_trains_as_well(trained, tmp_path):
    figures = script.run(arguments(trained[0], arch="deeplabv3_mobilenet_v3_large", out=tmp_path))
    assert np.isfinite(figures["loss"]).all()


def test_figures_of_an_earlier_training_do_not_outlive_one_that_failed(folder, monkeypatch):
    out = folder / "out"
    out.mkdir()
    (out / "metrics.json").write_text("{}")

    def fails(*anything):
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "validate", fails)
    with pytest.raises(KeyboardInterrupt):
        script.run(arguments(folder))
    assert [path.name for path in out.iterdir()] == ["model.pt"]


@pytest.mark.parametrize("others", [{"epochs": 0}, {"size": 0}, {"batch_size": 1}])
def test_numbers_that_are_too_small_are_refused_before_anything_is_trained(folder, others):
    with pytest.raises(SettingsError, match="at least --epochs 1, --size 1, --batch-size 2 and 2 images"):
        script.run(arguments(folder, **others))
    assert not (folder / "out").exists()


def test_one_image_is_too_few_for_batch_normalisation(folder):
    (folder / "list.txt").write_text("0\n")
    with pytest.raises(SettingsError, match="there are 1"):
        script.run(arguments(folder, list=folder / "list.txt"))


def options(folder):
    paths = {"--images": "images", "--masks": "masks", "--val-images": "images", "--val-masks": "masks"}
    paths |= {"--classes": "classes.txt", "--out": "out"}
    return [word for option, name in paths.items() for word in (option, str(folder / name))]


def test_an_error_is_one_line_and_an_exit_code(folder, monkeypatch, capsys):
    (folder / "masks" / "0.png").write_bytes(b"")
    monkeypatch.setattr(sys, "argv", ["train_segmenter.py", *options(folder)])
    assert script.main() == SemplesError.exit_code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1


def test_options_reach_the_training_and_the_result_is_one_line(folder, monkeypatch, capsys):
    seen = []

    def run(args):
        seen.append(args)
        return {"miou": 0.4321, "num_classes_averaged": 3}

    monkeypatch.setattr(script, "run", run)
    more = ["--epochs", "4", "--lr", "0.5", "--arch", "deeplabv3_resnet50", "--list", str(folder / "list.txt")]
    monkeypatch.setattr(sys, "argv", ["train_segmenter.py", *options(folder), *more])
    assert script.main() == 0
    assert capsys.readouterr().out == "val mIoU 43.2 over 3 classes\n"
    (args,) = seen
    assert (args.epochs, args.lr, args.arch, args.val_list) == (4, 0.5, "deeplabv3_resnet50", None)
    assert args.list == folder / "list.txt"
    assert vars(args).keys() == vars(arguments(folder)).keys()


# The example on the built-in world


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    out = tmp_path_factory.mktemp("segmenter") / "out"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    command = ["bash", str(EXAMPLE / "run.sh"), str(out), "8", "1", "32"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return out, result


def test_the_example_prints_a_line_for_each_set_of_masks_and_nothing_else(example):
    _, result = example
    header, *lines = result.stdout.splitlines()
    assert header.split("  ")[0] == "trained on"
    assert [line.split()[0] for line in lines] == ["seeds", "refined", "crf", "ground-truth"]
    assert lines[-1].split()[1] == "100.0"
    assert lines[-1].split()[-2:] == ["100.0", "%"]
    assert "Traceback" not in result.stderr


def test_the_example_validates_on_images_that_nothing_was_trained_on(example):
    out, result = example
    for name in ("seeds", "refined", "crf", "ground-truth"):
        about = json.loads((out / "segmenter" / name / "metrics.json").read_text())
        assert about["num_images"] == about["num_val_images"] == 8
        assert about["settings"]["val_masks"] == str(out / "val" / "SegmentationClass")
        assert about["settings"]["images"] == str(out / "demo" / "world" / "JPEGImages")
    worlds = [json.loads((out / name / "world.json").read_text()) for name in ("demo/world", "val")]
    assert worlds[0] != worlds[1]
    shown = float(result.stdout.splitlines()[1].split()[2])
    figures = json.loads((out / "segmenter" / "seeds" / "metrics.json").read_text())
    assert shown == pytest.approx(100 * figures["miou"], abs=0.051)


# The benchmark


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    name = "train_segmenter_benchmark"
    specification = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / "train_segmenter.py")
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, name, module)  # dataclasses look their module up
    specification.loader.exec_module(module)
    yield module
    for each in ("runs", "tables"):
        sys.modules.pop(each, None)


def run_of(masks, seed, miou, mask_miou, world=1):
    about = {"world": world, "seed": seed, "bias": 0.9, "masks": masks}
    return {"run": about, "fingerprint": "a", "miou": miou, "mask_miou": mask_miou}


def test_shares_are_taken_within_a_seed(benchmark):
    runs = [run_of("ground truth", 0, 0.5, 1.0), run_of("ground truth", 1, 0.8, 1.0)]
    runs += [run_of("crf", 0, 0.4, 0.51), run_of("crf", 1, 0.4, 0.51), run_of("seeds", 2, 0.3, 0.34)]
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in benchmark.results_table(runs).split("\n")
    ]
    assert lines[0] == ["trained on", "runs", "mIoU of these masks", "val mIoU", "share retained"]
    assert lines[2] == ["seeds", "1", "34.0", "30.0", "–"]  # no ground truth of its seed
    assert lines[3] == ["crf", "2", "51.0", "40.0 ± 0.0", "65.0 ± 21.2 %"]
    assert lines[4] == ["ground truth", "2", "100.0", "65.0 ± 21.2", "100.0 ± 0.0 %"]


def test_one_run_of_the_benchmark_is_one_training_on_these_masks(benchmark, example, monkeypatch):
    out, _ = example
    monkeypatch.setattr(benchmark, "OPTIONS", ("--size=32", "--epochs=1"))
    run = benchmark.Training(1, 0, 0, 0.9, 8, "crf")
    made = benchmark.train(None, run, out / "demo", out / "val")
    stages = json.loads((out / "demo" / "report.json").read_text())["stages"]
    assert made["mask_miou"] == stages[-1]["miou"]
    assert stages[-1]["name"] == "crf"
    same = json.loads((out / "segmenter" / "crf" / "metrics.json").read_text())
    assert made["miou"] == pytest.approx(same["miou"], abs=0.01)


def test_a_demo_of_another_world_is_not_taken(benchmark, example, tmp_path):
    out, _ = example
    benchmark.check_demo(out / "demo", benchmark.Run(1, None, 0, 0.9, 8))
    with pytest.raises(SystemExit, match="leave --demo out"):
        benchmark.check_demo(out / "demo", benchmark.Run(1, None, 0, 0.9, 200))
    with pytest.raises(SystemExit, match="no finished `semples demo` here"):
        benchmark.check_demo(tmp_path, benchmark.Run(1, None, 0, 0.9, 8))
