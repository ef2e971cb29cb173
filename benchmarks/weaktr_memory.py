"""Memory and time of WeakTr's attention fusion against building every attention map.

    python benchmarks/weaktr_memory.py --size 512

DeiT-S with random weights and 20 classes of which two are wanted, one image, no gradients. The naive way keeps all 72
maps in float32, weighs and averages them, and multiplies; both give the same maps, which is checked. Each way runs in a
process of its own; memory is the peak of the process less that after the network was built.
"""

import argparse
import json
import resource
import subprocess
import sys
from statistics import median
from time import perf_counter

import torch

from semples_cli.config import GeneratorSettings
from semples_cli.engine.generators.weaktr import WeakTr, build_weaktr

COLUMNS = torch.tensor([[3, 7]])


def ours(network: WeakTr, pixels: torch.Tensor) -> torch.Tensor:
    return network(pixels, COLUMNS).fine


def naive(network: WeakTr, pixels: torch.Tensor) -> torch.Tensor:
    tokens, queries, keys, head_features = network._run(pixels, None)
    h, w = pixels.shape[-2] // network.patch_size, pixels.shape[-1] // network.patch_size
    maps = (queries @ keys.transpose(-1, -2)).softmax(-1)  # (L, B, H, N, N)
    weights = network.fusion(head_features).permute(1, 0, 2)[..., None, None]
    fused = (maps * weights).mean((0, 2))
    patches = tokens[:, network.num_classes :].transpose(1, 2).reshape(len(pixels), -1, h, w)
    coarse = network.head(patches)[:, COLUMNS[0]].relu()
    cross = fused[:, COLUMNS[0], network.num_classes :].reshape(coarse.shape)
    evidence = (cross * coarse).flatten(2)
    between = fused[:, network.num_classes :, network.num_classes :]
    return torch.einsum("bpq,bkq->bkp", between, evidence).reshape(coarse.shape)


WAYS = {"ours": ours, "naive": naive}


def peak() -> float:
    """The most memory that this process has had so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@torch.no_grad()
def measure(way: str, size: int, repeats: int) -> None:
    """Print memory, seconds and a fingerprint of the maps of one way."""
    network = build_weaktr(20, GeneratorSettings(kind="weaktr", residual=0.0))
    pixels = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    network(pixels[..., : 2 * network.patch_size, : 2 * network.patch_size], COLUMNS)  # what torch loads once
    before, times = peak(), []
    for _ in range(repeats):
        started = perf_counter()
        maps = WAYS[way](network, pixels)
        times.append(perf_counter() - started)
    print(json.dumps({"mib": peak() - before, "seconds": median(times), "maps": maps.flatten()[::97].tolist()}))


def main() -> None:
    """Measure both, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--way", choices=tuple(WAYS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        measure(args.way, args.size, args.repeats)
        return
    found = {}
    for way in WAYS:
        command = [sys.executable, __file__, "--way", way, "--size", str(args.size), "--repeats", str(args.repeats)]
        found[way] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(f"{way}: {found[way]['mib']:.0f} MiB, {found[way]['seconds']:.2f} s")
    torch.testing.assert_close(*(torch.tensor(found[way]["maps"]) for way in WAYS), rtol=1e-3, atol=1e-9)


if __name__ == "__main__":
    main()
