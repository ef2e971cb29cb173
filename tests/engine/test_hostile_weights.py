"""Weights and training states that mean harm: one line each, and nothing runs, as the audit events say."""

import argparse
import io
import struct
import warnings
import zipfile

import numpy as np
import pytest
import torch
from audited import run_audited
from hostile_pickles import CASES, COMMAND, call, named, storage, text, whole

from semples_cli.config import EngineSettings
from semples_cli.engine.build import build_engine
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.convert import convert_archive
from semples_cli.engine.weights import read_state_dict
from semples_cli.errors import ArtifactError, EngineError, SemplesError, SettingsError

SYSTEM = call(named("posix", "system"), COMMAND)
SCALAR, DTYPE = named("numpy._core.multiarray", "scalar"), named("numpy", "dtype")
F8 = call(DTYPE, text("f8"), b"\x89", b"\x88")
POINTERS = b"(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?t"


def as_zip(pickled, **others):
    """A checkpoint of torch's present form; `others` are further files in it."""
    buffer = io.BytesIO()
    files = {"data.pkl": pickled, "byteorder": b"little", "version": b"3\n", **others}
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"archive/{name}", content)
    return buffer.getvalue()


def tensor_of(kind, count, size, strides, *, dtype="torch FloatStorage", offset=0):
    """{'a': tensor} as torch pickles it, of a storage that lies in the zip."""
    module, name = dtype.split()
    identity = b"(" + text("storage") + named(module, name) + text("0") + text("cpu") + struct_int(count) + b"tQ"
    hooks = named("collections", "OrderedDict") + b")R"
    made = call(named("torch._utils", kind), identity, struct_int(offset), size, strides, b"\x89", hooks)
    return whole(b"}" + text("a") + made + b"s")


def struct_int(value):
    return b"\x8a\x08" + struct.pack("<q", value)


ONE = b"K\x01\x85"
FLOATS = {"data/0": struct.pack("<4f", 1, 2, 3, 4)}
CRAFTED = {
    "a call in a zip": as_zip(whole(SYSTEM)),
    "a call in the older form": storage(identity=whole(SYSTEM)),
    "a call before the older form": storage(magic=whole(SYSTEM)),
    "a call behind the older form": storage(keys=whole(SYSTEM)),
    "a call beside good weights": as_zip(whole(b"}" + text("a") + SYSTEM + b"s"), **FLOATS),
    "a dotted name": as_zip(whole(call(named("torch", "serialization.os.system"), COMMAND))),
    "a name of torch that reads files": as_zip(whole(call(named("torch.serialization", "load"), COMMAND))),
    "a name of torch that compiles": as_zip(whole(call(named("torch.jit", "load"), COMMAND))),
    "a name of torch's hub": as_zip(whole(call(named("torch.hub", "load"), COMMAND, COMMAND))),
    "getattr": as_zip(whole(call(named("builtins", "getattr"), text("a"), text("b")))),
    "an import": as_zip(whole(call(named("builtins", "__import__"), text("antigravity")))),
    "a whole module": as_zip(whole(named("torch.nn.modules.linear", "Linear") + b")\x81}b")),
    "a registered object": as_zip(whole(b"\x82\x01")),
    "a TorchScript archive without code": as_zip(whole(b"}"), **{"constants.pkl": whole(b")")}),
    "a TorchScript archive with code": as_zip(whole(SYSTEM), **{"constants.pkl": b"", "code/__torch__.py": b"ran"}),
    "a scalar that is an object": as_zip(whole(b"}" + text("a") + call(SCALAR, F8 + POINTERS + b"b", b"}") + b"s")),
    "a scalar of pointers": as_zip(whole(b"}" + text("a") + call(SCALAR, call(DTYPE, text("O")), COMMAND) + b"s")),
    "a type whose state makes pointers": as_zip(whole(b"}" + text("a") + F8 + POINTERS + b"bs")),
    "a namespace with a call for its state": as_zip(
        whole(named("argparse", "Namespace") + b")R}" + text("f") + SYSTEM + b"sb")
    ),
    "items set on a tensor": as_zip(
        tensor_of("_rebuild_tensor_v2", 4, b"K\x04\x85", ONE)[:-1] + b"K\x00K\x01s.", **FLOATS
    ),
    "items set on a storage": as_zip(
        whole(b"(" + text("storage") + named("torch", "FloatStorage") + text("0") + text("cpu") + b"K\x04tQK\x00Ns"),
        **FLOATS,
    ),
    "a tensor beyond its storage": as_zip(tensor_of("_rebuild_tensor_v2", 4, b"K\x63\x85", ONE), **FLOATS),
    "a tensor behind its storage": as_zip(tensor_of("_rebuild_tensor_v2", 4, b"K\x04\x85", ONE, offset=9), **FLOATS),
    "a tensor before its storage": as_zip(tensor_of("_rebuild_tensor_v2", 4, b"K\x04\x85", ONE, offset=-1), **FLOATS),
    "a tensor of negative strides": as_zip(
        tensor_of("_rebuild_tensor_v2", 4, b"K\x04\x85", b"J\xff\xff\xff\xff\x85"), **FLOATS
    ),
    "a storage that says more than it has": as_zip(tensor_of("_rebuild_tensor_v2", 400, b"K\x04\x85", ONE), **FLOATS),
    "a storage of 2**60 numbers": as_zip(tensor_of("_rebuild_tensor_v2", 2**60, b"K\x04\x85", ONE), **FLOATS),
    "a storage that is not there": as_zip(tensor_of("_rebuild_tensor_v2", 4, b"K\x04\x85", ONE)),
    "a storage elsewhere": as_zip(tensor_of("_rebuild_tensor_v2", 4, b"K\x04\x85", ONE).replace(
        text("0") + text("cpu"), text("../../etc/passwd") + text("cpu")), **FLOATS),
    "a list in itself": as_zip(whole(b"]q\x00h\x00a")),
    "no end": as_zip(whole(b"}")[:-1]),
    "nothing": b"",
    "an empty zip": b"PK\x05\x06" + b"\0" * 18,
    "a tar": b"data.pkl".ljust(512, b"\0") + b"\0" * 1024,
}  # fmt: skip
# Plain pickles, as --weights of someone who called pickle.dump; only what names something.
PLAIN = {f"as it is: {name}": case.data for name, case in CASES.items() if "GLOBAL" in name or "INST" in name}
HOSTILE = {**CRAFTED, **PLAIN}


@pytest.mark.parametrize("name", HOSTILE)
def test_weights_are_refused_in_one_line(tmp_path, name):
    path = tmp_path / ("w.pt", "w.pth", "w.bin")[len(name) % 3]
    path.write_bytes(HOSTILE[name])
    with pytest.raises(EngineError) as caught:
        read_state_dict(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    assert "\x1b" not in said
    assert "weights_only" not in said  # torch's advice is to read the file unsafely
    assert "False" not in said


def test_what_would_be_called_is_named(tmp_path):
    path = tmp_path / "w.pt"
    path.write_bytes(CRAFTED["a call in a zip"])
    with pytest.raises(EngineError, match=r"it names posix\.system, which no weights need, and nothing of it was run"):
        read_state_dict(path)


@pytest.mark.parametrize("name", HOSTILE)
def test_training_states_are_refused_in_one_line(tmp_path, name):
    path = tmp_path / "prompts.safetensors.state"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(ArtifactError, match=r"state cannot be read \(.+\); delete it to train anew$") as caught:
        Checkpoint(path, "fingerprint").restore(torch.device("cpu"))
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("name", ["a call in a zip", "a scalar of pointers", "nothing"])
def test_as_weights_of_a_model_and_in_a_model_directory(tmp_path, name, clip_dir):
    file = tmp_path / "w.pt"
    file.write_bytes(CRAFTED[name])
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "open_clip_config.json").write_bytes((clip_dir / "open_clip_config.json").read_bytes())
    (folder / "open_clip_pytorch_model.bin").write_bytes(CRAFTED[name])
    for weights in (file, folder):
        with pytest.raises(SemplesError, match=r"w\.pt|open_clip_pytorch_model\.bin"):
            build_engine(EngineSettings(weights=str(weights), device="cpu"))


AUDITED = """
import warnings
from pathlib import Path
warnings.simplefilter("ignore")
import torch
from test_hostile_weights import HOSTILE
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.weights import read_state_dict
from semples_cli.errors import SemplesError

def read_all(files):
    refused = 0
    for path in files:
        try:
            read_state_dict(path)
        except SemplesError:
            refused += 1
        try:
            Checkpoint(path, "x").restore(torch.device("cpu"))
        except SemplesError:
            refused += 1
    return refused

folder = Path(sys.argv[1])
good = folder / "good.pt"
torch.save({"a": torch.ones(2), "fingerprint": "y"}, good)
(folder / "bad.pt").write_bytes(b"PK")
files = []
for number, data in enumerate(HOSTILE.values()):
    files.append(folder / f"{number}.pt")
    files[-1].write_bytes(data)
read_all([good, folder / "bad.pt", files[0]])  # what is imported at first use is imported now
with watched():
    refused = read_all(files)
finish(refused=refused)
"""


def test_nothing_runs_is_imported_or_written(tmp_path):
    for name in ("files", "here"):
        (tmp_path / name).mkdir()
    told = run_audited(AUDITED, tmp_path / "here", tmp_path / "files")
    assert told["seen"] == []
    assert told["refused"] == 2 * len(HOSTILE)
    assert list((tmp_path / "here").iterdir()) == []


CONTROL = """
import warnings
from pathlib import Path
warnings.simplefilter("ignore")
import torch
from test_hostile_weights import CRAFTED
Path("w.pt").write_bytes(CRAFTED["a call in a zip"])
with watched():
    torch.load("w.pt", weights_only=False)
finish()
"""


def test_torch_s_unsafe_reader_runs_them_and_is_seen(tmp_path):
    told = run_audited(CONTROL, tmp_path)
    assert any(each.startswith("os.system") for each in told["seen"])
    assert (tmp_path / "ran").exists()


def test_arguments_and_figures_beside_the_weights_are_passed_over(tmp_path):
    """Checkpoints of training code hold its arguments and the best accuracy as a numpy number."""
    path = tmp_path / "w.pth"
    content = {
        "model": {"a": torch.ones(2)},
        "args": argparse.Namespace(lr=0.1, name="x"),
        "best": np.float64(0.5),
        "epoch": np.float32(3),
    }
    torch.save(content, path)
    assert read_state_dict(path)["a"].tolist() == [1, 1]


class Writing(torch.nn.Module):
    """TorchScript whose `__setstate__` writes a file: opening the archive runs it."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        torch.save(torch.ones(1), state[0])
        self.path = state[0]
        self.training = state[1]
        self.weight = torch.ones(1)


def test_a_torchscript_archive_runs_its_code_when_opened_which_takes_trust(tmp_path):
    """Why `models convert` asks for --trust, and why every other command refuses such a file unopened."""
    path, trace = tmp_path / "archive.pt", tmp_path / "ran"
    with warnings.catch_warnings(action="ignore"):
        torch.jit.script(Writing(str(trace))).save(path)
    with pytest.raises(EngineError, match="a TorchScript archive runs code when it is opened; if you trust it"):
        read_state_dict(path)
    with pytest.raises(SettingsError, match="runs the code inside it; add --trust if you trust its source"):
        convert_archive(path, "ViT-B-16", tmp_path / "out", trust=False)
    with pytest.raises(ArtifactError):
        Checkpoint(path, "x").restore(torch.device("cpu"))
    assert not trace.exists()
    with pytest.raises(SemplesError):  # it is no CLIP
        convert_archive(path, "ViT-B-16", tmp_path / "out", trust=True)
    assert trace.exists()


@pytest.mark.parametrize("name", ["a TorchScript archive with code", "a TorchScript archive without code"])
def test_archives_that_are_none_are_one_line_even_with_trust(tmp_path, name):
    path = tmp_path / "archive.pt"
    path.write_bytes(CRAFTED[name])
    with pytest.raises(EngineError) as caught:
        convert_archive(path, "ViT-B-16", tmp_path / "out", trust=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
