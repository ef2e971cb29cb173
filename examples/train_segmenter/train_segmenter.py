"""Trains a segmentation network of torchvision on masks, such as pseudo masks, and validates on held-out ground truth.

Pixels whose mask is 255 do not count in the loss, pixels whose ground truth is 255 not in the figures. The network of
the last step is validated, once: ground truth chooses no step. Writes model.pt and, last, metrics.json.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.models import get_model
from torchvision.transforms import v2

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.mask_png import find_masks, read_mask
from semples_cli.data.class_list import read_class_list
from semples_cli.data.image_folder import find_images
from semples_cli.data.images import read_image, read_image_size
from semples_cli.data.word_file import read_entries
from semples_cli.engine.device import resolve_device
from semples_cli.errors import DataError, EngineError, SemplesError, SettingsError
from semples_cli.functional.metrics import IGNORE_INDEX, check_label_values, confusion_counts, dataset_scores

ARCHITECTURES = (
    "lraspp_mobilenet_v3_large",
    "deeplabv3_mobilenet_v3_large",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which weights for the backbone expect


Pair = tuple[Path, Path]  # an image and its mask, of the same size
Figures = dict[str, Any]


def find_pairs(images: Path, masks: Path, listed: Path | None, num_classes: int) -> list[Pair]:
    """Match images and masks by id (relative path without suffix); every mask is looked at before anything is trained.

    Args:
        images: Folder of images.
        masks: Folder of PNGs: 0..C-1, or 255 for pixels that are left out. Images without one are skipped and named.
        listed: Text file with an id a line: the other images are left out. None for all.
        num_classes: C, background included.
    """
    found = {image.id: image.path for image in find_images([images])}
    wanted = list(found) if listed is None else read_ids(listed, found)
    targets = find_masks(masks)
    missing = [name for name in wanted if name not in targets]
    if len(missing) == len(wanted):
        msg = f"{masks}: no mask of any of the {len(wanted)} images of {listed or images}: the mask of a.jpg is a.png"
        raise DataError(msg)
    if missing:
        print(f"{len(missing)} of {len(wanted)} images skipped, no mask in {masks}: {missing[0]} …", file=sys.stderr)
    pairs = [(found[name], targets[name]) for name in wanted if name in targets]
    for pair in pairs:
        check_mask(*pair, num_classes)
    return pairs


def read_ids(path: Path, found: dict[str, Path]) -> list[str]:
    """The ids of a list; lines `/JPEGImages/a.jpg /SegmentationClassAug/a.png`, as some lists have, are understood."""
    names = {}
    for number, entry in read_entries(path):
        name = entry.split()[0].removeprefix("/").removeprefix("JPEGImages/").removesuffix(".jpg")
        name = entry if entry in found else name
        if name not in found:
            msg = f"{path}:{number}: no image {name!r}; ids there look like {next(iter(found))!r}"
            raise DataError(msg)
        names[name] = number
    return list(names)


def check_mask(image: Path, mask: Path, num_classes: int) -> None:
    """Refuse a mask of another size than the image's, or with values that are no class."""
    values, size = read_mask(mask), read_image_size(image)
    if values.shape != size:
        msg = f"{mask} is {values.shape} (height, width), but {image} is {size}: give the masks of these images"
        raise DataError(msg)
    try:
        check_label_values(np.bincount(values.ravel(), minlength=256), num_classes, "mask")
    except DataError as error:
        msg = f"{mask}: {error}"
        raise DataError(msg) from None


class Crops(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Random square crops: an image is fitted into the square, scaled by 0.5 to 2, cut or padded, and mirrored."""

    def __init__(self, pairs: list[Pair], side: int) -> None:
        self.pairs = pairs
        fill = {tv_tensors.Image: 0, tv_tensors.Mask: IGNORE_INDEX}
        steps = [v2.ScaleJitter((side, side), (0.5, 2.0)), v2.RandomCrop(side, pad_if_needed=True, fill=fill)]
        self.draw = v2.Compose([*steps, v2.RandomHorizontalFlip()])

    def __len__(self) -> int:
        """Images."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(3, S, S) float32 image and (S, S) int64 mask, 255 where no image is; another crop each time."""
        image, mask = self.pairs[index]
        values = torch.from_numpy(read_mask(mask).copy())
        inputs, target = self.draw(tv_tensors.Image(read_normalised(image)), tv_tensors.Mask(values))
        return inputs.as_subclass(torch.Tensor), target.as_subclass(torch.Tensor).long()


def read_normalised(path: Path) -> torch.Tensor:
    """An image as (3, H, W) float32, of mean about 0 and deviation about 1."""
    return v2.functional.normalize(torch.from_numpy(read_image(path)).permute(2, 0, 1) / 255, MEAN, STD)


def build_network(arch: str, num_classes: int, backbone: Path | None) -> nn.Module:
    """A network with random weights, in its backbone those of a classification network of torchvision if given."""
    network: nn.Module = get_model(arch, weights=None, weights_backbone=None, num_classes=num_classes)
    if backbone is not None:
        body: Any = network.backbone
        try:
            state = torch.load(backbone, map_location="cpu", weights_only=True)
            state = {key.removeprefix("features."): value for key, value in state.items()}
            body.load_state_dict({key: state[key] for key in body.state_dict()})
        except Exception as error:  # torch.load raises a dozen kinds
            msg = f"{backbone}: no weights for {arch} ({type(error).__name__}); give those of torchvision's classifier"
            raise EngineError(msg) from error
    return network


def mask_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of logits (B, C, H, W) and masks (B, H, W) int64, mean over the pixels that are not 255; else 0."""
    total = functional.cross_entropy(logits, target, ignore_index=IGNORE_INDEX, reduction="sum")
    return total / (target != IGNORE_INDEX).sum().clamp(min=1)


def train(network: nn.Module, pairs: list[Pair], args: argparse.Namespace, device: torch.device) -> list[float]:
    """Train with AdamW, the rate falling to 0 as a polynomial of the steps; returns the mean loss of each epoch."""
    batch_size = min(args.batch_size, len(pairs))
    loader = DataLoader(Crops(pairs, args.size), batch_size, shuffle=True, drop_last=True, num_workers=args.workers)
    optimizer = torch.optim.AdamW(network.parameters(), args.lr)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, args.epochs * len(loader), power=0.9)
    network.train()
    means = []
    for epoch in range(1, args.epochs + 1):
        losses = []
        for images, targets in loader:
            loss = mask_loss(network(images.to(device))["out"], targets.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        means.append(sum(losses) / len(losses))
        print(f"epoch {epoch} of {args.epochs}: loss {means[-1]:.3f}", file=sys.stderr, flush=True)
    # Running means and variances lag behind in a short training: val mIoU 11 %, measured anew 58, after 360 steps.
    torch.optim.swa_utils.update_bn(loader, network, device)
    return means


@torch.inference_mode()
def validate(network: nn.Module, pairs: list[Pair], side: int, device: torch.device, names: Sequence[str]) -> Figures:
    """The figures of held-out ground truth: counts of the dataset, never a mean over images.

    Whole images, one at a time, fitted into the training size; logits resized to the ground truth's size.
    """
    network.eval()
    confusion = np.zeros((len(names), len(names) + 1), np.int64)
    for image, mask in pairs:
        target = read_mask(mask)
        size = [max(1, round(length * side / max(target.shape))) for length in target.shape]
        inputs = v2.functional.resize(read_normalised(image), size)[None].to(device)
        logits = functional.interpolate(network(inputs)["out"], target.shape, mode="bilinear")
        confusion += confusion_counts(target, logits[0].argmax(0).byte().cpu().numpy(), len(names))
    scores = dataset_scores(confusion)
    if not scores.num_classes_averaged:
        msg = f"{pairs[0][1]} and the others: all their pixels are 255, so that there is nothing to measure"
        raise DataError(msg)
    iou = [None if math.isnan(value) else value for value in scores.iou.tolist()]  # JSON has no NaN
    figures = {key: getattr(scores, key) for key in ("miou", "num_classes_averaged", "pixel_accuracy")}
    return figures | {"iou": dict(zip(names, iou, strict=True)), "num_val_images": len(pairs)}


def run(args: argparse.Namespace) -> Figures:
    """Train, validate, write both files; returns what metrics.json holds."""
    device = resolve_device(args.device)
    names = ("background", *read_class_list(args.classes).names)
    pairs = find_pairs(args.images, args.masks, args.list, len(names))
    held_out = find_pairs(args.val_images, args.val_masks, args.val_list, len(names))
    if min(args.epochs, args.size) < 1 or min(args.batch_size, len(pairs)) < 2:
        msg = f"at least --epochs 1, --size 1, --batch-size 2 and 2 images with masks: there are {len(pairs)}"
        raise SettingsError(msg)
    (args.out / "metrics.json").unlink(missing_ok=True)  # of an earlier run: where it is, the training was finished
    torch.manual_seed(args.seed)
    network = build_network(args.arch, len(names), args.backbone).to(device)
    started = perf_counter()
    losses = train(network, pairs, args, device)
    seconds = round(perf_counter() - started, 1)
    with open_atomic(args.out / "model.pt") as handle:
        state = {key: value.cpu() for key, value in network.state_dict().items()}
        torch.save({"arch": args.arch, "classes": names, "size": args.size, "state_dict": state}, handle)
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()}
    figures = {"settings": settings, "num_images": len(pairs), "seconds": seconds, "loss": losses}
    figures |= validate(network, held_out, args.size, device, names)
    with open_atomic(args.out / "metrics.json") as handle:
        handle.write(json.dumps(figures, indent=1, allow_nan=False).encode())
    return figures


def main() -> int:
    """Read the options and run; an error of the user's is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--images", type=Path, required=True, help="folder of the training images")
    add("--masks", type=Path, required=True, help="folder of their masks, same names; images without one are skipped")
    add("--list", type=Path, help="text file, an id a line: train on these images only")
    add("--val-images", type=Path, required=True, help="folder of the held-out images")
    add("--val-masks", type=Path, required=True, help="folder of their ground truth")
    add("--val-list", type=Path, help="text file, an id a line: validate on these images only")
    add("--classes", required=True, help="class list: a file with a name a line, or voc12 or coco14")
    add("--out", type=Path, required=True, help="folder for model.pt and metrics.json")
    add("--arch", choices=ARCHITECTURES, default=ARCHITECTURES[0])
    add("--backbone", type=Path, help="weights of torchvision's classification network; without, random ones")
    add("--epochs", type=int, default=80)
    add("--batch-size", type=int, default=16)
    add("--size", type=int, default=64, help="side of the training crops; images are fitted into it")
    add("--lr", type=float, default=6e-3)
    add("--seed", type=int, default=0)
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N, mps")
    add("--workers", type=int, default=0, help="processes that read images")
    try:
        metrics = run(parser.parse_args())
    except SemplesError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"val mIoU {100 * metrics['miou']:.1f} over {metrics['num_classes_averaged']} classes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
