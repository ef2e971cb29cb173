"""What several processes do together and one does alone, to compare: called by the tests, and run under torchrun.

    torchrun --nproc-per-node 2 rank_tasks.py MODEL_DIRECTORY FOLDER

writes FOLDER/rank-<n>.pt, what process n came to.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from training_world import LABELS, NAMES, SETTINGS, labelled_images, make_generator, picture, silent

from semples_cli.config import PUBLISHED_RAND_AUGMENT, EngineSettings, PromptSettings
from semples_cli.engine.background_regions import MappedImages, embed_background_regions
from semples_cli.engine.build import build_engine
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.data_parallel import join_ranks, leave_ranks
from semples_cli.engine.generator_objectives import (
    BackgroundTexts,
    ClassificationObjective,
    FittingObjective,
    RegionObjective,
)
from semples_cli.engine.generator_training import encode_labels, train_initial, train_refined
from semples_cli.engine.generators.weaktr import WeakTr, WeakTrGenerator
from semples_cli.engine.prompt_training import PromptLearning
from semples_cli.engine.training_batches import ViewBatches
from semples_cli.engine.training_loop import Training
from semples_cli.errors import DataError

# Adam's first steps follow the sign of a gradient alone, so rounding moves them: small steps.
SLOW = replace(SETTINGS, initial_learning_rate=1e-3, learning_rate=1e-3, drop_path=0.5, erasing=0.5)
PROMPTS = PromptSettings(prompt_length=3, epochs=3, batch_size=4, views=2, learning_rate=2.0, seed=5)
BROKEN = (3,)
STOP_AFTER = 2


class InterruptedTraining(BaseException):
    """Stands for Ctrl-C."""


def stop(done, total):
    if done == STOP_AFTER:
        raise InterruptedTraining


def texts_of(engine):
    drawn = torch.randn(3, engine.embed_dim, generator=torch.Generator().manual_seed(5))
    return BackgroundTexts(functional.normalize(drawn, dim=-1), torch.tensor([True, True, False]))


def mapped_images(broken=BROKEN):
    def read(i):
        maps = np.random.default_rng(100 + i).uniform(0, 1, (len(LABELS[i]), 4, 6)).astype(np.float32)
        return None if i in broken else (picture(i), maps)

    return MappedImages(LABELS, read)


def make_weaktr(engine):
    torch.manual_seed(1)
    network = WeakTr(8, 12, 2, 2, 64, len(NAMES), 2, "max", 0.0)
    with torch.no_grad():  # a fresh ViT attends evenly, and its maps are so flat that gradients are all rounding
        for name, parameter in network.named_parameters():
            if "vit" not in name or any(part in name for part in ("qkv", "reg_token", "pos_embed")):
                parameter.copy_(torch.randn(parameter.shape))
    return WeakTrGenerator(engine, network)


def objectives(engine):
    """Name → generator, objective and images that it can learn from."""
    regions = RegionObjective(engine, encode_labels(engine, NAMES), SETTINGS, texts_of(engine))
    frozen = make_generator(engine)
    frozen.freeze_tower()
    matched = make_weaktr(engine)
    matched.freeze_tower()
    every, labelled = range(len(LABELS)), [i for i, indices in enumerate(LABELS) if indices]
    unread = labelled_images(broken=BROKEN)
    return {
        "classification": (make_generator(engine), ClassificationObjective(engine, 3), unread, every),
        "regions": (frozen, regions, unread, labelled),
        "fitting": (make_generator(engine), FittingObjective(engine, 0.1), mapped_images(), labelled),
        "weaktr": (make_weaktr(engine), ClassificationObjective(engine, 3, class_tokens=True), unread, every),
        "weaktr-regions": (matched, regions, unread, labelled),
    }


def gradients_of(engine, ranks, batch_size):
    """Gradients and terms of the first step of every objective; micro-batches of 3, drop path."""
    found = {}
    settings = replace(SETTINGS, batch_size=batch_size, micro_batch=3, drop_path=0.5, rand_augment="", erasing=0.0)
    for name, (generator, objective, images, chosen) in objectives(engine).items():
        training = Training(generator, objective, settings, 1.0, ranks)
        training._optimiser.step = lambda: None
        training._step(0, ViewBatches(engine, images, chosen, settings, ranks).batch(0))
        gradients = {key: p.grad for key, p in generator.network.named_parameters() if p.requires_grad}
        found[name] = (gradients, training._curves)
    return found


def train(engine, ranks, path, *, stage="initial", every=50, progress=silent, settings=SLOW, broken=BROKEN):
    generator = make_generator(engine)
    images, checkpoint = labelled_images(broken=broken), Checkpoint(path, "f", every)
    if stage == "initial":
        curves = train_initial(generator, images, settings, checkpoint, progress, ranks)
    else:
        curves = train_refined(
            generator, images, NAMES, texts_of(engine), settings, checkpoint, progress, ranks
        )  # fmt: skip
    return generator.network.state_dict(), curves


def train_in_two_parts(engine, ranks, path, one_part=False):
    """The state that a training leaves when it is cut off after two steps; then the rest of it."""
    try:
        train(engine, ranks, path, every=1, progress=stop)
    except InterruptedTraining:
        return None if one_part else train(engine, ranks, path, every=1)


def learn(engine, ranks, path, *, every=50, progress=silent, store=None, **settings):
    settings = replace(PROMPTS, **settings)
    regions = embed_background_regions(engine, mapped_images(), settings, silent, store, ranks)
    learning = PromptLearning(engine, regions, encode_labels(engine, NAMES), settings, ranks)
    return regions, *learning.run(Checkpoint(path, "f", every), progress)


def refused_by_main(ranks):
    def refuse():
        msg = f"process {ranks.rank} refuses"
        raise DataError(msg)

    try:
        ranks.from_main(refuse)
    except DataError as error:
        return str(error)


def sum_by_hand(ranks):
    """A parameter with a gradient everywhere, one in the last process alone, one nowhere; of two shapes."""
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((2, 3), (4,), (1,))]
    parameters[0].grad = torch.arange(6.0).reshape(2, 3) * (1 + ranks.rank)
    if ranks.rank == ranks.size - 1:
        parameters[1].grad = torch.ones(4)
    ranks.sum_gradients(parameters)
    return [parameter.grad for parameter in parameters]


def everything(engine, ranks, folder):
    regions, vectors, losses = learn(engine, ranks, folder / "prompts")
    _, lone, _ = learn(engine, ranks, folder / "lone", batch_size=1, epochs=1)
    augmented = replace(SLOW, rand_augment=PUBLISHED_RAND_AUGMENT, batch_size=5)
    return {
        "gradients": {size: gradients_of(engine, ranks, size) for size in (5, 1)},
        "initial": train(engine, ranks, folder / "a", settings=augmented),
        "again": train(engine, ranks, folder / "b", settings=augmented),
        "refined": train(engine, ranks, folder / "c", stage="refined"),
        "regions": (regions.features, regions.class_indices, regions.first),
        "prompts": (vectors, losses, lone),
    }


def main(model, folder):
    torch.set_num_threads(1)
    engine = build_engine(EngineSettings(weights=model, device="cpu", precision="fp32"))
    ranks = join_ranks(engine.device)
    found = everything(engine, ranks, folder)
    found["whole"] = train_in_two_parts(engine, ranks, folder / "parts")
    found["continued"] = train(engine, ranks, folder / "left-by-one", every=1)
    train_in_two_parts(engine, ranks, folder / "left-by-two", one_part=True)
    found["learned-on"] = learn(engine, ranks, folder / "prompts-left-by-one")[1:]
    found["gathered"] = ranks.gather({"rank": ranks.rank})
    found["refused"] = refused_by_main(ranks)
    found["summed"] = sum_by_hand(ranks)
    found["same"] = join_ranks(engine.device) is ranks
    torch.save(found, folder / f"rank-{ranks.rank}.pt")
    leave_ranks()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
