"""What training changes, that it does so exactly the same each time, and what happens when it is cut off."""

import hashlib
from dataclasses import replace

import pytest
import torch
from torch.nn import functional
from training_world import LABELS, NAMES, SETTINGS, labelled_images, make_generator, silent

from semples_cli.config import PUBLISHED_RAND_AUGMENT
from semples_cli.engine import training_loop
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.generator_objectives import BackgroundTexts
from semples_cli.engine.generator_training import train_initial, train_matching, train_refined
from semples_cli.errors import ArtifactError, DataError, EngineError


class InterruptedTraining(BaseException):
    """Stands for a user's Ctrl-C."""


@pytest.fixture
def texts(tiny_engine):
    drawn = torch.randn(3, tiny_engine.embed_dim, generator=torch.Generator().manual_seed(5))
    return BackgroundTexts(functional.normalize(drawn, dim=-1), torch.tensor([True, True, False]))


@pytest.fixture
def train(tiny_engine, texts, tmp_path):
    """Train a new head; returns its weights and the curves."""

    def run(stage, images=None, name="state", progress=silent, fingerprint="f", every=50, texts=texts, **settings):
        generator = make_generator(tiny_engine)
        images, settings = images or labelled_images(), replace(SETTINGS, **settings)
        rest = (settings, Checkpoint(tmp_path / name, fingerprint, every), progress)
        if stage == "initial":
            curves = train_initial(generator, images, *rest)
        elif stage == "matching":
            curves = train_matching(generator, images, NAMES, *rest)
        else:
            curves = train_refined(generator, images, NAMES, texts, *rest)
        return generator.network.state_dict(), curves

    return run


STAGES = ["initial", "matching", "refined"]


def same(one, other):
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def close(one, other):
    return all(torch.allclose(one[name], other[name], rtol=1e-3, atol=2e-4) for name in one)


def clip_hash(engine):
    digest = hashlib.sha256()
    for name, tensor in sorted(engine.model.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("stage", STAGES)
def test_head_and_fusion_change_and_nothing_of_clip_does(train, tiny_engine, stage):
    before, start = clip_hash(tiny_engine), make_generator(tiny_engine).network.state_dict()
    weights, _ = train(stage)
    assert clip_hash(tiny_engine) == before
    assert all(parameter.grad is None for parameter in tiny_engine.model.parameters())
    for name in ("head.weight", "head.bias", "fusion.feature_score.0.weight", "fusion.map_weight.2.weight"):
        assert not torch.equal(weights[name], start[name]), name


@pytest.mark.parametrize("stage", STAGES)
def test_one_seed_gives_the_same_bytes_and_another_others(train, stage):
    first, curves = train(stage, name="a")
    second, again = train(stage, name="b")
    other, _ = train(stage, name="c", seed=4)
    assert same(first, second)
    assert curves == again
    assert not same(first, other)


@pytest.mark.parametrize("stage", STAGES)
def test_any_micro_batch_gives_the_same_result(train, stage):
    """In exact arithmetic; Adam's first steps depend on the sign of a gradient alone, hence few and small steps."""
    whole, curves = train(stage, name="a", learning_rate=1e-3, initial_learning_rate=1e-3)
    for micro_batch in (1, 3):
        parts, other = train(
            stage, name=f"b{micro_batch}", learning_rate=1e-3, initial_learning_rate=1e-3, micro_batch=micro_batch
        )
        assert close(whole, parts)
        for name, values in curves.items():
            assert other[name] == pytest.approx(values, rel=1e-3)


AUGMENTED = {"rand_augment": PUBLISHED_RAND_AUGMENT, "erasing": 0.5, "drop_path": 0.5}


@pytest.mark.parametrize("stage", STAGES)
def test_drop_path_is_drawn_in_each_step_and_the_same_whatever_the_micro_batch(train, stage):
    slow = {"learning_rate": 1e-3, "initial_learning_rate": 1e-3}
    plain, _ = train(stage, name="a", **slow)
    whole, curves = train(stage, name="b", drop_path=0.5, **slow)
    assert not same(plain, whole)
    parts, other = train(stage, name="c", drop_path=0.5, micro_batch=1, **slow)
    assert close(whole, parts)
    for name, values in curves.items():
        assert other[name] == pytest.approx(values, rel=1e-3)


def test_an_augmented_training_resumes_to_the_same_bytes(train):
    whole, curves = train("matching", name="whole", **AUGMENTED)

    def stop(done, total):
        if done == 2:
            raise InterruptedTraining

    with pytest.raises(InterruptedTraining):
        train("matching", name="cut", progress=stop, every=1, **AUGMENTED)
    resumed, again = train("matching", name="cut", every=1, **AUGMENTED)
    assert same(whole, resumed)
    assert curves == again


def test_refinement_has_a_batch_size_of_its_own(train):
    """5 images with a class: 2 steps of 4 and fewer, 3 of 2 and fewer, in each of the 2 epochs."""
    assert len(train("refined", name="a")[1]["loss"]) == 4
    assert len(train("refined", name="b", refine_batch_size=2)[1]["loss"]) == 6
    assert len(train("matching", name="c", refine_batch_size=2)[1]["loss"]) == 4


@pytest.mark.parametrize("stage", ["initial", "matching"])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_an_interrupted_training_resumes_to_the_same_bytes(train, stage, after):
    whole, curves = train(stage, name="whole")

    def stop(done, total):
        if done == after:
            raise InterruptedTraining

    with pytest.raises(InterruptedTraining):
        train(stage, name="cut", progress=stop, every=1)
    seen = []
    resumed, again = train(stage, name="cut", progress=lambda done, total: seen.append(done), every=1)
    assert seen[0] == after + 1
    assert same(whole, resumed)
    assert curves == again


def test_the_state_of_another_training_is_not_taken_up(train):
    train("initial", name="state", every=1, fingerprint="one")
    seen = []
    train("initial", name="state", fingerprint="two", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_damaged_state_is_refused(train, tmp_path):
    (tmp_path / "state").write_bytes(b"nonsense")
    with pytest.raises(ArtifactError, match="delete it to train anew"):
        train("initial")


def test_without_the_last_term_refinement_is_matching(train):
    matched, curves = train("matching", name="a")
    refined, others = train("refined", name="b", lambda_r=0.0)
    assert same(matched, refined)
    assert curves["loss"] == others["loss"]


def test_refinement_changes_what_is_learned_and_unusable_prompts_do_not(train, texts):
    matched, _ = train("matching", name="a")
    refined, _ = train("refined", name="b", lambda_r=1.0)
    assert not same(matched, refined)
    unusable = BackgroundTexts(texts.features, torch.tensor([False, False, False]))
    left_out, curves = train("refined", name="c", lambda_r=1.0, texts=unusable)
    assert same(matched, left_out)
    assert curves["refinement"] == [0.0] * len(curves["loss"])


def test_the_loss_falls(train):
    for stage in STAGES:
        _, curves = train(stage, name=stage, epochs=12, batch_size=8, crop_scale=1.0)
        assert curves["loss"][-1] < curves["loss"][0], stage


def test_curves_hold_every_term_and_the_weighted_sum(train):
    _, curves = train("refined", lambda_b=2.0, lambda_r=0.5)
    assert set(curves) == {"foreground", "background", "refinement", "loss", "range"}
    terms = ("foreground", "background", "refinement", "loss")
    for pull, push, refine, loss in zip(*(curves[name] for name in terms), strict=True):
        assert loss == pytest.approx(pull + 2.0 * push + 0.5 * refine, rel=1e-6)
    assert len(curves["loss"]) == 4  # 5 images with classes in batches of 4, twice


def test_images_without_a_class_teach_the_initial_weights_alone(train):
    empty = labelled_images((*LABELS, ()))
    assert not same(train("initial", name="a")[0], train("initial", empty, name="b")[0])
    assert same(train("matching", name="c")[0], train("matching", empty, name="d")[0])


def test_a_batch_with_nothing_to_learn_from_is_passed_over(train, tiny_engine):
    weights, curves = train("matching", labelled_images(broken=(0,)), batch_size=1, epochs=1)
    assert len(curves["loss"]) == 4  # five images with classes, one of which cannot be read
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_a_training_on_one_pair(train):
    weights, curves = train("refined", labelled_images(((2,),)), epochs=1)
    assert len(curves["loss"]) == 1
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


@pytest.mark.parametrize(("stage", "labels"), [("initial", ()), ("matching", ()), ("matching", ((), ()))])
def test_nothing_to_train_on_is_refused(train, stage, labels):
    with pytest.raises(DataError, match="label at least one image"):
        train(stage, labelled_images(labels))


def test_images_of_which_none_can_be_read_are_refused(train):
    with pytest.raises(DataError, match="check the image files"):
        train("matching", labelled_images(broken=range(6)))


def test_the_rate_falls_to_0_on_a_cosine(train, monkeypatch):
    rates = []
    step = torch.optim.AdamW.step

    def spy(self, *args):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    train("matching", learning_rate=0.256, batch_size=4, epochs=2)
    assert rates == pytest.approx([0.002, 0.002 * 0.8535534, 0.001, 0.002 * 0.1464466], rel=1e-5)


def test_vectors_do_not_decay(tiny_engine):
    training = training_loop.Training(make_generator(tiny_engine), nothing_to_learn(), SETTINGS, 0.1)
    decays = {group["weight_decay"]: {p.ndim for p in group["params"]} for group in training._optimiser.param_groups}
    assert decays == {0.03: {2, 4}, 0.0: {1}}


def nothing_to_learn():
    class Nothing:
        weights = {}  # noqa: RUF012

    return Nothing()


class Full:
    """Runs out of memory for more than `most` images at once."""

    def __init__(self, monkeypatch, most):
        from semples_cli.engine import generator_objectives

        real, self.tried = generator_objectives.encode_regions, []

        def encode(engine, pixels):
            self.tried.append(len(pixels))
            if len(pixels) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return real(engine, pixels)

        monkeypatch.setattr(generator_objectives, "encode_regions", encode)


def test_a_full_memory_halves_the_micro_batch_and_gives_the_same_result(train, monkeypatch):
    settings = {"learning_rate": 1e-3, "epochs": 1}
    whole, curves = train("matching", name="a", **settings)
    memory = Full(monkeypatch, most=8)
    halved, others = train("matching", name="b", **settings)
    assert [n for n in memory.tried if n > 8] == [14, 10]  # four images, then the two with most classes among them
    assert memory.tried[-1] <= 8
    assert close(whole, halved)
    assert others["loss"] == pytest.approx(curves["loss"], rel=1e-3)


def test_a_memory_too_small_for_one_image_is_said(train, monkeypatch):
    Full(monkeypatch, most=1)
    with pytest.raises(EngineError, match="single image and its regions; use --precision bf16"):
        train("matching")


def test_another_error_comes_out(train, monkeypatch):
    def broken(*args):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr("semples_cli.engine.generator_objectives.encode_regions", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train("matching")
