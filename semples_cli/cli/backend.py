"""What `--backend` asks for: everything in this process, or shards that Ray spreads over a cluster."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from semples_cli.cli.console import say
from semples_cli.cli.options import OUTPUT_PANEL, one_of
from semples_cli.errors import SettingsError
from semples_cli.types import Progress, RunSummary, Shard

if TYPE_CHECKING:
    from semples_cli.artifacts.run_folder import RunFolder
    from semples_cli.steps.cam_record import Note

LOCAL, RAY = BACKENDS = ("local", "ray")

BackendOption = Annotated[
    str,
    typer.Option(
        help="local, or ray: shards over the Ray cluster that RAY_ADDRESS names, or over this machine.",
        callback=one_of(BACKENDS),
        rich_help_panel=OUTPUT_PANEL,
    ),
]
NumShardsOption = Annotated[
    int | None,
    typer.Option(min=1, help="Shards for --backend ray; without it, four for each slot.", rich_help_panel=OUTPUT_PANEL),
]
CpusOption = Annotated[
    int, typer.Option("--ray-cpus", min=1, help="Cores of each shard on Ray.", rich_help_panel=OUTPUT_PANEL)
]


@dataclass(frozen=True)
class Cluster:
    """Where shards are to run.

    Attributes:
        num_shards: How many; None: by the size of the cluster.
        cpus: Cores of each.
    """

    num_shards: int | None
    cpus: int

    def run(
        self,
        work: "Callable[[Shard, Progress, Note], RunSummary]",
        run: "RunFolder | None",
        num_items: int,
        progress: Progress,
        *,
        gpus: bool = False,
    ) -> tuple[RunSummary, int]:
        """Do all shards of a run; see `ray_shards.run_shards`, which also says what is given back.

        Raises:
            SemplesError: Ray is not installed, or a shard could not be done at all.
        """
        from semples_cli.steps.ray_cluster import Slots
        from semples_cli.steps.ray_shards import run_shards

        return run_shards(work, run, num_items, Slots(self.num_shards, self.cpus, gpus), progress, say)


def read_backend(
    backend: str, num_shards: int | None, cpus: int, shard: str | None, workers: int | None = None
) -> Cluster | None:
    """The cluster that is asked for; None: this process does it.

    Args:
        backend: What --backend says.
        num_shards: What --num-shards says.
        cpus: What --ray-cpus says.
        shard: What --shard says.
        workers: What --workers says, where the command has it.

    Raises:
        SettingsError: Options that go with the other backend.
    """
    if backend == LOCAL:
        if num_shards is not None or cpus != 1:
            msg = "--num-shards and --ray-cpus are for --backend ray: add that, or leave them out"
            raise SettingsError(msg)
        return None
    if shard is not None:
        msg = f"--shard {shard} and --backend ray, which does all shards: leave one of them out"
        raise SettingsError(msg)
    if workers is not None:
        msg = f"--workers {workers} is for --backend local: say by --ray-cpus how many cores a shard takes"
        raise SettingsError(msg)
    return Cluster(num_shards, cpus)
