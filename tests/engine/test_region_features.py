"""Region features are CLIP's own image features, with a gradient in the pixels and in nothing else."""

import torch
from torch.nn import functional

from semples_cli.config import EngineSettings
from semples_cli.engine.build import build_engine
from semples_cli.engine.region_features import encode_regions


def drawn(count):
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_they_are_clip_s_own_image_features(tiny_engine):
    with torch.no_grad():
        expected = functional.normalize(tiny_engine.model.encode_image(drawn(3)), dim=-1)
        assert torch.equal(encode_regions(tiny_engine, drawn(3)), expected)


def test_gradients_reach_the_pixels_and_no_weight(tiny_engine):
    pixels = drawn(2).requires_grad_()
    encode_regions(tiny_engine, pixels)[:, 0].sum().backward()
    assert (pixels.grad.abs().amax((1, 2, 3)) > 0).all()
    assert all(parameter.grad is None for parameter in tiny_engine.model.parameters())


def test_the_gradient_is_that_of_finite_differences(tiny_engine):
    start, direction = drawn(1), drawn(2)[1:]
    pixels = start.clone().requires_grad_()
    encode_regions(tiny_engine, pixels)[0, 0].backward()
    slope = (pixels.grad * direction).sum()
    with torch.no_grad():
        there, back = (encode_regions(tiny_engine, start + step * direction)[0, 0] for step in (1e-2, -1e-2))
    torch.testing.assert_close((there - back) / 2e-2, slope, rtol=0.02, atol=1e-4)


def test_features_are_float32_of_length_1_in_every_precision(tiny_engine, tiny_dir):
    half = build_engine(EngineSettings(weights=str(tiny_dir), device="cpu", precision="bf16"))
    with torch.no_grad():
        exact, ours = encode_regions(tiny_engine, drawn(2)), encode_regions(half, drawn(2))
    for features in (exact, ours):
        assert features.dtype == torch.float32
        torch.testing.assert_close(features.norm(dim=1), torch.ones(2))
    assert not torch.equal(exact, ours)
    assert functional.cosine_similarity(exact, ours).min() > 0.99
