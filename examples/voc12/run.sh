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
lists=$data/ImageSets/Segmentation
if [ -n "${SPLIT-}" ]; then split=$SPLIT; elif [ -e "$lists/train_aug.txt" ]; then split=train_aug; else split=train; fi
# Figures are published on train, which train_aug holds too. The ground-truth folder has val's masks beside it.
if [ "$split" = train_aug ]; then scored=train; else scored=$split; fi

need() { if [ ! -e "$data/$1" ]; then echo "missing: $data/$1 ($2)" >&2; missing=1; fi; }
missing=
need JPEGImages "VOCtrainval_11-May-2012.tar"
need "ImageSets/Segmentation/$split.txt" "VOCtrainval_11-May-2012.tar; put train_aug.txt there, if you have it"
if [ "$scored" != "$split" ]; then need "ImageSets/Segmentation/$scored.txt" "VOCtrainval_11-May-2012.tar"; fi
need Annotations "VOCtrainval_11-May-2012.tar: image-level labels"
[ -e "$data/SegmentationClassAug" ] || need SegmentationClass "VOCtrainval_11-May-2012.tar: read by evaluate alone"
if [ -n "$missing" ]; then exit 1; fi

do_() { echo "+ $*" >&2; if [ -z "$dry" ]; then "$@"; fi; }

# 0. Initial weights of WeakTr, by classification; then matching and one background prompt a class.
do_ semples train-generator --data "$data" --split "$split" --preset voc12 "${clip[@]}" --start "${START:-timm}" \
  --vit "${VIT:-deit_small_patch16_224}" ${EPOCHS:+--epochs "$EPOCHS"} --out "$out/weaktr.safetensors"
do_ semples learn-prompts --data "$data" --split "$split" --preset voc12 "${clip[@]}" --init "$out/weaktr.safetensors" \
  ${EPOCHS:+--epochs "$EPOCHS"} ${SIZE:+--size "$SIZE"} ${PROMPT_LENGTH:+--prompt-length "$PROMPT_LENGTH"} \
  --out "$out/prompts.safetensors"
do_ semples prompts show "$out/prompts.safetensors" --top 3

# 1. Refinement, masks, CRF.
do_ semples refine --data "$data" --split "$split" --preset voc12 --prompts "$out/prompts.safetensors" \
  ${EPOCHS:+--epochs "$EPOCHS"} ${SIZE:+--size "$SIZE"} --out "$out/refined"
do_ semples crf "$out/refined" --preset semples-voc --out "$out/masks"

# 2. Ground truth is read here and nowhere before: the curve over all background scores, and the masks as they are.
do_ semples evaluate "$out/refined" "$data" --split-list "$lists/$scored.txt" --cams --out "$out/report-cams"
do_ semples evaluate "$out/masks" "$data" --split-list "$lists/$scored.txt" --out "$out/report-masks"
