"""Files of prompts and of mask generators as options: they name their CLIP and classes, and other options give way."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semples_cli.cli import options
from semples_cli.cli.console import say
from semples_cli.cli.loading import load_engine, take_stock
from semples_cli.config import EngineSettings
from semples_cli.errors import DataError, EngineError, SettingsError
from semples_cli.types import ClassSet, PromptSet

if TYPE_CHECKING:
    from semples_cli.artifacts.generator_file import GeneratorWeights
    from semples_cli.data.dataset import Dataset
    from semples_cli.engine.clip import ClipEngine

ENGINE_DEFAULTS = EngineSettings()
# Options that seeds with learned prompts, and mask generators, do not read.
NOT_WITH_PROMPTS = ("background_words",)
NOT_WITH_GENERATOR = (*NOT_WITH_PROMPTS, "template", "affinity_layers", "affinity_steps", "box_threshold")

PromptsOption = Annotated[
    Path | None,
    typer.Option(
        help="Prompts of `semples learn-prompts` in place of background words; they name CLIP and classes.",
        rich_help_panel=options.CAM_PANEL,
    ),
]
GeneratorWeightsOption = Annotated[
    Path | None,
    typer.Option(
        help="A mask generator that `semples refine` trained makes the CAMs; it names CLIP and classes.",
        rich_help_panel=options.CAM_PANEL,
    ),
]

ModelOption = Annotated[
    str | None, typer.Option(help="CLIP; without it, that of the prompts.", rich_help_panel=options.ENGINE_PANEL)
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        help="Its weights, where they lie elsewhere than when the prompts were learned.",
        rich_help_panel=options.ENGINE_PANEL,
    ),
]


@dataclass(frozen=True)
class LearnedFile:
    """A file that was learned on a CLIP for a list of classes, and names both: later commands take them from it.

    Attributes:
        path: Where it lies.
        content: Prompts, or the weights of a mask generator.
    """

    path: Path
    content: "PromptSet | GeneratorWeights"

    @property
    def class_set(self) -> ClassSet:
        """Its classes, in its order."""
        return ClassSet(self.content.class_names, self.content.prompt_names)

    def engine_settings(
        self,
        device: str,
        precision: str,
        *,
        model: str | None = None,
        weights: str | None = None,
        quick_gelu: bool | None = None,
    ) -> EngineSettings:
        """The CLIP that it was learned on.

        Args:
            device: See `EngineSettings`.
            precision: See `EngineSettings`.
            model: What the command line says; None: nothing.
            weights: What the command line says, where they lie elsewhere now; None: nothing.
            quick_gelu: What the command line says; None: nothing.

        Raises:
            SettingsError: The command line names another model or activation.
        """
        known = self.content
        if model is not None and model != known.clip_name:
            msg = f"--model {model}: {self.path} was learned with {known.clip_name}; leave --model out"
            raise SettingsError(msg)
        if quick_gelu is not None and quick_gelu != known.quick_gelu:
            flag = "--quick-gelu" if quick_gelu else "--no-quick-gelu"
            msg = f"{flag}: {self.path} was learned with the other activation; leave {flag} out"
            raise SettingsError(msg)
        source = known.settings.get("engine")
        found = source.get("weights") if isinstance(source, dict) else None
        chosen = weights or str(found or ENGINE_DEFAULTS.weights)
        return EngineSettings(known.clip_name, chosen, known.quick_gelu, device, precision)

    def load_engine(self, wanted: EngineSettings, note: Callable[[str], None] = say) -> "ClipEngine":
        """Load that CLIP.

        Args:
            wanted: From `engine_settings`.
            note: Called with what there is to say.

        Raises:
            EngineError: It cannot be loaded; says whose CLIP it is that is looked for.
            SettingsError: Other weights lie there.
        """
        try:
            engine = load_engine(wanted, note)
        except EngineError as error:
            msg = (
                f"{self.path}: the CLIP that it was learned with, {wanted.model} from {wanted.weights}, cannot be "
                f"loaded ({error}); say by --weights where its weights lie"
            )
            raise EngineError(msg) from None
        if (loaded := str(engine.record.get("weights_sha256"))) != self.content.weights_hash:
            msg = (
                f"--weights {wanted.weights}: {self.path} was learned with other weights of {wanted.model} "
                f"({self.content.weights_hash[:12]}…, these are {loaded[:12]}…); give --weights as when it was learned"
            )
            raise SettingsError(msg)
        self._check_prompts(engine)
        return engine

    def _check_prompts(self, engine: "ClipEngine") -> None:
        """Refuse prompts that only say that they are of this CLIP."""
        if not isinstance(self.content, PromptSet):
            return
        from semples_cli.engine.prompts import check_prompt_length, check_prompts

        try:
            check_prompts(engine, self.content)
            check_prompt_length(engine, self.content.vectors.shape[1])
        except SettingsError as error:
            msg = f"{self.path}: {error}"
            raise SettingsError(msg) from None

    def take_dataset(self, dataset: "Dataset", classes: str | None = None) -> "Dataset":
        """Say what was recognised, and give it the classes of this file: class numbers are the file's.

        Args:
            dataset: As it was read.
            classes: What --classes says; None: nothing.

        Raises:
            SettingsError: --classes is another list than that of the file.
            DataError: No image is left, or a label names a class that the file does not have.
        """
        take_stock(
            replace(dataset, notes=dataset.notes[:-1])
        )  # the last is the labels' class order, which ours replaces
        ours, theirs = self.class_set, dataset.class_set
        if classes is not None and theirs != ours:
            msg = f"--classes {classes}: not the class list that {self.path} was learned for; leave --classes out"
            raise SettingsError(msg)
        samples = []
        for sample in dataset.samples:
            try:
                indices = tuple(ours.index_of(theirs.name_of(k)) for k in sample.class_indices)
            except DataError as error:
                msg = f"the label of {sample.id}: {error} (classes are those of {self.path})"
                raise DataError(msg) from None
            samples.append(replace(sample, class_indices=indices))
        say(f"{len(ours)} classes, in the order of {self.path}, and its CLIP")
        return replace(dataset, samples=tuple(samples), class_set=ours)


def read_learned(context: typer.Context, prompts: Path | None, generator_weights: Path | None) -> LearnedFile | None:
    """The file of --prompts or --generator-weights; None where neither is given.

    Raises:
        SettingsError: Both are given, or an option that is not read with what is given.
        ArtifactError: The file is missing, damaged, or the other one.
    """
    from semples_cli.artifacts.generator_file import read_generator
    from semples_cli.artifacts.prompts_file import read_prompts

    if prompts is not None and generator_weights is not None:
        msg = "--prompts are for seeds, --generator-weights make CAMs without them: leave one of the two out"
        raise SettingsError(msg)
    if prompts is not None:
        _refuse(context, "--prompts", NOT_WITH_PROMPTS)
        return LearnedFile(prompts, read_prompts(prompts))
    if generator_weights is not None:
        _refuse(context, "--generator-weights", NOT_WITH_GENERATOR)
        return LearnedFile(generator_weights, read_generator(generator_weights))
    return None


def _refuse(context: typer.Context, option: str, unread: tuple[str, ...]) -> None:
    if others := options.given(context, *unread):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in others)
        msg = f"{option} does without {flags}: leave {flags} out"
        raise SettingsError(msg)
