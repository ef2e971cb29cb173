"""The training loop of a mask generator: AdamW, micro-batches, a checkpoint to go on from.

What wants a gradient is trained, the rate falls to 0 on a cosine, and the weights of the last step are kept: none are
chosen by ground truth. A step follows from (seed, step), so that an interrupted training resumes to the same weights.
"""

import math
from dataclasses import replace

import numpy as np
import torch

from semples_cli.config import GeneratorSettings
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.device import is_out_of_memory
from semples_cli.engine.generator_objectives import Objective
from semples_cli.engine.generators.protocol import MaskGenerator
from semples_cli.engine.tower_features import DropPath
from semples_cli.engine.training_batches import ViewBatch, ViewBatches
from semples_cli.errors import DataError, EngineError
from semples_cli.types import Progress

RATE_BATCH = 512
"""Rates are given for a batch of this size, as DeiT gives them."""

# Value of each term of the loss, and of 'loss' itself, at each step that had anything to learn from.
Curves = dict[str, list[float]]


class Training:
    """One training of one generator for one objective."""

    def __init__(
        self, generator: MaskGenerator, objective: Objective, settings: GeneratorSettings, learning_rate: float
    ) -> None:
        """Set up the optimiser; `learning_rate` is for a batch of 512."""
        self._generator = generator
        self._objective = objective
        self._settings = settings
        self._micro_batch = settings.micro_batch
        self._rate = learning_rate * settings.batch_size / RATE_BATCH
        parameters = [p for p in generator.network.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        self._optimiser = torch.optim.AdamW(groups, lr=self._rate)
        self._curves: Curves = {name: [] for name in (*objective.weights, "loss")}

    def run(self, batches: ViewBatches, checkpoint: Checkpoint, progress: Progress) -> Curves:
        """Train to the end.

        Args:
            batches: The steps.
            checkpoint: Taken up where it is of this training, and written now and then.
            progress: Called with (steps done, steps).

        Returns:
            The curves, of earlier runs too.

        Raises:
            DataError: There is no image to learn from.
            EngineError: Not even one image fits into the device's memory.
            ArtifactError: The checkpoint is damaged.
        """
        if not batches.chosen:
            msg = "no image to train the mask generator on: label at least one image with a class"
            raise DataError(msg)
        first = self._restore(checkpoint)
        for step, batch in enumerate(batches.read(first), first):
            for group in self._optimiser.param_groups:
                group["lr"] = self._rate * 0.5 * (1 + math.cos(math.pi * step / batches.num_steps))
            self._step(step, batch)
            if (step + 1) % checkpoint.every == 0:
                self._store(checkpoint, step + 1)
            progress(step + 1, batches.num_steps)
        if not self._curves["loss"]:
            msg = "none of the images to train the mask generator on can be read; check the image files"
            raise DataError(msg)
        return self._curves

    def _step(self, step: int, batch: ViewBatch) -> None:
        """One step of the optimiser; none where the batch has nothing to learn from."""
        if self._objective.num_items(batch) == 0:
            return
        terms = None
        while terms is None:
            terms = self._try_accumulate(replace(batch, drop_path=self._drop_path(step)))
        self._optimiser.step()
        terms["loss"] = sum(weight * terms[name] for name, weight in self._objective.weights.items())
        for name, value in terms.items():
            self._curves[name].append(value)

    def _drop_path(self, step: int) -> DropPath | None:
        """What is passed over in a step: the same at every attempt, and after every resume."""
        settings = self._settings
        if settings.drop_path == 0:
            return None
        (seed,) = np.random.SeedSequence((settings.seed, step, 0, 1)).generate_state(1, np.uint64)
        return DropPath(settings.drop_path, torch.Generator().manual_seed(int(seed)))

    def _try_accumulate(self, batch: ViewBatch) -> dict[str, float] | None:
        """Gradients and terms of a batch; None where memory ran out and the micro-batch has been halved."""
        self._optimiser.zero_grad()
        try:
            return self._accumulate(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Here, and not in the handler: the traceback that held the batch's tensors is gone.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        tried = min(self._micro_batch, len(batch.class_indices))
        if tried == 1:
            msg = (
                f"out of memory on {self._generator.engine.device} with a single image and its regions; use "
                "--precision bf16, --device cpu, or a smaller CLIP"
            )
            raise EngineError(msg)
        self._micro_batch = tried // 2
        return None

    def _accumulate(self, batch: ViewBatch) -> dict[str, float]:
        """Backward by micro-batches, each term weighted so that it adds up to the mean over the whole batch's items."""
        objective, total = self._objective, self._objective.num_items(batch)
        sums = {name: torch.zeros((), device=self._generator.engine.device) for name in objective.weights}
        for start in range(0, len(batch.class_indices), self._micro_batch):
            part = batch.part(start, start + self._micro_batch)
            share = objective.num_items(part) / total
            if share == 0:
                continue
            terms = {name: share * term for name, term in objective.terms(self._generator, part).items()}
            loss = torch.stack([weight * terms[name] for name, weight in objective.weights.items()]).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            for name, term in terms.items():
                sums[name] += term.detach()
        return {name: float(value) for name, value in sums.items()}

    def _store(self, checkpoint: Checkpoint, step: int) -> None:
        network, optimiser = self._generator.network.state_dict(), self._optimiser.state_dict()
        checkpoint.store({"step": step, "network": network, "optimiser": optimiser, "curves": self._curves})

    def _restore(self, checkpoint: Checkpoint) -> int:
        """Steps done by an interrupted run of the same training; 0 where there was none."""
        state = checkpoint.restore(self._generator.engine.device)
        if state is None:
            return 0
        self._generator.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._curves = state["curves"]
        steps: int = state["step"]
        return steps
