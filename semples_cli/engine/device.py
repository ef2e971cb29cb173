"""Which device, which precision, and what running out of memory looks like: decided here and nowhere else."""

from pathlib import Path

import torch

from semples_cli.errors import EngineError, SettingsError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CPU_INFO = Path("/proc/cpuinfo")
CPU_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def resolve_device(name: str) -> torch.device:
    """The device that a setting names.

    Args:
        name: 'auto' (CUDA, else MPS, else CPU), 'cpu', 'cuda', 'cuda:1', 'mps'.

    Raises:
        EngineError: This machine has no such device.
    """
    if name == "auto":
        return torch.device(_best_device())
    try:
        device = torch.device(name)
    except RuntimeError:
        msg = f"device {name!r} is not a device name: give auto, cpu, mps, cuda or cuda:N"
        raise EngineError(msg) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        msg = f"device {name!r}: torch sees {torch.cuda.device_count()} CUDA devices here; use --device auto or cpu"
        raise EngineError(msg)
    if device.type == "mps" and not torch.backends.mps.is_available():
        msg = f"device {name!r}: torch sees no MPS device here; use --device auto or cpu"
        raise EngineError(msg)
    return device


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """The number format of the forward passes.

    Args:
        name: 'auto' (bf16 only where the processor has it, else fp32), 'fp32', 'bf16', 'fp16'.
        device: Where the model runs.

    Raises:
        SettingsError: fp16 on the CPU.
    """
    if name == "auto":
        return torch.bfloat16 if has_bf16(device) else torch.float32
    if name == "fp16" and device.type == "cpu":
        msg = "precision fp16 on the CPU: processors compute it slower than fp32; use --precision auto, fp32 or bf16"
        raise SettingsError(msg)
    return DTYPES[name]


def has_bf16(device: torch.device) -> bool:
    """Whether the processor itself computes bf16; emulation, which is slow, does not count."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and _cpu_has_bf16()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device's memory is full; only CUDA has a class of its own for it."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _cpu_has_bf16() -> bool:
    try:
        words = CPU_INFO.read_text(encoding="utf-8", errors="replace").split()
    except OSError:  # not Linux: fp32 is always right
        return False
    return not CPU_BF16_FLAGS.isdisjoint(words)
