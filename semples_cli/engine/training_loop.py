"""The training loop of a mask generator: AdamW, micro-batches, a checkpoint to go on from.

What wants a gradient is trained, the rate falls to 0 on a cosine, and the weights of the last step are kept: none are
chosen by ground truth. A step follows from (seed, step), so that an interrupted training resumes to the same weights.

Several processes share out the images of each step and add up their gradients, each term of the loss as a mean over the
items of the whole batch: the same step as that of one process, but for the order in which floats are added.
"""

import math
from dataclasses import replace

import numpy as np
import torch

from semples_cli.config import GeneratorSettings
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.data_parallel import ALONE, Ranks
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
        self,
        generator: MaskGenerator,
        objective: Objective,
        settings: GeneratorSettings,
        learning_rate: float,
        ranks: Ranks = ALONE,
    ) -> None:
        """Set up the optimiser; `learning_rate` is for a batch of 512, `ranks` are the processes that train."""
        self._generator = generator
        self._objective = objective
        self._settings = settings
        self._ranks = ranks
        self._micro_batch = settings.micro_batch
        self._rate = learning_rate * settings.batch_size / RATE_BATCH
        self._parameters = parameters = [p for p in generator.network.parameters() if p.requires_grad]
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
            checkpoint: Taken up where it is of this training, and written now and then, by the main process.
            progress: Called with (steps done, steps); a KeyboardInterrupt of it finds the state written.

        Returns:
            The curves, of earlier runs too; of whole batches, whatever part of them is this process's.

        Raises:
            DataError: There is no image to learn from.
            EngineError: Not even one image fits into the device's memory, or another process is gone.
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
            try:
                progress(step + 1, batches.num_steps)
            except KeyboardInterrupt:
                self._store(checkpoint, step + 1)
                raise
        if not self._curves["loss"]:
            msg = "none of the images to train the mask generator on can be read; check the image files"
            raise DataError(msg)
        return self._curves

    def _step(self, step: int, batch: ViewBatch) -> None:
        """One step of the optimiser; none where the batch has nothing to learn from."""
        counts = self._ranks.gather((len(batch.class_indices), self._objective.num_items(batch)))
        total = sum(items for _, items in counts)
        if total == 0:
            return
        before = sum(images for images, _ in counts[: self._ranks.rank])
        own = None
        while own is None:
            own = self._try_accumulate(replace(batch, drop_path=self._drop_path(step, before)), total)
        self._ranks.sum_gradients(self._parameters)
        self._optimiser.step()
        everyone = self._ranks.gather(own)
        terms = {name: sum(each[name] for each in everyone) for name in own}
        terms["loss"] = sum(weight * terms[name] for name, weight in self._objective.weights.items())
        for name, value in terms.items():
            self._curves[name].append(value)

    def _drop_path(self, step: int, before: int) -> DropPath | None:
        """What is passed over in a step: the same at every attempt, after every resume, and in any process."""
        settings = self._settings
        if settings.drop_path == 0:
            return None
        (seed,) = np.random.SeedSequence((settings.seed, step, 0, 1)).generate_state(1, np.uint64)
        return DropPath(settings.drop_path, torch.Generator().manual_seed(int(seed)), before)

    def _try_accumulate(self, batch: ViewBatch, total: int) -> dict[str, float] | None:
        """Gradients and terms of a batch; None where memory ran out and the micro-batch has been halved."""
        self._optimiser.zero_grad()
        try:
            return self._accumulate(batch, total)
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

    def _accumulate(self, batch: ViewBatch, total: int) -> dict[str, float]:
        """Backward by micro-batches, each term weighted so that it adds up to the mean over the `total` of items."""
        objective = self._objective
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
        if not self._ranks.is_main:
            return
        network, optimiser = self._generator.network.state_dict(), self._optimiser.state_dict()
        checkpoint.store({"step": step, "network": network, "optimiser": optimiser, "curves": self._curves})

    def _restore(self, checkpoint: Checkpoint) -> int:
        """Steps done by an interrupted run of the same training, of any number of processes; 0 where there was none."""
        state = self._ranks.from_main(lambda: checkpoint.restore(torch.device("cpu")))
        if state is None:
            self._start_alike()
            return 0
        self._generator.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._curves = state["curves"]
        steps: int = state["step"]
        return steps

    def _start_alike(self) -> None:
        """All begin with the main process's weights: those that two machines draw or compute may differ in a bit."""
        network = self._generator.network
        if self._ranks.size > 1:
            state = self._ranks.from_main(lambda: {name: each.cpu() for name, each in network.state_dict().items()})
            network.load_state_dict(state)
