"""The trainings of the mask generator: initial weights or a fit to given maps, matching (a), refinement (c)."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from semples_cli.config import GeneratorSettings
from semples_cli.engine.background_regions import MappedImages
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.data_parallel import ALONE, Ranks
from semples_cli.engine.generator_objectives import (
    BackgroundTexts,
    ClassificationObjective,
    FittingObjective,
    RegionObjective,
)
from semples_cli.engine.generators.protocol import MaskGenerator
from semples_cli.engine.training_batches import LabelledImages, ViewBatches
from semples_cli.engine.training_loop import Curves, Training
from semples_cli.types import PROMPT_TEMPLATE, Progress


def train_initial(
    generator: MaskGenerator,
    images: LabelledImages,
    settings: GeneratorSettings,
    checkpoint: Checkpoint,
    progress: Progress,
    ranks: Ranks = ALONE,
) -> Curves:
    """Train initial weights in place, by multi-label classification.

    Args:
        generator: All of its own network is trained; CLIP stays as it is.
        images: All images; those without any class take part.
        settings: Schedule and views.
        checkpoint: For an interrupted training.
        progress: Called with (steps done, steps).
        ranks: The processes that train together.

    Returns:
        The terms 'coarse' and 'fine', of a generator with class tokens also 'tokens', and their sum 'loss', of every
        step.

    Raises:
        DataError: There is no image.
        EngineError: Not even one image fits into the device's memory.
    """
    network = generator.network
    objective = ClassificationObjective(generator.engine, network.num_classes, class_tokens=network.has_class_tokens)
    batches = ViewBatches(generator.engine, images, range(len(images.class_indices)), settings, ranks)
    training = Training(generator, objective, settings, settings.initial_learning_rate, ranks)
    return training.run(batches, checkpoint, progress)


def train_matching(
    generator: MaskGenerator,
    images: LabelledImages,
    prompt_names: Sequence[str],
    settings: GeneratorSettings,
    checkpoint: Checkpoint,
    progress: Progress,
    ranks: Ranks = ALONE,
) -> Curves:
    """Train stage (a), segment-label matching, in place: class head and fusion alone.

    Args:
        generator: Its head has the initial weights.
        images: Images without any class are left out.
        prompt_names: The word for each of the F classes.
        settings: Schedule, views, λ_b, similarity and the ε of the maps.
        checkpoint: For an interrupted training.
        progress: Called with (steps done, steps).
        ranks: The processes that train together.

    Returns:
        The terms 'foreground' and 'background' (without λ_b), the 'loss', and the 'range' of the maps before they are
        stretched, of every step.

    Raises:
        DataError: No image has a class.
        EngineError: Not even one image fits into the device's memory.
    """
    return _train_regions(generator, images, prompt_names, settings, checkpoint, progress, None, ranks)


def train_refined(
    generator: MaskGenerator,
    images: LabelledImages,
    prompt_names: Sequence[str],
    texts: BackgroundTexts,
    settings: GeneratorSettings,
    checkpoint: Checkpoint,
    progress: Progress,
    ranks: Ranks = ALONE,
) -> Curves:
    """Train stage (c), matching and prompt-guided refinement, in place, from initial weights.

    Args:
        generator: Its head has the initial weights, not those of stage (a).
        images: Images without any class are left out.
        prompt_names: The word for each of the F classes.
        texts: What the foreground of each class must not look like.
        settings: As for stage (a), and λ_r; `refine_batch_size` is the batch size where it is given.
        checkpoint: For an interrupted training.
        progress: Called with (steps done, steps).
        ranks: The processes that train together.

    Returns:
        As stage (a), and the term 'refinement' (without λ_r).

    Raises:
        DataError: No image has a class.
        EngineError: Not even one image fits into the device's memory.
    """
    own = settings.for_refinement()
    return _train_regions(generator, images, prompt_names, own, checkpoint, progress, texts, ranks)


def train_fitted(
    generator: MaskGenerator,
    images: MappedImages,
    settings: GeneratorSettings,
    checkpoint: Checkpoint,
    progress: Progress,
    ranks: Ranks = ALONE,
) -> Curves:
    """Fit a generator to given maps in place, in place of initial weights by classification.

    Args:
        generator: All of its own network is trained.
        images: Images with their maps, which are soft targets.
        settings: Schedule and views; the views are not augmented otherwise, for the maps would not follow.
        checkpoint: For an interrupted training.
        progress: Called with (steps done, steps).
        ranks: The processes that train together.

    Returns:
        The terms 'present', 'absent' and 'fine' and their sum 'loss' of every step.

    Raises:
        DataError: No image can be read.
        EngineError: Not even one image fits into the device's memory.
    """
    plain = replace(settings, rand_augment="", erasing=0.0, drop_path=0.0)
    objective = FittingObjective(generator.engine, settings.region_epsilon)
    labelled = [i for i, indices in enumerate(images.class_indices) if indices]
    training = Training(generator, objective, plain, settings.initial_learning_rate, ranks)
    return training.run(ViewBatches(generator.engine, images, labelled, plain, ranks), checkpoint, progress)


def encode_labels(engine: ClipEngine, prompt_names: Sequence[str]) -> torch.Tensor:
    """Features of the label texts 'a photo of {class}.': (F, D) float32, L2-normalised."""
    return engine.encode_texts([PROMPT_TEMPLATE.replace("{}", name) for name in prompt_names])


def _train_regions(
    generator: MaskGenerator,
    images: LabelledImages,
    prompt_names: Sequence[str],
    settings: GeneratorSettings,
    checkpoint: Checkpoint,
    progress: Progress,
    texts: BackgroundTexts | None,
    ranks: Ranks,
) -> Curves:
    generator.freeze_tower()
    engine = generator.engine
    objective = RegionObjective(engine, encode_labels(engine, prompt_names), settings, texts)
    labelled = [i for i, indices in enumerate(images.class_indices) if indices]
    training = Training(generator, objective, settings, settings.learning_rate, ranks)
    return training.run(ViewBatches(engine, images, labelled, settings, ranks), checkpoint, progress)
