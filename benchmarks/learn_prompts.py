"""Contrastive prompt learning against the straightforward way, on the same machine, weights, maps and settings.

    python benchmarks/learn_prompts.py --num-images 60 --epochs 60

Straightforward: in every step a fresh view of each pair, its background region, its label text and its prompt all go
through CLIP, the text tower over its whole window. Ours: label texts once, each region in four views once (counted
here), one text pass over the classes of a batch, cut after the end of the prompt.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from semples_cli.config import EngineSettings, PromptSettings, WorldSettings
from semples_cli.demo.model import DEMO_CAM_SETTINGS, DEMO_PROMPT_SETTINGS, model_dir
from semples_cli.demo.names import OBJECTS
from semples_cli.demo.world import render_scene
from semples_cli.engine.background_regions import MappedImages, embed_background_regions
from semples_cli.engine.build import build_engine
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generator_training import encode_labels
from semples_cli.engine.preprocess import to_pixels
from semples_cli.engine.prompt_training import PromptLearning
from semples_cli.engine.prompts import AFTER, BEFORE, initial_vectors
from semples_cli.engine.seeds import SeedGenerator
from semples_cli.engine.views import cut_image, cut_maps, random_crop
from semples_cli.functional.losses import prompt_loss, similarity
from semples_cli.functional.regions import cut_regions, region_maps, sharpen_maps
from semples_cli.types import PROMPT_TEMPLATE, ClassSet

CLASSES = ClassSet(OBJECTS)


def silent(done: int, total: int) -> None:
    del done, total


def ours(engine: ClipEngine, images: MappedImages, settings: PromptSettings) -> list[float]:
    regions = embed_background_regions(engine, images, settings, silent)
    learning = PromptLearning(engine, regions, encode_labels(engine, CLASSES.prompt_names), settings)
    with tempfile.TemporaryDirectory() as folder:
        return learning.run(Checkpoint(Path(folder) / "state", "", every=10**9), silent)[1]


def straightforward(engine: ClipEngine, images: MappedImages, settings: PromptSettings) -> list[float]:
    pairs = [(i, slot, k) for i, classes in enumerate(images.class_indices) for slot, k in enumerate(classes)]
    vectors = initial_vectors(engine, len(CLASSES), settings).requires_grad_()
    rate = settings.learning_rate * settings.batch_size / 512
    optimiser = torch.optim.AdamW([vectors], lr=rate, weight_decay=settings.weight_decay)
    steps_an_epoch, losses = -(-len(pairs) // settings.batch_size), []
    for step in range(settings.epochs * steps_an_epoch):
        epoch, place = divmod(step, steps_an_epoch)
        order = np.random.default_rng((settings.seed, epoch)).permutation(len(pairs))
        chosen = [pairs[j] for j in order[place * settings.batch_size : (place + 1) * settings.batch_size]]
        for group in optimiser.param_groups:
            group["lr"] = rate * 0.5 * (1 + np.cos(np.pi * step / (settings.epochs * steps_an_epoch)))
        rng = np.random.default_rng((settings.seed, step, 1))
        with torch.no_grad():
            pixels = torch.stack([region(engine, images, settings, i, slot, rng) for i, slot, _ in chosen])
            regions = engine.model.encode_image(pixels, normalize=True)
            labels = engine.encode_texts([PROMPT_TEMPLATE.replace("{}", OBJECTS[k - 1]) for *_, k in chosen])
        prompts = encode_whole_window(engine, vectors[[k - 1 for *_, k in chosen]])
        background = similarity((regions * prompts).sum(-1), settings.similarity)
        label = similarity((labels * prompts).sum(-1), settings.similarity)
        loss = prompt_loss(background, label, settings.lambda_t, settings.repulsion)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


def region(
    engine: ClipEngine, images: MappedImages, settings: PromptSettings, i: int, slot: int, rng: np.random.Generator
) -> torch.Tensor:
    image, maps = images.read(i)
    side, size = engine.image_size, (image.shape[0], image.shape[1])
    crop = random_crop(size, settings.crop_scale, rng)
    pixels = to_pixels(cut_image(image, side, crop), (side, side), engine.preprocess.mean, engine.preprocess.std)
    cut = cut_maps(torch.from_numpy(maps[slot : slot + 1]), size, side, crop)
    cut = sharpen_maps(
        region_maps(cut, (side, side), settings.region_epsilon), settings.region_sharpness, settings.region_border
    )
    return cut_regions(pixels[None], cut)[1][0]


def encode_whole_window(engine: ClipEngine, vectors: torch.Tensor) -> torch.Tensor:
    """CLIP's own encode_text with the token embedding's output replaced, padding and all."""
    model, window = engine.model, len(engine.model.positional_embedding)
    length = len(BEFORE) + vectors.shape[1] + len(AFTER)
    ids = torch.zeros(len(vectors), window, dtype=torch.int64)
    ids[:, : len(BEFORE)] = torch.tensor(BEFORE)
    ids[:, length - len(AFTER) : length] = torch.tensor(AFTER)

    def put_in(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        del module, inputs
        first, last = output[:, : len(BEFORE)], output[:, len(BEFORE) + vectors.shape[1] :]
        return torch.cat([first, vectors, last], dim=1)

    handle = model.token_embedding.register_forward_hook(put_in)
    try:
        return model.encode_text(ids, normalize=True)
    finally:
        handle.remove()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-images", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--weights", default=str(model_dir()))
    args = parser.parse_args()
    engine = build_engine(EngineSettings(weights=args.weights, device="cpu", precision="fp32"))
    settings = replace(DEMO_PROMPT_SETTINGS, epochs=args.epochs)
    scenes = [render_scene(WorldSettings(seed=1), n) for n in range(args.num_images)]
    present = [tuple(CLASSES.index_of(name) for name in scene.object_names) for scene in scenes]
    maps = SeedGenerator(engine, CLASSES, DEMO_CAM_SETTINGS).maps([scene.image for scene in scenes], present)
    images = MappedImages(present, lambda i: (scenes[i].image, maps[i]))
    threads = torch.get_num_threads()
    print(f"{args.num_images} images, {sum(map(len, present))} pairs, {args.epochs} epochs, {threads} threads")
    times, curves = {}, {}
    for name, run in (("ours, embedding included", ours), ("straightforward", straightforward)):
        started = perf_counter()
        curves[name] = run(engine, images, settings)
        times[name] = perf_counter() - started
    print("| way | seconds | first loss | loss at a quarter | at half | last |\n| --- | --- | --- | --- | --- | --- |")
    for name, curve in curves.items():
        marks = (0, len(curve) // 4, len(curve) // 2, len(curve) - 1)
        print(f"| {name} | {times[name]:.1f} | " + " | ".join(f"{curve[m]:.3f}" for m in marks) + " |")
    print(f"{times['straightforward'] / times['ours, embedding included']:.1f} times as fast")


if __name__ == "__main__":
    main()
