#!/usr/bin/env bash
# The end of the road: a segmentation network trained on the masks of each stage, and on the full ground truth of the
# same images, all validated on the ground truth of another world. Nothing is downloaded.
# Usage: bash run.sh [FOLDER [NUM_IMAGES [EPOCHS [SIZE]]]]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-segmenter-out}
num_images=${2:-200}
epochs=${3:-80}
size=${4:-64}

# Masks of every stage for the images of one world, and another world to validate on. A second run keeps what is there.
semples demo --seed 1 --num-images "$num_images" --out "$out/demo" >&2
semples demo-data --seed 101 --num-images "$num_images" --out "$out/val"

# The same training on each set of masks; 255 in a mask does not count.
train() {
  echo "training on $1" >&2
  python "$here/train_segmenter.py" --images "$out/demo/world/JPEGImages" --masks "$2" \
    --val-images "$out/val/JPEGImages" --val-masks "$out/val/SegmentationClass" \
    --classes "$out/demo/world/classes.txt" --epochs "$epochs" --size "$size" --device cpu --out "$out/segmenter/$1" >&2
}
for stage in seeds refined crf; do train "$stage" "$out/demo/$stage"; done
train ground-truth "$out/demo/world/SegmentationClass"

# What each network reached, and which share of the one that had the full ground truth.
python - "$out" <<'PYTHON'
import json, pathlib, sys

out = pathlib.Path(sys.argv[1])
masks = {stage["name"]: stage["miou"] for stage in json.loads((out / "demo/report.json").read_text())["stages"]}
read = {path.parent.name: json.loads(path.read_text())["miou"] for path in out.glob("segmenter/*/metrics.json")}
print("trained on    mIoU of these masks   val mIoU   share retained")
for name in ("seeds", "refined", "crf", "ground-truth"):
    share = read[name] / read["ground-truth"]
    print(f"{name:13} {100 * masks.get(name, 1):19.1f} {100 * read[name]:10.1f} {100 * share:14.1f} %")
PYTHON
