"""CAMs of labelled images against the straightforward way, and against one bare forward pass of the same size.

    python benchmarks/cams_speed.py --classes 1 2 3 --repeats 5
    python benchmarks/cams_speed.py --model ViT-L-14 --images 2 --repeats 3

Straightforward: one image at a time through open_clip's own blocks (nn.MultiheadAttention, which returns its averaged
weights), then one class at a time through the last block, forward and backward, with a softmax over the texts; the
affinity squared as a matrix, and multiplied with each class's map. Bare: the forward pass of the image tower alone, as
our engine runs it, no texts, no gradient, no attention weights; nothing that makes CAMs can do without it. All have the
same random weights and the same inputs in memory; that the maps are alike is checked before anything is timed.
Contenders take turns; medians, and in brackets the fastest and the slowest.
"""

import argparse
import functools
import logging
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import open_clip
import torch
from PIL import Image as PilImage
from torch.nn import functional

from semples_cli.config import CamSettings, EngineSettings
from semples_cli.data.background_words import read_background_words
from semples_cli.engine.build import build_engine
from semples_cli.engine.clip import ClipEngine, resample_positions
from semples_cli.engine.model_dir import ModelDir, write_model_dir
from semples_cli.engine.preprocess import network_size, to_pixels
from semples_cli.engine.seeds import SeedGenerator
from semples_cli.functional.affinity import SINKHORN_ROUNDS, box_mask
from semples_cli.functional.cam import min_max
from semples_cli.types import ClassSet

CLASSES = ClassSet(("cat", "dog", "boat", "horse", "sheep"))
TOLERANCE = {"fp32": 2e-3, "bf16": 0.2}

Image = np.ndarray
Maps = list[np.ndarray]


def random_engine(name: str, precision: str, device: str) -> ClipEngine:
    """A CLIP of this name with weights as they are before any training, the same at every call."""
    config = open_clip.get_model_config(name)
    torch.manual_seed(0)
    state = open_clip.create_model(name, load_weights=False).state_dict()
    state["logit_scale"].fill_(0.0)  # of random features a softmax at 100 saturates, and then has no gradient
    with tempfile.TemporaryDirectory() as folder:
        write_model_dir(ModelDir(Path(folder) / "clip", config, licence="none"), state)
        return build_engine(EngineSettings(weights=str(Path(folder) / "clip"), device=device, precision=precision))


class Straightforward:
    """CAMs of one image and one class at a time, as the method is written down."""

    def __init__(self, name: str, engine: ClipEngine, generator: SeedGenerator) -> None:
        self._model = open_clip.create_model(name, load_weights=False).eval()
        self._model.load_state_dict(engine.model.state_dict())
        self._model.to(engine.device)
        self._engine, self._generator = engine, generator
        words = (*CLASSES.prompt_names, *generator.background_words)
        texts = [generator.settings.template.replace("{}", word) for word in words]
        self._texts = engine.encode_texts(texts)

    def maps(self, images: Sequence[Image], classes: Sequence[Sequence[int]]) -> Maps:
        return [np.stack(list(self._maps_of(image, of_image))) for image, of_image in zip(images, classes, strict=True)]

    def _maps_of(self, image: Image, classes: Sequence[int]):
        settings, engine = self._generator.settings, self._engine
        size = network_size(image.shape[:2], settings.size, engine.patch_size, 1.0)
        pixels = to_pixels(image, size, engine.preprocess.mean, engine.preprocess.std)[None].to(engine.device)
        grid = [side // engine.patch_size for side in size]
        tokens, attentions = self._tokens(pixels)
        attention = torch.stack(attentions[-8:]).mean(0)[0, 1:, 1:].double()
        for k in classes:
            cam = min_max(self._grad_cam(tokens, classes, k).reshape(1, *grid))
            affinity = attention
            for _ in range(SINKHORN_ROUNDS):
                affinity = affinity / affinity.sum(0, keepdim=True)
                affinity = affinity / affinity.sum(1, keepdim=True)
            affinity = (affinity + affinity.T) / 2
            affinity = affinity @ affinity
            box = torch.from_numpy(box_mask(cam[0].cpu().numpy(), settings.box_threshold).reshape(1, -1)).to(cam.device)
            spread = (affinity * box) @ cam.double().flatten()
            yield min_max(spread.reshape(1, *grid))[0].float().cpu().numpy()

    @torch.no_grad()
    def _tokens(self, pixels: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        visual, attentions = self._model.visual, []
        patches = visual.conv1(pixels)
        grid = patches.shape[-2:]
        tokens = torch.cat([visual.class_embedding.expand(1, 1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
        tokens = visual.ln_pre(tokens + resample_positions(visual.positional_embedding, visual.grid_size, grid))
        for i, block in enumerate(visual.transformer.resblocks):
            normed = block.ln_1(tokens)
            attended, weights = block.attn(normed, normed, normed, need_weights=True)
            attentions.append(weights)
            if i < len(visual.transformer.resblocks) - 1:
                tokens = tokens + attended
                tokens = tokens + block.mlp(block.ln_2(tokens))
        return tokens, attentions

    def _grad_cam(self, tokens: torch.Tensor, classes: Sequence[int], k: int) -> torch.Tensor:
        visual, engine = self._model.visual, self._engine
        block = visual.transformer.resblocks[-1]
        normed = block.ln_1(tokens).detach().requires_grad_()
        hidden = tokens + block.attn(normed, normed, normed, need_weights=True)[0]
        hidden = hidden + block.mlp(block.ln_2(hidden))
        feature = functional.normalize(visual.ln_post(hidden)[:, 1:].mean(1) @ visual.proj, dim=-1)
        chosen = [*(c - 1 for c in classes), *range(len(CLASSES), len(self._texts))]
        score = (engine.logit_scale * feature @ self._texts[chosen].T).softmax(-1)[0, list(classes).index(k)]
        (gradient,) = torch.autograd.grad(score, normed)
        weights = gradient[0, 1:].mean(0)
        return (normed.detach()[0, 1:] * weights).sum(-1).relu()


@torch.no_grad()
def bare(engine: ClipEngine, images: Sequence[Image], settings: CamSettings) -> None:
    """The forward pass of the tower, in batches."""
    for start in range(0, len(images), settings.batch_size):
        chosen = images[start : start + settings.batch_size]
        size = network_size(chosen[0].shape[:2], settings.size, engine.patch_size, 1.0)
        pixels = [to_pixels(image, size, engine.preprocess.mean, engine.preprocess.std) for image in chosen]
        with engine.autocast():
            tokens = engine.embed(torch.stack(pixels).to(engine.device))
            for block in engine.blocks:
                tokens = block(tokens)
            engine.norm_patches(tokens)


def time_in_turns(contenders: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call; every contender once to warm up, then one after the other."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, call in contenders.items():
            started = perf_counter()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(perf_counter() - started)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-16")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--classes", type=int, nargs="+", default=[1, 2, 3], help="classes in each image")
    parser.add_argument("--batch-size", type=int, default=CamSettings().batch_size)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    logging.disable(logging.WARNING)  # open_clip on random weights, which are wanted here
    engine = random_engine(args.model, args.precision, args.device)
    words = read_background_words("voc")
    settings = CamSettings(size=args.size, batch_size=args.batch_size, background_words=words)
    generator = SeedGenerator(engine, CLASSES, settings)
    straightforward = Straightforward(args.model, engine, generator)
    rng = np.random.default_rng(0)
    coarse = [PilImage.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)) for _ in range(args.images)]
    images = [np.asarray(each.resize((args.size, args.size), PilImage.Resampling.BICUBIC)) for each in coarse]
    print(
        f"{args.model} at {args.size} px, {args.images} images, {args.precision}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, {platform.processor() or platform.machine()}"
    )
    print("| classes | bare, s an image | ours | straightforward | faster by | over bare | largest difference |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for count in args.classes:
        classes = [tuple(range(1, count + 1))] * len(images)
        pairs = zip(generator.maps(images, classes), straightforward.maps(images, classes), strict=True)
        difference = max(float(np.abs(one - other).max()) for one, other in pairs)
        if difference > TOLERANCE.get(args.precision, TOLERANCE["bf16"]):
            sys.exit(f"the maps of the two ways differ by {difference:.2g}; nothing is timed")
        seconds = time_in_turns(
            {
                "bare": functools.partial(bare, engine, images, settings),
                "ours": functools.partial(generator.maps, images, classes),
                "straightforward": functools.partial(straightforward.maps, images, classes),
            },
            args.repeats,
        )
        per_image = {name: [each / len(images) for each in spent] for name, spent in seconds.items()}
        middle = {name: median(spent) for name, spent in per_image.items()}
        cells = [f"{middle[name]:.3f} [{min(spent):.3f}, {max(spent):.3f}]" for name, spent in per_image.items()]
        print(
            f"| {count} | {' | '.join(cells)} | {middle['straightforward'] / middle['ours']:.2f} | "
            f"{middle['ours'] / middle['bare']:.2f} | {difference:.1g} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
