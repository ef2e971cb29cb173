import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from semples_cli.config import CamSettings
from semples_cli.engine.preprocess import network_size
from semples_cli.errors import DataError
from semples_cli.steps import plan_batches as step
from semples_cli.steps.plan_batches import describe, plan_batches
from semples_cli.types import Sample

PATCH = 8


@pytest.fixture
def sample(tmp_path):
    def make(sample_id, size, classes=(1,), **options):
        path = tmp_path / f"{sample_id}.png"
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path, **options)
        return Sample(sample_id, path, classes)

    return make


def ids(batches):
    return [[sample.id for sample in batch] for batch in batches]


def test_images_of_one_network_size_share_batches_and_large_ones_come_first(sample):
    samples = [sample("a", (16, 16)), sample("b", (32, 16)), sample("c", (15, 9)), sample("d", (9, 16))]
    batches, unreadable = plan_batches(samples, CamSettings(batch_size=2), PATCH)
    assert ids(batches) == [["b"], ["d", "c"], ["a"]]
    assert unreadable == []


def test_images_with_as_many_classes_lie_together(sample):
    numbers = {"a": (1,), "b": (1, 2, 3), "c": (), "d": (1, 2, 3), "e": (2,)}
    samples = [sample(sample_id, (8, 8), classes) for sample_id, classes in numbers.items()]
    batches, _ = plan_batches(samples, CamSettings(batch_size=2), PATCH)
    assert ids(batches) == [["d", "b"], ["e", "a"], ["c"]]


def test_images_that_part_at_a_second_scale_do_not_share_a_batch(sample):
    samples = [sample("a", (16, 16)), sample("b", (16, 15))]
    settings = CamSettings(batch_size=2)
    assert ids(plan_batches(samples, settings, PATCH)[0]) == [["b", "a"]]
    other = CamSettings(batch_size=2, scales=(1.0, 1.06))
    assert network_size((16, 15), 512, PATCH, 1.06) != network_size((16, 16), 512, PATCH, 1.06)
    assert ids(plan_batches(samples, other, PATCH)[0]) == [["a"], ["b"]]


def test_the_size_is_that_of_the_upright_image(sample):
    exif = Image.Exif()
    exif[0x0112] = 8
    turned = sample("a", (8, 24), exif=exif)
    assert ids(plan_batches([turned, sample("b", (24, 8))], CamSettings(batch_size=2), PATCH)[0]) == [["b", "a"]]


def test_a_header_that_cannot_be_read_is_named_and_the_rest_is_planned(sample, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"")
    samples = [sample("a", (8, 8)), Sample("bad", tmp_path / "bad.png", ()), Sample("gone", tmp_path / "gone.png", ())]
    batches, unreadable = plan_batches(samples, CamSettings(), PATCH)
    assert ids(batches) == [["a"]]
    assert [sample_id for sample_id, _ in unreadable] == ["bad", "gone"]
    assert all(sample_id in reason for sample_id, reason in unreadable)


def test_no_images_make_no_batches():
    assert plan_batches([], CamSettings(), PATCH) == ([], [])


@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(0, 3)), max_size=20),
    batch_size=st.integers(1, 5),
    order=st.randoms(use_true_random=False),
)
def test_every_image_is_planned_once_whatever_the_order_it_comes_in(sizes, batch_size, order):
    settings = CamSettings(batch_size=batch_size, size=24)
    known = {f"{number}.png": (height, width) for number, (height, width, _) in enumerate(sizes)}
    samples = [
        Sample(name[:-4], step.Path(name), tuple(range(1, k + 1))) for name, (_, _, k) in zip(known, sizes, strict=True)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "read_image_size", lambda path: known[path.name])
        batches, _ = plan_batches(samples, settings, PATCH)
        order.shuffle(samples)
        assert plan_batches(samples, settings, PATCH)[0] == batches
    planned = [sample for batch in batches for sample in batch]
    assert sorted(planned, key=lambda sample: sample.id) == sorted(samples, key=lambda sample: sample.id)
    for batch in batches:
        assert 1 <= len(batch) <= batch_size
        assert len({network_size(known[sample.image_path.name], 24, PATCH) for sample in batch}) == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DataError("x.png: damaged"), "x.png: damaged"),
        (OSError(13, "Permission denied", "x.png"), "x.png: Permission denied"),
        (OSError("odd"), "file: odd"),
        (MemoryError(), "not enough memory for this image"),
    ],
)
def test_describe_says_it_in_a_line(error, said):
    assert describe(error) == said
