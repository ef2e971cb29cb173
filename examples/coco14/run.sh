#!/usr/bin/env bash
# MS COCO 2014 with the published settings of SemPLeS: from the archives to pseudo masks, CRF and report.
# Usage: bash run.sh [--dry-run] COCO [OUT]
# COCO holds train2014/ and annotations/instances_train2014.json. --dry-run looks whether they are there and prints the
# commands. START: what WeakTr starts from: timm (DeiT-S), a checkpoint of WeakTr or SemPLeS, scratch. SPLIT: train2014.
# MODEL, WEIGHTS, VIT, EPOCHS, SIZE, PROMPT_LENGTH: for trying the recipe on something small; unset, all is as published.
set -euo pipefail

dry=; if [ "${1-}" = --dry-run ]; then dry=1; shift; fi
data=${1:?"usage: bash run.sh [--dry-run] COCO [OUT]"}
out=${2:-coco14-out}
split=${SPLIT:-train2014}
clip=(--model "${MODEL:-ViT-B-32}" --weights "${WEIGHTS:-openai}")

need() { if [ ! -e "$data/$1" ]; then echo "missing: $data/$1 ($2)" >&2; missing=1; fi; }
missing=
images=$data/images/$split
if [ ! -e "$images" ]; then images=$data/$split; need "$split" "$split.zip"; fi
need "annotations/instances_$split.json" "annotations_trainval2014.zip: image-level labels, and masks for evaluate"
if [ -n "$missing" ]; then exit 1; fi

do_() { echo "+ $*" >&2; if [ -z "$dry" ]; then "$@"; fi; }

# 0. Initial weights of WeakTr, by classification; then matching and one background prompt a class.
do_ semples train-generator --data "$data" --split "$split" --preset coco14 "${clip[@]}" --start "${START:-timm}" \
  --vit "${VIT:-deit_small_patch16_224}" ${EPOCHS:+--epochs "$EPOCHS"} --out "$out/weaktr.safetensors"
do_ semples learn-prompts --data "$data" --split "$split" --preset coco14 "${clip[@]}" --init "$out/weaktr.safetensors" \
  ${EPOCHS:+--epochs "$EPOCHS"} ${SIZE:+--size "$SIZE"} ${PROMPT_LENGTH:+--prompt-length "$PROMPT_LENGTH"} \
  --out "$out/prompts.safetensors"
do_ semples prompts show "$out/prompts.safetensors" --top 3

# 1. Refinement, masks, CRF.
do_ semples refine --data "$data" --split "$split" --preset coco14 --prompts "$out/prompts.safetensors" \
  ${EPOCHS:+--epochs "$EPOCHS"} ${SIZE:+--size "$SIZE"} --out "$out/refined"
do_ semples crf "$out/refined" --preset semples-coco --out "$out/masks"

# 2. COCO ships no masks: they are drawn from its polygons. Ground truth is read here and nowhere before.
do_ semples data coco-masks "$data/annotations/instances_$split.json" --images "$images" --out "$out/ground_truth"
do_ semples evaluate "$out/refined" "$out/ground_truth" --cams --out "$out/report-cams"
do_ semples evaluate "$out/masks" "$out/ground_truth" --out "$out/report-masks"
