#!/usr/bin/env bash
# Your own photographs, your own classes, no ground truth. It runs as it is, on rendered images and the built-in model;
# for your own, change what is marked OWN and leave out what is marked TINY.
# Usage: bash run.sh [FOLDER [NUM_IMAGES [EPOCHS]]]
set -euo pipefail

out=${1:-own-images-out}
num_images=${2:-100}
epochs=${3:-8}

# TINY: a stand-in for photographs with labels: some of today, four of tomorrow. A train is called loco in these labels.
semples demo-data --out "$out/world" --num-images "$((num_images + 4))"
mkdir -p "$out/photos" "$out/tomorrow"
cp -p "$out"/world/JPEGImages/*.png "$out/photos"
rm -f "$out/tomorrow"/*
for image in $(tail -n 4 "$out/world/labels.csv" | cut -d, -f1); do mv "$out/photos/$image" "$out/tomorrow/"; done
sed 's/train/loco/' "$out/world/labels.csv" > "$out/all.csv"
head -n "$((num_images + 1))" "$out/all.csv" > "$out/labels.csv"
{ head -n 1 "$out/all.csv"; tail -n 4 "$out/all.csv"; } > "$out/tomorrow.csv"
tiny=$(python -c 'from semples_cli.demo.model import model_dir; print(model_dir())')

# The classes, in the order of the mask values 1, 2, …; after a tab the word for CLIP where the name is not a good one.
printf '%s\n' aeroplane bird boat camel car fish lamp penguin sheep $'loco\ttrain' > "$out/classes.txt"  # OWN

# 1. What comes with each class? The table says it in words; read it before you go on.
#    OWN: --model ViT-B-16 --weights openai, no --size and no --nouns.
semples learn-prompts "$out/photos" --labels "$out/labels.csv" --classes "$out/classes.txt" --weights "$tiny" \
  --size 64 --epochs "$epochs" --out "$out/prompts.safetensors"
printf '%s\n' sky tree sea desert road reef wall snow grass railway > "$out/nouns.txt"
semples prompts show "$out/prompts.safetensors" --top 2 --nouns "$out/nouns.txt"

# 2. Train the mask generator to leave that out; masks, and pictures to look at. OWN: no --size.
semples refine "$out/photos" --labels "$out/labels.csv" --prompts "$out/prompts.safetensors" --out "$out/refined" \
  --size 64 --epochs "$epochs" --overlay

# 3. Sharper borders. These are the masks to use. OWN: no --gaussian and no --bilateral.
semples crf "$out/refined" --out "$out/masks" --overlay --preset semples-coco --gaussian 0.75 3 --bilateral 12.5 8 10

# 4. Images that came later, with the generator as it is: nothing is trained again. OWN: no --size.
semples cams "$out/tomorrow" --labels "$out/tomorrow.csv" --size 64 \
  --generator-weights "$out/refined/.semples/generator.safetensors" --out "$out/new"
