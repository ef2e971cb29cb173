"""Contrastive Prompt Learning, stage (b): one background prompt a class, trained against frozen CLIP features.

Of several processes each learns from the pairs of a batch whose features it holds, as its part of the mean over the
whole batch; their gradients, of the vectors alone, are added up.

Source: SemPLeS (Lin et al. 2025, arXiv 2401.11791, section 3.3).

Letters: F classes, L learnable tokens, W text width, N pairs of an image and a class, V views, D embedding width.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from semples_cli.config import PromptSettings
from semples_cli.engine.background_regions import BackgroundRegions
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.data_parallel import ALONE, Ranks
from semples_cli.engine.prompts import PromptEncoder, initial_vectors
from semples_cli.errors import DataError
from semples_cli.functional.losses import prompt_loss, similarity
from semples_cli.types import FloatArray, Progress

RATE_BATCH = 512
"""Rates are given for a batch of this size."""

PLATEAU_TOLERANCE = 1e-3
"""Share of the best epoch's mean loss by which a later one must lie below it to count as lower."""


def epoch_means(losses: Sequence[float], num_pairs: int, batch_size: int) -> list[float]:
    """Mean loss over the pairs of each epoch.

    Args:
        losses: Mean loss over the batch of each step; those of an epoch that is not yet done are left out.
        num_pairs: N; the last batch of an epoch is what is left of them, and counts by its size.
        batch_size: Pairs in the other batches.

    Returns:
        A value for each epoch that is done.
    """
    sizes = [min(batch_size, num_pairs - start) for start in range(0, num_pairs, batch_size)]
    num_epochs = len(losses) // len(sizes)
    steps = np.reshape(losses[: num_epochs * len(sizes)], (num_epochs, len(sizes)))
    means: list[float] = np.average(steps, axis=1, weights=sizes).tolist()
    return means


def epochs_on_plateau(means: Sequence[float], tolerance: float = PLATEAU_TOLERANCE) -> int:
    """Epochs since the mean loss last fell: since it lay more than `tolerance` · |best| below the best before it.

    A slow fall is no plateau: small steps add up against the best that counted, as in Keras' EarlyStopping and
    PyTorch's ReduceLROnPlateau.

    Args:
        means: Mean loss of each epoch; may be negative. One that is no number has not fallen.
        tolerance: Relative; 0 or more.
    """
    bound, since = math.inf, 0
    for mean in means:
        bound, since = (mean - tolerance * abs(mean), 0) if mean < bound else (bound, since + 1)
    return since


class PromptLearning:
    """One training of a class set's prompts. The vectors alone are trained; CLIP never gets a gradient."""

    def __init__(
        self,
        engine: ClipEngine,
        regions: BackgroundRegions,
        label_features: torch.Tensor,
        settings: PromptSettings,
        ranks: Ranks = ALONE,
    ) -> None:
        """Set up vectors and optimiser.

        Args:
            engine: The frozen CLIP.
            regions: Features of the background regions.
            label_features: (F, D) float32, L2-normalised, of the label texts.
            settings: Schedule, losses and start.
            ranks: The processes that learn together.

        Raises:
            DataError: There is no pair to learn from.
            SettingsError: The prompts do not fit into the token window.
        """
        if not len(regions.class_indices):
            msg = "no background region to learn from: label images with classes and give their CAMs"
            raise DataError(msg)
        self._engine, self._regions, self._settings, self._ranks = engine, regions, settings, ranks
        self._labels = label_features.to(engine.device)
        self._encoder = PromptEncoder(engine)
        self._vectors = initial_vectors(engine, len(label_features), settings).requires_grad_()
        self._rate = settings.learning_rate * settings.batch_size / RATE_BATCH
        self._optimiser = torch.optim.AdamW([self._vectors], lr=self._rate, weight_decay=settings.weight_decay)
        self._losses: list[float] = []

    @property
    def num_steps(self) -> int:
        """Steps of the whole training, where no plateau ends it; the last batch of an epoch may be smaller."""
        return self._settings.epochs * self._steps_an_epoch

    @property
    def stopped_epoch(self) -> int | None:
        """Epochs done where a plateau ended the training; None where it went to its end, or has not got so far."""
        done = len(self._losses) // self._steps_an_epoch
        return done if done < self._settings.epochs and self._is_on_plateau() else None

    @property
    def _steps_an_epoch(self) -> int:
        return math.ceil(len(self._regions.class_indices) / self._settings.batch_size)

    def run(self, checkpoint: Checkpoint, progress: Progress) -> tuple[FloatArray, list[float]]:
        """Train to the end, or to the plateau that the settings ask to stop at.

        The plateau follows from the losses alone, which the checkpoint holds: an interrupted training stops where a
        whole one does. The rate is then what the cosine over all epochs says, and not 0.

        Args:
            checkpoint: Taken up where it is of this training, and written now and then, by the main process.
            progress: Called with (steps done, steps); at a plateau the steps done are all. A KeyboardInterrupt of it
                finds the state written.

        Returns:
            The vectors (F, L, W) float32, and the loss of every step, of earlier runs too. A class without any pair
            keeps its first vectors, but for the weight decay.

        Raises:
            ArtifactError: The checkpoint is damaged.
            EngineError: Another process is gone.
        """
        self._restore(checkpoint)
        for step in range(len(self._losses), self.num_steps):
            if self._is_on_plateau():
                progress(step, step)
                break
            for group in self._optimiser.param_groups:
                group["lr"] = self._rate * 0.5 * (1 + math.cos(math.pi * step / self.num_steps))
            self._losses.append(self._step(*self._batch(step)))
            if (step + 1) % checkpoint.every == 0:
                self._store(checkpoint)
            try:
                progress(step + 1, self.num_steps)
            except KeyboardInterrupt:
                self._store(checkpoint)
                raise
        return self._vectors.detach().cpu().numpy(), self._losses

    def _is_on_plateau(self) -> bool:
        """Whether the training stops here: asked for, at the end of an epoch, and long enough without a lower loss."""
        patience = self._settings.plateau_epochs
        if patience == 0 or len(self._losses) % self._steps_an_epoch:
            return False
        means = epoch_means(self._losses, len(self._regions.class_indices), self._settings.batch_size)
        return epochs_on_plateau(means) >= patience

    def _batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (B, D) of the background regions held here, a view drawn for each, and their classes (B,) from 0."""
        epoch, place = divmod(step, self._steps_an_epoch)
        rng = np.random.default_rng((self._settings.seed, epoch))
        count, size = len(self._regions.class_indices), self._settings.batch_size
        pairs: npt.NDArray[np.int64] = rng.permutation(count)[place * size : (place + 1) * size]
        drawn = rng.integers(len(self._regions.features), size=count)
        pairs = pairs[self._regions.held(pairs)]
        features = torch.from_numpy(np.asarray(self._regions.features[drawn[pairs], pairs - self._regions.first]))
        classes = torch.from_numpy(self._regions.class_indices[pairs] - 1)
        return features.to(self._engine.device), classes.to(self._engine.device)

    def _step(self, regions: torch.Tensor, classes: torch.Tensor) -> float:
        """One step, on this process's part of a batch; returns the loss of the whole."""
        total = sum(self._ranks.gather(len(classes)))
        self._optimiser.zero_grad()
        own = 0.0
        if len(classes):
            loss = self._loss(regions, classes) * (len(classes) / total)
            loss.backward()  # type: ignore[no-untyped-call]
            own = float(loss.detach())
        self._ranks.sum_gradients([self._vectors])
        self._optimiser.step()
        return sum(self._ranks.gather(own))

    def _loss(self, regions: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Mean over some pairs; the text tower runs once, over their classes."""
        settings = self._settings
        present, places = torch.unique(classes, return_inverse=True)
        prompts = self._encoder(self._vectors[present])
        background = similarity((regions * prompts[places]).sum(-1), settings.similarity)
        label = similarity((self._labels[present] * prompts).sum(-1), settings.similarity)[places]
        return prompt_loss(background, label, settings.lambda_t, settings.repulsion)

    def _store(self, checkpoint: Checkpoint) -> None:
        if self._ranks.is_main:
            optimiser = self._optimiser.state_dict()
            checkpoint.store({"vectors": self._vectors.detach(), "optimiser": optimiser, "losses": self._losses})

    def _restore(self, checkpoint: Checkpoint) -> None:
        start: dict[str, Any] = {"vectors": self._vectors.detach().cpu()}
        state = self._ranks.from_main(lambda: checkpoint.restore(torch.device("cpu")) or start)
        with torch.no_grad():
            self._vectors.copy_(state["vectors"])
        if "optimiser" not in state:
            return
        self._optimiser.load_state_dict(state["optimiser"])
        self._losses = state["losses"]
