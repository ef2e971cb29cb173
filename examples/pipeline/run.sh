#!/usr/bin/env bash
# A pipeline without labels: paths from `find`, labels proposed by CLIP, masks, a check, COCO; results as JSON between
# the commands. It runs as it is, on rendered images and the built-in model; for your own, change what is marked OWN.
# Usage: bash run.sh [FOLDER [NUM_IMAGES]]
set -euo pipefail

out=${1:-pipeline-out}
num_images=${2:-60}

# Stand-in for photographs, in two folders: the tree is kept. OWN: leave this out.
semples demo-data --out "$out/world" --num-images "$num_images"
for image in "$out"/world/JPEGImages/*.png; do
  folder="$out/photos/$([[ $image == *[02468].png ]] && echo even || echo 'odd ones')"
  mkdir -p "$folder"
  cp -p "$image" "$folder"
done
model=$(python -c 'from semples_cli.demo.model import model_dir; print(model_dir())')
options=(--weights "$model" --size 64 --template 'a photo of a {}.' --affinity-layers first:1)  # OWN: options=()
classes="$out/world/classes.txt"                                                                # OWN

# What a document of --json says, without jq: field FILE NAME.
field() { python -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }

# Exit 3 says that some images could not be done and all others are: go on, and name them. All else ends the script.
unless_all_failed() { [[ $? -eq 3 ]] && echo "go on without what failed, listed above" >&2; }

images() { find "$out/photos" -type f -name '*.png' -print0; }  # OWN: any list of paths, such as -newer yesterday

# Labels: once, for people to correct; what they corrected is never overwritten.
if [[ ! -e $out/labels.csv ]]; then
  images | semples tag - --classes "$classes" --out "$out/labels.csv" --weights "$model" --json \
    > "$out/tag.json" || unless_all_failed
  echo "$(field "$out/tag.json" written) images labelled, $(field "$out/tag.json" empty) of them with nothing"
fi

images | semples cams - --labels "$out/labels.csv" --classes "$classes" --out "$out/masks" "${options[@]}" --json \
  > "$out/masks.json" || unless_all_failed
echo "$(field "$out/masks.json" written) masks made, $(field "$out/masks.json" resumed) kept"

semples check "$out/masks" --labels "$out/labels.csv" --classes "$classes" --json > "$out/check.json"
semples export "$out/masks" --to coco --out "$out/coco" --overwrite --json > "$out/export.json"
echo "$(field "$out/export.json" written) masks exported: $out/coco"
