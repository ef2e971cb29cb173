"""Write CAMs in the form that other projects read, one file an image."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.manifest_entries import ManifestEntry, item_key
from semples_cli.artifacts.own_files import refuse_links
from semples_cli.artifacts.run_folder import HIDDEN, RunFolder, check_same_run, read_run_record, write_run_record
from semples_cli.data.cams.irn import NAME as IRN
from semples_cli.data.cams.irn import irn_file
from semples_cli.errors import SemplesError, SettingsError, UnwritableError
from semples_cli.functional.masks import resize_scores
from semples_cli.steps.cam_reader import ANY_FORM, CamForm
from semples_cli.steps.cam_source import CamSource, Note, open_cams
from semples_cli.steps.interruption import Interruption
from semples_cli.steps.ledger import Ledger
from semples_cli.steps.plan_batches import describe
from semples_cli.steps.progress import tqdm_progress
from semples_cli.types import Cam, Progress, RunSummary

# Raise it whenever the same CAM would give another file: older ones are then written again.
STEP_VERSION = 1


def _as_irn(cam: Cam) -> bytes:
    return irn_file(cam.class_indices, cam.scores, resize_scores(cam.scores, cam.image_size))


# Suffix and maker of the bytes, by the name that --to says.
EXPORTS: Mapping[str, tuple[str, Callable[[Cam], bytes]]] = {IRN: (".npy", _as_irn)}


@dataclass(frozen=True)
class ExportFolder(RunFolder):
    """A folder of exported files: what an item that fails takes away with it is its file, and no PNG of the user's.

    Attributes:
        root: The folder that the user named with --out.
        suffix: Of the files.
    """

    suffix: str

    def mask_path(self, sample_id: str) -> Path:
        """Where the file of an image lies."""
        return self.root / f"{sample_id}{self.suffix}"


def export_cams(
    source: Path,
    out: Path,
    to: str = IRN,
    *,
    cams_form: CamForm = ANY_FORM,
    overwrite: bool = False,
    progress: Progress | None = None,
    note: Note | None = None,
) -> RunSummary:
    """Write every CAM of a folder as a file of another project; one that is there from the same CAM is kept.

    Args:
        source: Run folder of `semples cams`, `refine` or `run`, or CAMs of another project at the size of the images.
        out: Folder for the files, `<id>.npy`; what was exported stands in its `.semples`.
        to: A name of `EXPORTS`. 'irn': a dict of `keys` (K) int64, foreground classes from 0, `cam` (K, h, w) float32
            on the grid on which the CAM is kept, and `high_res` (K, H, W) float32, bilinear from that.
        cams_form: What is known about CAMs of another project: format, numbering, maps.
        overwrite: Write everything again.
        progress: Called as (done, total); None draws a tqdm bar.
        note: Called with a sentence about CAMs of another project.

    Returns:
        How it ended. A CAM that cannot be read is among `failed`, and the rest is written.

    Raises:
        SemplesError: Nothing could be written at all: no CAMs, options that do not fit, another run in `out`.
    """
    if to not in EXPORTS:
        msg = f"--to {to}: choose one of {', '.join(EXPORTS)}"
        raise SettingsError(msg)
    cams = open_cams(source, None, *cams_form, note=note)
    _check_out(out, source)
    run, record = ExportFolder(out, EXPORTS[to][0]), _record(source, to)
    refuse_links(run, cams.paths)
    with Manifest(run, overwrite=overwrite) as manifest:
        check_same_run(None if overwrite else read_run_record(out), record)
        write_run_record(run, record)
        ledger = Ledger(run, manifest, len(cams.paths), progress or tqdm_progress("export"))
        facts = {"step": f"export {STEP_VERSION}", "to": to, "form": cams.reader.form}
        with Interruption(note) as interruption:
            for sample_id in interruption.until(cams.paths):
                _export(ledger, cams, sample_id, to, facts)
    return ledger.end(interruption)


def _export(ledger: Ledger, cams: CamSource, sample_id: str, to: str, facts: Mapping[str, object]) -> None:
    started, path = perf_counter(), ledger.run.mask_path(sample_id)
    try:
        files = ledger.manifest.identify(sample_id, (cams.paths[sample_id],))
        key = item_key(files, facts)
        if ledger.manifest.is_done(sample_id, key):
            ledger.keep()
            return
        content = EXPORTS[to][1](cams.read(sample_id))
        ledger.manifest.forget(sample_id, key)
        with open_atomic(path) as handle:
            handle.write(content)
    except UnwritableError:
        raise
    except (SemplesError, OSError, MemoryError) as error:
        ledger.fail(sample_id, describe(error))
        return
    output = path.relative_to(ledger.run.root).as_posix()
    ledger.finish(ManifestEntry(sample_id, "ok", "", key, perf_counter() - started, output, None, files))


def _record(source: Path, to: str) -> dict[str, Any]:
    inside = source.absolute()
    origin = read_run_record(inside.parent.parent if inside.parent.name == HIDDEN else source) or {}
    kept = {name: origin.get(name) for name in ("settings", "inputs", "classes", "engine")}
    return {"command": "export", "to": to, "source": str(inside), **kept}


def _check_out(out: Path, source: Path) -> None:
    target, origin = (Path(os.path.realpath(each)) for each in (out, source))
    if target.is_relative_to(origin) or origin.is_relative_to(target):
        msg = f"--out {out} and {source} lie inside each other: choose a folder apart from the one that is read"
        raise SettingsError(msg)
