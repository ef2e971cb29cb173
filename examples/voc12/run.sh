#!/usr/bin/env bash
# PASCAL VOC 2012 with the published settings of SemPLeS: from the devkit to pseudo masks, CRF and report.
# Usage: bash run.sh [--dry-run] DEVKIT [OUT]
# DEVKIT holds JPEGImages. --dry-run looks whether the data are there and prints the commands.
# START: what WeakTr starts from: timm (DeiT-S), a checkpoint of WeakTr or SemPLeS, scratch. SPLIT: train_aug, train, …
# MODEL, WEIGHTS, VIT, EPOCHS, SIZE, PROMPT_LENGTH: for trying the recipe on something small; unset, all is as published.
set -euo pipefail

dry=; if [ "${1-}" = --dry-run ]; then dry=1; shift; fi
data=${1:?"usage: bash run.sh [--dry-run] DEVKIT [OUT]"}
out=${2:-voc12-out}
clip=(--model "${MODEL:-ViT-B-32}" --weights "${WEIGHTS:-openai}")
read -ra split <<< "${SPLIT:+--split $SPLIT}"
read -ra epochs <<< "${EPOCHS:+--epochs $EPOCHS}"
read -ra size <<< "${SIZE:+--size $SIZE}"
read -ra prompt_length <<< "${PROMPT_LENGTH:+--prompt-length $PROMPT_LENGTH}"

need() { if [ ! -e "$data/$1" ]; then echo "missing: $data/$1 ($2)" >&2; missing=1; fi; }
missing=
need JPEGImages "VOCtrainval_11-May-2012.tar"
need ImageSets/Segmentation "VOCtrainval_11-May-2012.tar; train_aug.txt there, if you have it"
need Annotations "VOCtrainval_11-May-2012.tar: image-level labels"
[ -e "$data/SegmentationClassAug" ] || need SegmentationClass "VOCtrainval_11-May-2012.tar: read by evaluate alone"
if [ -n "$missing" ]; then exit 1; fi

do_() { echo "+ $*" >&2; if [ -z "$dry" ]; then "$@"; fi; }

# 0. Initial weights of WeakTr, by classification; then matching and one background prompt a class.
do_ semples train-generator --data "$data" "${split[@]}" --preset voc12 "${clip[@]}" --start "${START:-timm}" \
  --vit "${VIT:-deit_small_patch16_224}" "${epochs[@]}" --out "$out/weaktr.safetensors"
do_ semples learn-prompts --data "$data" "${split[@]}" --preset voc12 "${clip[@]}" --init "$out/weaktr.safetensors" \
  "${epochs[@]}" "${size[@]}" "${prompt_length[@]}" --out "$out/prompts.safetensors"
do_ semples prompts show "$out/prompts.safetensors" --top 3

# 1. Refinement, masks, CRF.
do_ semples refine --data "$data" "${split[@]}" --preset voc12 --prompts "$out/prompts.safetensors" "${epochs[@]}" \
  "${size[@]}" --out "$out/refined"
do_ semples crf "$out/refined" --preset semples-voc --out "$out/masks"

# 2. Ground truth is read here and nowhere before: the curve over all background scores, and the masks as they are.
do_ semples evaluate "$out/refined" "$data" --cams --out "$out/report-cams"
do_ semples evaluate "$out/masks" "$data" --out "$out/report-masks"
