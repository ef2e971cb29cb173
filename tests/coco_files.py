"""A small COCO layout: images, and instances JSON with polygons, RLE of both kinds, a crowd, an image without any."""

import json

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from semples_cli.data.class_list import read_class_list

# Ids as in COCO: 80 of 1 to 90. Not in their order here, for a file need not be.
IDS = [number for number in range(1, 91) if number not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
NAMES = dict(zip(IDS, read_class_list("coco14").names, strict=True))
CATEGORIES = [{"id": number, "name": NAMES[number], "supercategory": "any"} for number in reversed(IDS)]
SIZE = (12, 16)  # height, width


def box(x, y, width, height):
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def rle(region, compressed=True):
    """COCO's RLE of an (H, W) bool array; uncompressed: counts as a list."""
    encoded = coco_mask.encode(np.asfortranarray(region.astype(np.uint8)))
    if compressed:
        return {"size": list(region.shape), "counts": encoded["counts"].decode()}
    flat = region.flatten(order="F").astype(int)
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate(([0], changes, [len(flat)]))).tolist()
    return {"size": list(region.shape), "counts": counts if flat[0] == 0 else [0, *counts]}


def annotation(image, category, segmentation, crowd=0):
    return {
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "iscrowd": crowd,
        "area": 1.0,
        "bbox": [0, 0, 1, 1],
    }


def numbered(annotations):
    return [{"id": number, **each} for number, each in enumerate(annotations, 1)]


def names(split):
    return [f"COCO_{split}_{number:012d}.jpg" for number in (9, 25, 30, 34)]


def document(split="train2014"):
    """Image 9: a person before a boat. 25: a dog as compressed RLE, a crowd as counts. 30: none. 34: two parts."""
    height, width = SIZE
    region = np.zeros(SIZE, bool)
    region[2:9, 3:11] = True
    crowd = np.zeros(SIZE, bool)
    crowd[9:, :] = True
    return {
        "info": {},
        "images": [
            {"id": number, "file_name": name, "height": height, "width": width}
            for number, name in zip((9, 25, 30, 34), names(split), strict=True)
        ],
        "categories": CATEGORIES,
        "annotations": numbered(
            [
                annotation(9, 1, box(4, 2, 3, 6)),
                annotation(9, 9, box(1, 1, 12, 9)),
                annotation(25, 18, rle(region)),
                annotation(25, 1, rle(crowd, compressed=False), crowd=1),
                annotation(34, 9, [*box(1, 1, 3, 3), *box(9, 6, 4, 4)]),
            ]
        ),
    }


def write_coco(folder, splits=("train2014", "val2014"), nested=""):
    """The layout that COCO's archives unpack to."""
    (folder / "annotations").mkdir(parents=True)
    for split in splits:
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(document(split)))
        images = folder / nested / split
        images.mkdir(parents=True)
        for seed, name in enumerate(names(split)):
            noise = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)
            Image.fromarray(noise).save(images / name)
    return folder
