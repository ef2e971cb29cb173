"""SeedGenerator against a plain second reading of CLIP-ES: full gradients, one class and one image at a time."""

import numpy as np
import open_clip
import pytest
import torch
from scipy import ndimage
from tiny_clip import make_tiny_model, write_tiny_dir

from semples_cli.config import CamSettings, EngineSettings
from semples_cli.engine.build import build_engine
from semples_cli.engine.preprocess import to_pixels
from semples_cli.engine.seeds import SeedGenerator
from semples_cli.errors import DataError, EngineError, SettingsError
from semples_cli.types import ClassSet

CLASSES = ClassSet(("boat", "train", "bird"), ("boat", "train", "bird avian"))
WORDS = ("sea", "railway", "sky")
PLAIN = CamSettings(size=64, background_words=WORDS, affinity_layers="none")


def noise(*size, seed=0):
    """A smooth random image: white noise would look the same to every patch."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3)).astype(float)
    zoom = (size[0] / 5, size[1] / 7, 1)
    return np.clip(ndimage.zoom(coarse, zoom, order=1), 0, 255).astype(np.uint8)[: size[0], : size[1]]


@pytest.fixture(scope="module")
def plain(tiny_dir):
    return open_clip.create_model(f"local-dir:{tiny_dir}").eval()


def cam_by_hand(model, image, size, target, texts):
    """Softmax-GradCAM with the gradient of the whole tower, in open_clip's own blocks, as CLIP-ES describes it."""
    visual = model.visual
    if (size[0] // 8, size[1] // 8) != tuple(visual.grid_size):
        from open_clip.model import resize_pos_embed

        larger = make_tiny_model(image_size=size)
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        resize_pos_embed(state, larger)
        larger.load_state_dict(state)
        visual = larger.visual
    kept = {}
    hook = visual.transformer.resblocks[-1].ln_1.register_forward_hook(lambda m, i, out: kept.update(normed=out))
    x = to_pixels(image, size, open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)[None]
    hidden = visual.transformer(visual._embeds(x))
    hook.remove()
    feature = torch.nn.functional.normalize(visual.ln_post(hidden)[0, 1:].mean(0) @ visual.proj, dim=0)
    tokens = open_clip.tokenize([f"a clean origami {t}." for t in texts], context_length=16)
    probability = (model.logit_scale.exp() * model.encode_text(tokens, normalize=True) @ feature).softmax(0)[target]
    gradient = torch.autograd.grad(probability, kept["normed"])[0][0].double()
    activation = kept["normed"].detach()[0].double()
    weight = gradient[1:].mean(0)
    scores = np.array([max(0.0, float((weight * a).sum())) for a in activation[1:]])
    return ((scores - scores.min()) / (scores.max() - scores.min())).reshape(size[0] // 8, size[1] // 8)


@pytest.mark.parametrize(("image_size", "network"), [((64, 64), (64, 64)), ((100, 60), (64, 40)), ((17, 31), (24, 32))])
def test_a_map_equals_softmax_gradcam_through_the_whole_network(tiny_engine, plain, image_size, network):
    image = noise(*image_size)
    maps = SeedGenerator(tiny_engine, CLASSES, PLAIN).maps([image], [(1, 3)])[0]
    assert maps.dtype == np.float32
    texts = ["boat", "bird avian", *WORDS]  # 'train' is absent and does not compete
    for k in range(2):
        expected = cam_by_hand(plain, image, network, k, texts)
        np.testing.assert_allclose(maps[k], expected, rtol=0, atol=2e-4)


def test_maps_differ_by_class_and_by_background(tiny_engine):
    image = noise(64, 64)
    with_words = SeedGenerator(tiny_engine, CLASSES, PLAIN).maps([image], [(1, 2)])[0]
    without = SeedGenerator(tiny_engine, CLASSES, CamSettings(size=64, affinity_layers="none"))
    assert np.abs(with_words[0] - with_words[1]).max() > 0.1
    assert np.abs(with_words - without.maps([image], [(1, 2)])[0]).max() > 0.01


def test_maps_come_in_the_order_of_the_class_indices(tiny_engine):
    generator = SeedGenerator(tiny_engine, CLASSES, PLAIN)
    image = noise(64, 64)
    forward, backward = generator.maps([image], [(1, 2)])[0], generator.maps([image], [(2, 1)])[0]
    np.testing.assert_allclose(forward, backward[::-1], rtol=0, atol=1e-6)


def affinity_by_hand(attention, scores, threshold, steps):
    """CLIP-ES's refinement with whole matrices: normalise, square, leave columns out, multiply."""
    matrix = attention.double().numpy()
    for _ in range(3):
        matrix = matrix / matrix.sum(axis=0, keepdims=True)
        matrix = matrix / matrix.sum(axis=1, keepdims=True)
    matrix = (matrix + matrix.T) / 2
    for _ in range(steps):
        matrix = matrix @ matrix
    columns = np.zeros(scores.shape)
    labels, count = ndimage.label(scores > threshold, np.ones((3, 3)))
    for component in range(1, count + 1):
        rows, cols = np.nonzero(labels == component)
        columns[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1] = 1
    refined = ((matrix * columns.reshape(1, -1)) @ scores.reshape(-1, 1)).reshape(scores.shape)
    return (refined - refined.min()) / (refined.max() - refined.min())


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_affinity_spreads_the_map_as_written(tiny_engine, steps):
    image = noise(64, 88, seed=3)
    raw = SeedGenerator(tiny_engine, CLASSES, CamSettings(88, background_words=WORDS, affinity_layers="none"))
    settings = CamSettings(88, background_words=WORDS, affinity_layers="1,3", affinity_steps=steps, box_threshold=0.5)
    refined = SeedGenerator(tiny_engine, CLASSES, settings).maps([image], [(1, 2)])[0]
    pixels = to_pixels(image, (64, 88), open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    tokens, attentions = tiny_engine.tokens_before_last_block(pixels[None], (0,))
    attention = (attentions[0][0] + tiny_engine.last_block(tokens, want_attention=True).attention[0]) / 2
    for k, scores in enumerate(raw.maps([image], [(1, 2)])[0].astype(np.float64)):
        np.testing.assert_allclose(refined[k], affinity_by_hand(attention, scores, 0.5, steps), rtol=0, atol=1e-4)


SIZES = [(64, 64), (40, 64), (64, 64), (100, 100), (64, 64), (40, 64), (17, 31)]
PRESENT = [(1,), (1, 2, 3), (2, 3), (3,), (), (2,), (1, 3)]


@pytest.mark.parametrize("layers", ["none", "last:2", "all"])
def test_scores_in_batches_are_within_1e_5_of_batch_1(tiny_engine, layers):
    images = [noise(*size, seed=i) for i, size in enumerate(SIZES)]

    def at(batch_size):
        settings = CamSettings(64, background_words=WORDS, affinity_layers=layers, batch_size=batch_size)
        return SeedGenerator(tiny_engine, CLASSES, settings).maps(images, PRESENT)

    for single, batched, present in zip(at(1), at(8), PRESENT, strict=True):
        assert batched.shape[0] == len(present)
        np.testing.assert_allclose(batched, single, rtol=0, atol=1e-5)


def test_shapes_ranges_and_grid(tiny_engine):
    settings = CamSettings(64, (0.5, 1.0, 1.5), flips=True, background_words=WORDS, affinity_layers="all")
    generator = SeedGenerator(tiny_engine, CLASSES, settings)
    images = [noise(*size) for size in SIZES]
    for image, present, maps in zip(images, PRESENT, generator.maps(images, PRESENT), strict=True):
        assert maps.shape == (len(present), *generator.grid_size(image.shape[:2]))
        assert maps.dtype == np.float32
        assert np.isfinite(maps).all()
        assert not maps.size or (maps.min() == 0 and maps.max() == 1)
    assert generator.grid_size((64, 64)) == (12, 12)
    assert generator.grid_size((200, 100)) == (12, 6)
    assert SeedGenerator(tiny_engine, CLASSES, PLAIN).grid_size((375, 500)) == (6, 8)


def test_flips_make_the_maps_of_a_mirrored_image_the_mirrored_maps(tiny_engine):
    settings = CamSettings(64, flips=True, background_words=WORDS, affinity_layers="last:1")
    generator = SeedGenerator(tiny_engine, CLASSES, settings)
    image = noise(64, 64)
    maps, mirrored = generator.maps([image, np.ascontiguousarray(image[:, ::-1])], [(1, 2)] * 2)
    np.testing.assert_allclose(mirrored, maps[..., ::-1], rtol=0, atol=1e-4)
    single = SeedGenerator(tiny_engine, CLASSES, CamSettings(64, background_words=WORDS, affinity_layers="last:1"))
    assert np.abs(single.maps([image], [(1, 2)])[0] - maps).max() > 1e-3


def test_scales_are_averaged_on_the_largest_grid_then_stretched(tiny_engine):
    image = noise(64, 64)

    def at(*scales):
        settings = CamSettings(64, scales, background_words=WORDS, affinity_layers="none")
        return torch.from_numpy(SeedGenerator(tiny_engine, CLASSES, settings).maps([image], [(1,)])[0])

    small = torch.nn.functional.interpolate(at(0.5)[None], size=(8, 8), mode="bilinear")[0]
    mean = (small + at(1.0)) / 2
    expected = (mean - mean.min()) / (mean.max() - mean.min())
    torch.testing.assert_close(at(0.5, 1.0), expected, rtol=0, atol=1e-5)


def test_an_image_without_classes_has_no_map_and_costs_nothing(tiny_engine, monkeypatch):
    generator = SeedGenerator(tiny_engine, CLASSES, PLAIN)
    monkeypatch.setattr(tiny_engine, "tokens_before_last_block", lambda *a: pytest.fail("looked"))
    (maps,) = generator.maps([noise(64, 40)], [()])
    assert maps.shape == (0, 8, 5)
    assert generator.maps([], []) == []


def test_one_class_alone_still_has_a_map(tiny_engine):
    settings = CamSettings(64, affinity_layers="none")
    maps = SeedGenerator(tiny_engine, CLASSES, settings).maps([noise(64, 64), noise(64, 64)], [(2,), (1, 2)])
    assert maps[0].max() == 1
    assert np.isfinite(maps[1]).all()


def test_a_saturated_softmax_does_not_lose_the_map(tiny_engine, monkeypatch):
    image = noise(64, 64)
    generator = SeedGenerator(tiny_engine, CLASSES, PLAIN)
    monkeypatch.setattr(tiny_engine, "logit_scale", 1e5)  # the winner's probability is 1, its gradient exactly 0
    maps = generator.maps([image], [(1, 2, 3)])[0]
    assert np.isfinite(maps).all()
    assert (maps.max(axis=(1, 2)) == 1).all()


def test_texts_are_encoded_once_and_with_the_template(tiny_engine, monkeypatch):
    seen = []
    encode = tiny_engine.encode_texts
    monkeypatch.setattr(tiny_engine, "encode_texts", lambda texts: seen.extend(texts) or encode(texts))
    settings = CamSettings(64, template="a {} of {x}.", background_words=("sea",), affinity_layers="none")
    generator = SeedGenerator(tiny_engine, CLASSES, settings)
    for _ in range(2):
        generator.maps([noise(64, 64)], [(1,)])
    assert seen == ["a boat of {x}.", "a train of {x}.", "a bird avian of {x}.", "a sea of {x}."]


def test_a_background_word_that_is_a_class_does_not_compete_with_it(tiny_engine):
    settings = CamSettings(64, background_words=("sea", "Train", "bird avian", "bird"), affinity_layers="none")
    assert SeedGenerator(tiny_engine, CLASSES, settings).background_words == ("sea",)


def test_blocks_run_once_for_each_batch_whatever_the_number_of_classes(tiny_engine):
    calls = []
    blocks = tiny_engine.model.visual.transformer.resblocks
    hooks = [b.mlp.register_forward_hook(lambda *a, i=i: calls.append(i)) for i, b in enumerate(blocks)]
    settings = CamSettings(64, background_words=WORDS, affinity_layers="all", batch_size=2)
    SeedGenerator(tiny_engine, CLASSES, settings).maps([noise(64, 64, seed=i) for i in range(4)], [(1, 2, 3)] * 4)
    for hook in hooks:
        hook.remove()
    assert calls == [0, 1, 2] * 2


def fail_above(engine, monkeypatch, most, error):
    """Let the engine run out of memory on batches of more than `most` images; returns the batch sizes tried."""
    tried = []
    look = engine.tokens_before_last_block

    def limited(pixels, layers=()):
        tried.append(len(pixels))
        if len(pixels) > most:
            raise error
        return look(pixels, layers)

    monkeypatch.setattr(engine, "tokens_before_last_block", limited)
    return tried


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("MPS backend out of memory"), MemoryError()]
)
def test_out_of_memory_halves_the_batch_for_good_and_goes_on(tiny_engine, monkeypatch, error):
    images, present = [noise(64, 64, seed=i) for i in range(7)], [(1, 2)] * 7
    expected = SeedGenerator(tiny_engine, CLASSES, PLAIN).maps(images, present)
    generator = SeedGenerator(tiny_engine, CLASSES, PLAIN)
    tried = fail_above(tiny_engine, monkeypatch, 2, error)
    made = generator.maps(images, present)
    assert tried == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert generator.batch_size == 1
    for ours, theirs in zip(made, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_out_of_memory_with_one_image_is_refused_with_the_cure(tiny_engine, monkeypatch):
    fail_above(tiny_engine, monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory"))
    generator = SeedGenerator(tiny_engine, CLASSES, PLAIN)
    with pytest.raises(
        EngineError, match=r"out of memory on cpu with a single image at size 64: give a smaller --size"
    ):
        generator.maps([noise(64, 64)] * 3, [(1,)] * 3)


def test_another_error_is_no_lack_of_memory(tiny_engine, monkeypatch):
    tried = fail_above(tiny_engine, monkeypatch, 0, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        SeedGenerator(tiny_engine, CLASSES, PLAIN).maps([noise(64, 64)] * 3, [(1,)] * 3)
    assert tried == [3]


def test_images_and_classes_must_go_together(tiny_engine):
    generator = SeedGenerator(tiny_engine, CLASSES, PLAIN)
    with pytest.raises(DataError, match="2 images but classes for 1"):
        generator.maps([noise(8, 8)] * 2, [(1,)])
    for bad in (0, 4):
        with pytest.raises(DataError, match=rf"class indices \(1, {bad}\) must lie in 1\.\.3"):
            generator.maps([noise(8, 8)], [(1, bad)])


def test_layers_that_the_model_lacks_are_refused_at_once(tiny_engine):
    with pytest.raises(SettingsError, match="no layer 4; its layers are 1 to 3"):
        SeedGenerator(tiny_engine, CLASSES, CamSettings(affinity_layers="4"))


def test_bf16_maps_stay_near_those_of_fp32(tiny_engine, tiny_dir):
    half = build_engine(EngineSettings(weights=str(tiny_dir), device="cpu", precision="bf16"))
    image = noise(64, 64)
    exact = SeedGenerator(tiny_engine, CLASSES, PLAIN).maps([image], [(1, 2)])[0]
    near = SeedGenerator(half, CLASSES, PLAIN).maps([image], [(1, 2)])[0]
    assert np.corrcoef(exact.ravel(), near.ravel())[0, 1] > 0.97


def test_a_model_that_pools_the_mean_is_read_the_same_way(tmp_path):
    vision = {"image_size": 64, "patch_size": 8, "layers": 3, "width": 64, "head_width": 16, "pool_type": "avg"}
    model = make_tiny_model(pool_type="avg")
    folder = write_tiny_dir(tmp_path / "avg", model, vision_cfg=vision)
    engine = build_engine(EngineSettings(weights=str(folder), device="cpu", precision="fp32"))
    image = noise(64, 64)
    maps = SeedGenerator(engine, CLASSES, PLAIN).maps([image], [(2, 3)])[0]
    expected = cam_by_hand(model, image, (64, 64), 1, ["train", "bird avian", *WORDS])
    np.testing.assert_allclose(maps[1], expected, rtol=0, atol=2e-4)
