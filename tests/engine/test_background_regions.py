"""Background regions that are embedded once: against a plain account, in any batch, in memory or in a file."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from semples_cli.config import PromptSettings
from semples_cli.engine import background_regions as module
from semples_cli.engine.background_regions import MappedImages, embed_background_regions
from semples_cli.engine.views import random_crop
from semples_cli.errors import EngineError

SETTINGS = PromptSettings(views=3, crop_scale=0.3, seed=7)
LABELS = ((1,), (3, 2), (), (1, 2, 3))


def silent(done, total):
    pass


def picture(i, size=(40, 56)):
    return np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8)


def maps_of(i, count, grid=(4, 6)):
    return np.random.default_rng(100 + i).uniform(0, 1, (count, *grid)).astype(np.float32)


def mapped_images(labels=LABELS, broken=(), size=(40, 56)):
    def read(i):
        return None if i in broken else (picture(i, size), maps_of(i, len(labels[i])))

    return MappedImages(labels, read)


def account(engine, image, cam, crop, epsilon):
    """One region by PIL and numpy: cut the image, interpolate the map at the very places of the pixels, cut, encode."""
    side = engine.image_size
    part = Image.fromarray(image).crop((crop.left, crop.top, crop.left + crop.width, crop.top + crop.height))
    pixels = np.asarray(part.resize((side, side), Image.Resampling.BICUBIC), np.float64) / 255
    pixels = (pixels - engine.preprocess.mean) / engine.preprocess.std
    height, width = image.shape[:2]
    across = np.array([np.interp(np.linspace(0, cam.shape[1] - 1, width), np.arange(cam.shape[1]), row) for row in cam])
    whole = np.array([np.interp(np.linspace(0, len(cam) - 1, height), np.arange(len(cam)), c) for c in across.T]).T
    rows, columns = (
        np.linspace(first, first + count - 1, side)
        for first, count in ((crop.top, crop.height), (crop.left, crop.width))
    )
    # Piecewise bilinear twice is bilinear once only where no grid line lies between two pixels: hence the tolerance.
    view = np.array([np.interp(columns, np.arange(width), row) for row in whole])
    view = np.array([np.interp(rows, np.arange(height), column) for column in view.T]).T
    view = (view - view.min()) / (view.max() - view.min() + epsilon)
    view = 1 / (1 + np.exp(-16 * (view - 0.7)))
    region = (pixels * (1 - view[..., None])).transpose(2, 0, 1)
    region = region[..., ::-1].copy() if crop.mirrored else region
    with torch.no_grad():
        feature = engine.model.encode_image(torch.from_numpy(region).float()[None])
    return functional.normalize(feature, dim=-1)[0].numpy()


def test_every_region_of_every_view_is_the_account_of_it(tiny_engine):
    regions = embed_background_regions(tiny_engine, mapped_images(), SETTINGS, silent)
    assert regions.features.shape == (3, 6, 32)
    assert regions.features.dtype == np.float32
    assert regions.class_indices.tolist() == [1, 3, 2, 1, 2, 3]
    pairs = [(i, slot) for i, indices in enumerate(LABELS) for slot in range(len(indices))]
    for n, (i, slot) in enumerate(pairs):
        for view in range(3):
            crop = random_crop((40, 56), SETTINGS.crop_scale, np.random.default_rng((SETTINGS.seed, i, view)))
            expected = account(tiny_engine, picture(i), maps_of(i, len(LABELS[i]))[slot], crop, 1e-4)
            # A random CLIP hardly tells regions apart: a map that is not cropped or mirrored falls to 0.9991 somewhere.
            assert expected @ regions.features[view, n] > 0.9998, (n, view)


def test_features_have_length_1_and_views_differ(tiny_engine):
    features = embed_background_regions(tiny_engine, mapped_images(), SETTINGS, silent).features
    np.testing.assert_allclose(np.linalg.norm(features, axis=-1), 1, rtol=1e-5)
    assert (np.abs(features[0] - features[1]).max(axis=-1) > 1e-3).all()


def test_a_view_follows_from_the_seed_the_image_and_its_number_alone(tiny_engine):
    whole = embed_background_regions(tiny_engine, mapped_images(), SETTINGS, silent)
    fewer = embed_background_regions(
        tiny_engine, mapped_images(), PromptSettings(views=2, crop_scale=0.3, seed=7), silent
    )
    np.testing.assert_allclose(fewer.features, whole.features[:2], atol=1e-5)
    without = embed_background_regions(tiny_engine, mapped_images(broken=(1,)), SETTINGS, silent)
    np.testing.assert_allclose(without.features, whole.features[:, [0, 3, 4, 5]], atol=1e-5)
    assert without.class_indices.tolist() == [1, 1, 2, 3]
    other = embed_background_regions(tiny_engine, mapped_images(), PromptSettings(views=3, crop_scale=0.3), silent)
    assert (np.abs(other.features - whole.features).max(axis=-1) > 1e-3).any()


def test_the_same_call_gives_the_same_bytes(tiny_engine):
    first, again = (embed_background_regions(tiny_engine, mapped_images(), SETTINGS, silent) for _ in range(2))
    assert first.features.tobytes() == again.features.tobytes()


@pytest.mark.parametrize("batch", [1, 2, 5, 1000])
def test_any_batch_gives_the_same(tiny_engine, monkeypatch, batch):
    whole = embed_background_regions(tiny_engine, mapped_images(), SETTINGS, silent)
    sizes, real = [], module.encode_regions
    monkeypatch.setattr(module, "BATCH", batch)
    monkeypatch.setattr(module, "encode_regions", lambda engine, x: sizes.append(len(x)) or real(engine, x))
    ours = embed_background_regions(tiny_engine, mapped_images(), SETTINGS, silent)
    np.testing.assert_allclose(ours.features, whole.features, atol=1e-5)
    assert sum(sizes) == 18
    assert max(sizes) <= batch


def test_each_image_is_read_once_and_no_image_without_classes(tiny_engine):
    read, images = [], mapped_images()
    spied = MappedImages(LABELS, lambda i: read.append(i) or images.read(i))
    embed_background_regions(tiny_engine, spied, SETTINGS, silent)
    assert read == [0, 1, 3]


def test_large_features_lie_in_a_file(tiny_engine, monkeypatch, tmp_path):
    plain = embed_background_regions(tiny_engine, mapped_images(), SETTINGS, silent, tmp_path / "unused")
    assert not (tmp_path / "unused").exists()
    monkeypatch.setattr(module, "IN_MEMORY", 100)
    mapped = embed_background_regions(tiny_engine, mapped_images(), SETTINGS, silent, tmp_path / "new" / "regions")
    assert isinstance(mapped.features, np.memmap)
    assert (tmp_path / "new" / "regions").stat().st_size == 3 * 6 * 32 * 4
    np.testing.assert_array_equal(mapped.features, plain.features)
    inside = embed_background_regions(tiny_engine, mapped_images(), SETTINGS, silent)
    assert not isinstance(inside.features, np.memmap)


def test_a_link_in_the_place_of_that_file_is_not_followed(tiny_engine, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "IN_MEMORY", 100)
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "regions").symlink_to("victim")
    embed_background_regions(tiny_engine, mapped_images(), SETTINGS, silent, tmp_path / "regions")
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert not (tmp_path / "regions").is_symlink()


def test_progress_counts_images(tiny_engine):
    seen = []
    embed_background_regions(tiny_engine, mapped_images(), SETTINGS, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("images", [mapped_images(()), mapped_images(((), ())), mapped_images(broken=range(4))])
def test_no_pair_at_all_is_an_empty_result(tiny_engine, images):
    regions = embed_background_regions(tiny_engine, images, SETTINGS, silent)
    assert regions.features.shape == (3, 0, 32)
    assert regions.class_indices.shape == (0,)


def test_a_last_image_that_cannot_be_read_does_not_lose_the_others(tiny_engine):
    regions = embed_background_regions(tiny_engine, mapped_images(broken=(3,)), SETTINGS, silent)
    assert regions.class_indices.tolist() == [1, 3, 2]
    np.testing.assert_allclose(np.linalg.norm(regions.features, axis=-1), 1, rtol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (17, 31), (3, 200)])
def test_images_of_any_shape(tiny_engine, size):
    regions = embed_background_regions(tiny_engine, mapped_images(size=size), SETTINGS, silent)
    assert np.isfinite(regions.features).all()


def test_a_flat_map_embeds_the_view_itself(tiny_engine):
    flat = MappedImages(((1,),), lambda i: (picture(0, (64, 64)), np.zeros((1, 4, 4), np.float32)))
    settings = PromptSettings(views=2, crop_scale=1.0)  # nothing but the whole of a square fits
    features = embed_background_regions(tiny_engine, flat, settings, silent).features[:, 0]
    either = [
        tiny_engine.encode_images([image])[0].numpy() for image in (picture(0, (64, 64)), picture(0, (64, 64))[:, ::-1])
    ]
    for feature in features:
        assert min(np.abs(feature - each).max() for each in either) < 1e-4


def test_nothing_keeps_a_gradient(tiny_engine):
    embed_background_regions(tiny_engine, mapped_images(), SETTINGS, silent)
    assert all(parameter.grad is None for parameter in tiny_engine.model.parameters())


# Memory that runs out


@pytest.fixture
def fail_above(monkeypatch):
    """Let CLIP run out of memory on more than `most` regions, `times` times at most; returns the sizes tried."""
    real = module.encode_regions

    def install(most, error=None, times=10**9):
        tried, left = [], [times]

        def encode(engine, regions):
            tried.append(len(regions))
            if len(regions) > most and left[0]:
                left[0] -= 1
                raise error or torch.OutOfMemoryError("CUDA out of memory")
            return real(engine, regions)

        monkeypatch.setattr(module, "encode_regions", encode)
        return tried

    return install


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("MPS backend out of memory"), MemoryError()]
)
def test_out_of_memory_halves_the_batch_for_good_and_gives_the_same_features(tiny_engine, fail_above, error):
    whole = embed_background_regions(tiny_engine, mapped_images(), SETTINGS, silent)
    tried = fail_above(4, error)
    halved = embed_background_regions(tiny_engine, mapped_images(), SETTINGS, silent)
    assert tried == [18, 9, 4, 4, 4, 4, 2]
    np.testing.assert_allclose(halved.features, whole.features, atol=1e-5)  # another batch moves the last bits
    assert halved.class_indices.tolist() == whole.class_indices.tolist()


def test_a_halved_batch_is_kept_for_the_images_that_follow(tiny_engine, fail_above, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 3)  # 3, 6 and 9 regions of the three images, each by itself
    whole = embed_background_regions(tiny_engine, mapped_images(), SETTINGS, silent)
    tried = fail_above(1, times=1)
    halved = embed_background_regions(tiny_engine, mapped_images(), SETTINGS, silent)
    assert tried == [3] + [1] * 18
    np.testing.assert_allclose(halved.features, whole.features, atol=1e-5)


def test_another_call_begins_with_whole_batches(tiny_engine, fail_above):
    tried = fail_above(4, times=2)
    embed_background_regions(tiny_engine, mapped_images(), SETTINGS, silent)
    tried.clear()
    embed_background_regions(tiny_engine, mapped_images(), SETTINGS, silent)
    assert tried == [18]


def test_a_memory_too_small_for_one_region_is_said_with_the_cure(tiny_engine, fail_above):
    tried = fail_above(0)
    message = "out of memory on cpu with a single background region; use --precision bf16, --device cpu, or a smaller"
    with pytest.raises(EngineError, match=message):
        embed_background_regions(tiny_engine, mapped_images(), SETTINGS, silent)
    assert tried == [18, 9, 4, 2, 1]


def test_another_error_is_no_lack_of_memory(tiny_engine, fail_above):
    tried = fail_above(0, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        embed_background_regions(tiny_engine, mapped_images(), SETTINGS, silent)
    assert tried == [18]
