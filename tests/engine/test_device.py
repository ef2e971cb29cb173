import pytest
import torch

from semples_cli.engine import device as device_module
from semples_cli.engine.device import has_bf16, is_out_of_memory, resolve_device, resolve_precision
from semples_cli.errors import EngineError, SettingsError

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_takes_cuda_then_mps_then_cpu(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert resolve_device("auto").type == expected


def test_named_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cpu") == CPU
    assert resolve_device("cuda:1") == torch.device("cuda", 1)


@pytest.mark.parametrize("name", ["cuda", "cuda:3", "mps", "cuda:x"])
def test_a_missing_device_is_refused_with_the_cure(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(EngineError, match=f"device '{name}'.*(--device auto or cpu|give auto, cpu)"):
        resolve_device(name)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx2 avx512f", torch.float32),
        ("fpu avx512_bf16", torch.bfloat16),
        ("amx_tile amx_bf16", torch.bfloat16),
        ("avx512_bf16_like", torch.float32),
    ],
)
def test_auto_precision_follows_the_cpu_flags(monkeypatch, tmp_path, flags, expected):
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text(f"processor : 0\nflags : {flags}\n")
    monkeypatch.setattr(device_module, "CPU_INFO", cpu_info)
    assert resolve_precision("auto", CPU) == expected


def test_auto_precision_is_fp32_where_the_cpu_does_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(device_module, "CPU_INFO", tmp_path / "missing")
    assert resolve_precision("auto", CPU) == torch.float32
    assert not has_bf16(torch.device("mps"))


@pytest.mark.parametrize("real", [True, False])
def test_auto_precision_on_cuda_does_not_count_emulation(monkeypatch, real):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or real)
    assert resolve_precision("auto", torch.device("cuda")) == (torch.bfloat16 if real else torch.float32)


def test_explicit_precision():
    assert resolve_precision("fp32", CPU) == torch.float32
    assert resolve_precision("bf16", CPU) == torch.bfloat16
    assert resolve_precision("fp16", torch.device("cuda")) == torch.float16


def test_fp16_on_the_cpu_is_refused_with_the_cure():
    with pytest.raises(SettingsError, match=r"fp16 on the CPU.*slower.*use --precision auto"):
        resolve_precision("fp16", CPU)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA"), True),
        (MemoryError(), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_is_told_from_other_errors(error, expected):
    assert is_out_of_memory(error) is expected
