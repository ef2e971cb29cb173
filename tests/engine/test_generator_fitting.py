"""Fitting a generator to given maps: the loss by hand, gradients, what is trained, where maps and pixels lie."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_world import LABELS, SETTINGS, labelled_images, make_generator, picture, silent

from semples_cli.config import PUBLISHED_RAND_AUGMENT
from semples_cli.engine.background_regions import MappedImages
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.generator_objectives import EPSILON, FittingObjective
from semples_cli.engine.generator_training import train_fitted
from semples_cli.engine.generators.protocol import ClassMaps
from semples_cli.engine.training_batches import ViewBatch, ViewBatches
from semples_cli.engine.views import cut_maps, random_crop
from semples_cli.errors import DataError

SIDE = 8


def maps_of(i):
    """One map for each class of picture i: a bright left half, then a bright right one, and so on."""
    maps = np.zeros((len(LABELS[i]), 6, 8), np.float32)
    for slot, of_class in enumerate(maps):
        of_class[:, 4 * (slot % 2) : 4 * (slot % 2) + 4] = 0.9
    return maps


def mapped_images(broken=()):
    return MappedImages(LABELS, lambda i: None if i in broken else (picture(i), maps_of(i)))


class Given:
    """A generator that says what it is told."""

    def __init__(self, coarse, fine):
        self.maps = ClassMaps(coarse, fine)

    def class_maps(self, pixels, columns, drop_path):
        return self.maps


def cross_entropy(probability, target):
    return -(target * np.log(probability) + (1 - target) * np.log(1 - probability))


def test_the_loss_is_what_it_says_by_hand(tiny_engine):
    """Two images; the first has class 2 of 3, the second classes 1 and 3; the patch grid is 2 × 2, the maps 4 × 4."""
    random = np.random.default_rng(0)
    coarse, fine = random.standard_normal((2, 3, 2, 2)), random.random((2, 2, 2, 2))
    targets = random.random((3, 4, 4))
    batch = ViewBatch(
        torch.zeros(2, 3, SIDE, SIDE), ((2,), (1, 3)), maps=(torch.tensor(targets[:1]), torch.tensor(targets[1:]))
    )
    terms = FittingObjective(tiny_engine, 0.1).terms(Given(torch.tensor(coarse), torch.tensor(fine)), batch)
    pairs = [(0, 0, 1), (1, 0, 0), (1, 1, 2)]  # image, slot, class column
    present, stretched = [], []
    for number, (b, slot, column) in enumerate(pairs):
        target = targets[number].reshape(2, 2, 2, 2).mean((1, 3))
        present.append(cross_entropy(1 / (1 + np.exp(-coarse[b, column])), target).mean())
        resized = np.stack([np.interp(np.linspace(0, 1, 4), [0, 1], row) for row in fine[b, slot]])
        resized = np.stack([np.interp(np.linspace(0, 1, 4), [0, 1], column) for column in resized.T]).T
        whole = (resized - resized.min()) / (resized.max() - resized.min() + 0.1)
        stretched.append(cross_entropy(whole.clip(EPSILON, 1 - EPSILON), targets[number]).mean())
    absent = [np.log1p(np.exp(coarse[0, [0, 2]])).mean(), np.log1p(np.exp(coarse[1, 1])).mean()]
    assert float(terms["present"]) == pytest.approx((present[0] + (present[1] + present[2]) / 2) / 2, rel=1e-6)
    assert float(terms["absent"]) == pytest.approx(np.mean(absent), rel=1e-6)
    assert float(terms["fine"]) == pytest.approx((stretched[0] + (stretched[1] + stretched[2]) / 2) / 2, rel=1e-5)


def test_an_image_with_every_class_has_no_absent_term(tiny_engine):
    batch = ViewBatch(torch.zeros(1, 3, SIDE, SIDE), ((1, 2),), maps=(torch.rand(2, 4, 4),))
    terms = FittingObjective(tiny_engine, 0.1).terms(Given(torch.zeros(1, 2, 2, 2), torch.rand(1, 2, 2, 2)), batch)
    assert float(terms["absent"]) == 0


def test_gradients_are_right(tiny_engine):
    batch = ViewBatch(torch.zeros(1, 3, SIDE, SIDE), ((1,),), maps=(torch.rand(1, 4, 4, dtype=torch.float64),))
    objective = FittingObjective(tiny_engine, 0.1)

    def loss(coarse, fine):
        return sum(objective.terms(Given(coarse, fine), batch).values())

    coarse = torch.randn(1, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    fine = torch.rand(1, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (coarse, fine))


def test_micro_batches_add_up_to_the_whole(tiny_engine):
    batches = ViewBatches(tiny_engine, mapped_images(), [0, 1, 3, 5], SETTINGS)
    batch, objective, generator = batches.batch(0), FittingObjective(tiny_engine, 0.1), make_generator(tiny_engine)
    with torch.no_grad():
        whole = objective.terms(generator, batch)
        parts = [objective.terms(generator, batch.part(start, start + 2)) for start in (0, 2)]
    for name, value in whole.items():
        assert float(value) == pytest.approx(float(parts[0][name] + parts[1][name]) / 2, rel=1e-5), name


def test_maps_are_cut_as_the_pixels_are(tiny_engine):
    batches = ViewBatches(tiny_engine, mapped_images(), [1], replace(SETTINGS, batch_size=1))
    batch = batches.batch(0)
    size = picture(1).shape[:2]
    crop = random_crop(size, SETTINGS.crop_scale, np.random.default_rng((SETTINGS.seed, 0, 1)))
    expected = cut_maps(torch.from_numpy(maps_of(1)), size, tiny_engine.image_size, crop)
    torch.testing.assert_close(batch.maps[0], expected)
    without = ViewBatches(tiny_engine, labelled_images(), [1], replace(SETTINGS, batch_size=1)).batch(0)
    assert torch.equal(batch.pixels, without.pixels)
    assert without.maps == ()


@pytest.fixture
def fit(tiny_engine, tmp_path):
    def run(images=None, name="state", every=50, progress=silent, **settings):
        generator = make_generator(tiny_engine)
        chosen = replace(SETTINGS, **{"initial_learning_rate": 0.1, **settings})
        curves = train_fitted(
            generator, images or mapped_images(), chosen, Checkpoint(tmp_path / name, "f", every), progress
        )
        return generator, curves

    return run


def test_it_learns_the_maps_and_leaves_clip_alone(fit, tiny_engine):
    before = {name: tensor.clone() for name, tensor in tiny_engine.model.state_dict().items()}
    generator, curves = fit(epochs=30)
    assert set(curves) == {"present", "absent", "fine", "loss"}
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_engine.model.state_dict().items())
    batch = ViewBatches(tiny_engine, mapped_images(), [0, 1, 3, 4, 5], replace(SETTINGS, batch_size=5)).batch(0)
    objective = FittingObjective(tiny_engine, SETTINGS.region_epsilon)
    with torch.no_grad():
        start, end = (objective.terms(each, batch) for each in (make_generator(tiny_engine), generator))
    assert end["fine"] < 0.9 * start["fine"]
    assert sum(end.values()) < sum(start.values())


def test_views_are_not_augmented_otherwise(fit):
    _, plain = fit(name="a")
    _, same = fit(name="b", rand_augment=PUBLISHED_RAND_AUGMENT, erasing=1.0, drop_path=0.5)
    assert plain == same


def test_an_interrupted_fit_goes_on_to_the_same_weights(fit):
    whole, curves = fit(name="a")

    class Stopped(BaseException):
        pass

    def stop(done, total):
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        fit(name="b", every=1, progress=stop)
    again, resumed = fit(name="b", every=1)
    assert resumed == curves
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name])


def test_images_that_cannot_be_read_are_left_out_until_none_is_left(fit):
    _, curves = fit(mapped_images(broken=(0, 1)))
    assert len(curves["loss"]) > 0
    with pytest.raises(DataError, match="none of the images"):
        fit(mapped_images(broken=range(6)))
