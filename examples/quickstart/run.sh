#!/usr/bin/env bash
# The pipeline by hand, a command for each step, on the built-in world with the built-in model: nothing is downloaded.
# Usage: bash run.sh [FOLDER [NUM_IMAGES]]
set -euo pipefail

out=${1:-quickstart-out}
num_images=${2:-100}
model=$(python -c "from semples_cli.demo.model import model_dir; print(model_dir())")

# Images with labels, and ground truth that only `evaluate` reads.
semples demo-data --out "$out/world" --num-images "$num_images"

# Labels -> CAMs -> seed masks, with the settings of the demo, which suit images of 64 pixels and this tiny CLIP.
semples cams --data "$out/world" --weights "$model" --template "a photo of a {}." \
  --affinity-layers first:1 --box-threshold 0.7 --scales 0.75,1.0,1.5 --flips \
  --out "$out/seeds" --overlay

# Seeds + colours -> sharper masks. The published widths are for photographs of 500 pixels; these images have 64.
semples crf "$out/seeds" --out "$out/crf" --overlay \
  --preset semples-coco --gaussian 0.75 3 --bilateral 12.5 8 10

# How good are they?
semples evaluate "$out/seeds" "$out/world" --out "$out/report-seeds"
semples evaluate "$out/crf" "$out/world" --out "$out/report-crf"
