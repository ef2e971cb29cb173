"""Stage (b): what it trains and what it leaves, against a float64 account, exactly again, and cut off."""

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from semples_cli.config import PromptSettings
from semples_cli.engine.background_regions import BackgroundRegions
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.prompt_training import PromptLearning, epoch_means, epochs_on_plateau
from semples_cli.engine.prompts import PromptEncoder, initial_vectors
from semples_cli.errors import ArtifactError, DataError, SettingsError

CLASSES = (1, 2, 1, 3, 3, 1, 2)
NAMES = ("boat", "cat", "dog", "horse")  # of the last there is no image
SETTINGS = PromptSettings(prompt_length=3, epochs=4, batch_size=3, views=2, learning_rate=2.0, seed=5)


class InterruptedTraining(BaseException):
    """Stands for a user's Ctrl-C."""


def silent(done, total):
    pass


def regions_of(classes=CLASSES, views=2, seed=0):
    drawn = np.random.default_rng(seed).standard_normal((views, len(classes), 32)).astype(np.float32)
    return BackgroundRegions(drawn / np.linalg.norm(drawn, axis=-1, keepdims=True), np.array(classes, np.int64))


@pytest.fixture
def labels(tiny_engine):
    return tiny_engine.encode_texts([f"a photo of {name}." for name in NAMES])


@pytest.fixture
def train(tiny_engine, labels, tmp_path):
    def run(regions=None, name="state", progress=silent, fingerprint="f", every=50, **settings):
        learning = PromptLearning(tiny_engine, regions or regions_of(), labels, replace(SETTINGS, **settings))
        return learning.run(Checkpoint(tmp_path / name, fingerprint, every), progress)

    return run


@pytest.fixture
def start(tiny_engine):
    return lambda **settings: initial_vectors(tiny_engine, len(NAMES), replace(SETTINGS, **settings)).numpy()


def clip_hash(engine):
    digest = hashlib.sha256()
    for name, tensor in sorted(engine.model.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def test_the_prompts_change_and_nothing_of_clip_does(train, tiny_engine, start):
    before = clip_hash(tiny_engine)
    vectors, losses = train()
    assert vectors.shape == (4, 3, 64)
    assert vectors.dtype == np.float32
    assert clip_hash(tiny_engine) == before
    assert all(parameter.grad is None for parameter in tiny_engine.model.parameters())
    assert (np.abs(vectors - start())[:3].max(axis=(1, 2)) > 0.01).all()
    assert len(losses) == 4 * 3
    assert all(math.isfinite(loss) for loss in losses)


def test_a_class_without_images_keeps_its_start(train, start):
    vectors, _ = train(weight_decay=0.0)
    np.testing.assert_array_equal(vectors[3], start()[3])
    decayed, _ = train(name="b")
    ratio = decayed[3] / start()[3]
    assert ratio.max() < 1
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-5)


@pytest.mark.parametrize("mapping", ["clamp", "half"])
@pytest.mark.parametrize("repulsion", ["log-s", "log-one-minus-s"])
def test_the_first_loss_is_the_float64_account_of_it(train, tiny_engine, labels, start, mapping, repulsion):
    """All pairs in one batch, and as many views alike, so that neither order nor draw matters."""
    regions = regions_of(views=1)
    settings = {"similarity": mapping, "repulsion": repulsion, "lambda_t": 0.3, "batch_size": 100, "epochs": 1}
    _, (loss,) = train(regions, **settings)
    with torch.no_grad():
        prompts = PromptEncoder(tiny_engine)(torch.from_numpy(start())).numpy().astype(np.float64)
    total = 0.0
    for region, k in zip(regions.features[0].astype(np.float64), CLASSES, strict=True):
        cosines = np.array([region @ prompts[k - 1], labels[k - 1].numpy().astype(np.float64) @ prompts[k - 1]])
        to_region, to_label = np.clip(cosines if mapping == "clamp" else 0.5 + 0.5 * cosines, 1e-4, 1 - 1e-4)
        total -= np.log(to_region)
        total += 0.3 * np.log(to_label) if repulsion == "log-s" else -0.3 * np.log(1 - to_label)
    assert loss == pytest.approx(total / len(CLASSES), rel=1e-4)


def test_the_first_step_is_adamw_s(train, start):
    """Its first step is the rate times the gradient's sign, after a decay of rate · weight decay."""
    settings = {"epochs": 1, "batch_size": 100, "learning_rate": 0.512, "weight_decay": 0.5, "similarity": "half"}
    vectors, _ = train(**settings)
    rate = 0.512 * 100 / 512
    moved = (vectors - start() * (1 - rate * 0.5))[:3]
    assert (np.abs(np.abs(moved) - rate) < 1e-3).mean() > 0.95  # where the gradient is not tiny beside AdamW's ε


def test_one_text_pass_a_step_over_the_classes_of_its_batch(train, monkeypatch):
    passes, real = [], PromptEncoder.forward

    def spy(self, vectors):
        passes.append(len(vectors))
        return real(self, vectors)

    monkeypatch.setattr(PromptEncoder, "forward", spy)
    train(batch_size=100)
    assert passes == [3] * 4
    passes.clear()
    train(regions_of((2, 2, 2, 2)), name="b", batch_size=2)
    assert passes == [1] * 8


def test_every_epoch_sees_every_pair_once_in_a_new_order_and_draws_views(train, monkeypatch):
    batches, real, regions = [], PromptLearning._step, regions_of()

    def spy(self, features, classes):
        batches.append((features.numpy().copy(), classes.numpy().copy()))
        return real(self, features, classes)

    monkeypatch.setattr(PromptLearning, "_step", spy)
    train(regions, epochs=8)
    assert [len(classes) for _, classes in batches] == [3, 3, 1] * 8
    orders, views = [], []
    for epoch in range(8):
        features, classes = (np.concatenate(part) for part in zip(*batches[3 * epoch : 3 * epoch + 3], strict=True))
        where = [np.argwhere((regions.features == feature).all(axis=-1))[0].tolist() for feature in features]
        orders.append(tuple(pair for _, pair in where))
        views.extend(view for view, _ in where)
        assert sorted(orders[-1]) == list(range(7))
        assert classes.tolist() == [CLASSES[pair] - 1 for pair in orders[-1]]
    assert len(set(orders)) == 8
    assert 10 < sum(views) < 46  # of 56


def test_one_seed_gives_the_same_bytes_and_another_others(train):
    first, losses = train(name="a")
    torch.manual_seed(3)
    again, same = train(name="b")
    other, _ = train(name="c", seed=6)
    assert first.tobytes() == again.tobytes()
    assert losses == same
    assert first.tobytes() != other.tobytes()


@pytest.mark.parametrize("after", [1, 3, 7, 11])
def test_an_interrupted_training_resumes_to_the_same_bytes(train, after):
    whole, losses = train(name="whole")

    def stop(done, total):
        if done == after:
            raise InterruptedTraining

    with pytest.raises(InterruptedTraining):
        train(name="cut", progress=stop, every=1)
    seen = []
    resumed, again = train(name="cut", every=1, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(step, 12) for step in range(after + 1, 13)]
    assert resumed.tobytes() == whole.tobytes()
    assert again == losses


def test_a_training_that_was_cut_off_between_two_states_repeats_the_steps_since(train):
    whole, losses = train(name="whole")

    def stop(done, total):
        if done == 8:
            raise InterruptedTraining

    with pytest.raises(InterruptedTraining):
        train(name="cut", progress=stop, every=5)
    seen = []
    resumed, again = train(name="cut", every=5, progress=lambda done, total: seen.append(done))
    assert seen[0] == 6
    assert resumed.tobytes() == whole.tobytes()
    assert again == losses


def test_the_state_of_another_training_is_not_taken_up(train):
    train(every=1, fingerprint="one")
    seen = []
    train(fingerprint="two", progress=lambda done, total: seen.append(done))
    assert seen == list(range(1, 13))


def test_a_damaged_state_is_refused(train, tmp_path):
    (tmp_path / "state").write_bytes(b"nonsense")
    with pytest.raises(ArtifactError, match="delete it to train anew"):
        train()


def test_the_rate_falls_to_0_on_a_cosine(train, monkeypatch):
    rates, real = [], torch.optim.AdamW.step

    def spy(self, *args):
        rates.append(self.param_groups[0]["lr"])
        return real(self, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    train(regions_of((1, 2, 3, 1)), learning_rate=0.256, batch_size=2, epochs=2)
    assert rates == pytest.approx([0.001, 0.001 * 0.8535534, 0.0005, 0.001 * 0.1464466], rel=1e-5)


@pytest.mark.parametrize("classes", [(2,), (1, 2, 3, 1)])
def test_batches_of_one_pair(train, start, classes):
    vectors, losses = train(regions_of(classes), batch_size=1, weight_decay=0.0)
    assert len(losses) == 4 * len(classes)
    assert np.isfinite(vectors).all()
    changed = np.abs(vectors - start()).max(axis=(1, 2)) > 0
    assert changed.tolist() == [k in classes for k in (1, 2, 3, 4)]


@pytest.fixture
def opposite(tiny_engine, start):
    """Background regions that point away from where each prompt starts: cosines of -1, and a little more."""
    with torch.no_grad():
        prompts = PromptEncoder(tiny_engine)(torch.from_numpy(start()))
        drawn = torch.randn(prompts.shape, generator=torch.Generator().manual_seed(2))
        away = functional.normalize(-prompts + 0.1 * drawn, dim=-1)
    return BackgroundRegions(away[None, :3].numpy(), np.array((1, 2, 3), np.int64))


def test_a_negative_cosine_pulls_with_half_and_sticks_with_clamp(train, start, opposite):
    settings = {"lambda_t": 0.0, "weight_decay": 0.0, "epochs": 1}
    stuck, _ = train(opposite, name="a", similarity="clamp", **settings)
    np.testing.assert_array_equal(stuck, start())
    pulled, _ = train(opposite, name="b", similarity="half", **settings)
    assert (np.abs(pulled - start())[:3].max(axis=(1, 2)) > 0).all()


@pytest.mark.parametrize("first", ["uniform", "tokens"])
def test_prompts_come_near_to_the_backgrounds_and_off_their_classes(train, tiny_engine, labels, start, first):
    words = tiny_engine.encode_texts([f"a photo of {word}." for word in ("sea", "grass", "wall")]).numpy()
    regions = BackgroundRegions(np.stack([words, words]), np.array((1, 2, 3), np.int64))

    def cosines(vectors):
        with torch.no_grad():
            prompts = PromptEncoder(tiny_engine)(torch.from_numpy(vectors))[:3].numpy()
        return (prompts * words).sum(axis=1), (prompts * labels[:3].numpy()).sum(axis=1)

    vectors, losses = train(regions, start=first, epochs=60, learning_rate=5.0, lambda_t=0.0)
    pushed, _ = train(regions, name="b", start=first, epochs=60, learning_rate=5.0, lambda_t=1.0)
    assert losses[-1] < losses[0]
    to_background, to_label = cosines(vectors)
    assert (to_background > cosines(start(start=first))[0]).all()
    assert to_background.mean() > 0.9
    assert cosines(pushed)[1].mean() < to_label.mean()


def test_features_in_a_file_train_the_same(train, tmp_path):
    regions = regions_of()
    mapped = np.memmap(tmp_path / "regions", np.float32, "w+", shape=regions.features.shape)
    mapped[:] = regions.features
    inside, losses = train(regions, name="a")
    outside, same = train(BackgroundRegions(mapped, regions.class_indices), name="b")
    assert inside.tobytes() == outside.tobytes()
    assert losses == same


def test_no_pair_at_all_is_refused(train):
    with pytest.raises(DataError, match="no background region to learn from: label images with classes"):
        train(regions_of(()))


def test_prompts_that_do_not_fit_the_window_are_refused(train):
    with pytest.raises(SettingsError, match="give --prompt-length 10 or less"):
        train(prompt_length=11)


# Means and plateaus


def test_the_mean_of_an_epoch_is_over_its_pairs():
    losses = [1.0, 2.0, 6.0, 0.0, 0.0, 7.0, 5.0, 5.0]
    assert epoch_means(losses, num_pairs=7, batch_size=3) == pytest.approx([15 / 7, 1.0])  # 3 · 1 + 3 · 2 + 1 · 6
    assert epoch_means(losses, num_pairs=2, batch_size=9) == losses
    assert epoch_means(losses[:2], num_pairs=7, batch_size=3) == []
    assert epoch_means([], num_pairs=7, batch_size=3) == []


@pytest.mark.parametrize(
    ("means", "epochs"),
    [
        ([], 0),
        ([2.0], 0),
        ([2.0, 1.0, 0.5], 0),
        ([2.0, 2.0, 2.0], 2),
        ([1.0, 2.0, 3.0, 0.5], 0),
        ([1.0, 2.0, 0.5, 0.6, 0.5], 2),
        ([1.0, 0.9], 1),  # a tenth is what the tolerance asks to be passed
        ([1.0, 0.95, 0.89], 0),  # a slow fall adds up
        ([-1.0, -1.05], 1),
        ([-1.0, -1.05, -1.2], 0),
        ([0.0, 0.0], 1),
        ([math.nan, math.nan], 2),
        ([1.0, math.nan, 0.5], 0),
    ],
    ids=str,
)
def test_epochs_on_a_plateau(means, epochs):
    assert epochs_on_plateau(means, tolerance=0.1) == epochs


def test_the_tolerance_is_a_thousandth():
    assert epochs_on_plateau([1.0, 0.9991]) == 1
    assert epochs_on_plateau([1.0, 0.9989]) == 0


@pytest.fixture
def flat(monkeypatch):
    """The steps are real, and their losses are as if nothing more were learned from the second epoch on."""
    real = PromptLearning._step

    def step(self, regions, classes):
        real(self, regions, classes)
        return 2.0 if len(self._losses) < 3 else 1.0  # three steps an epoch

    monkeypatch.setattr(PromptLearning, "_step", step)


@pytest.fixture
def learning(tiny_engine, labels):
    def make(**settings):
        return PromptLearning(tiny_engine, regions_of(), labels, replace(SETTINGS, **settings))

    return make


@pytest.mark.parametrize(("patience", "stopped"), [(1, 3), (2, 4), (5, 7), (6, None), (7, None), (0, None)])
def test_a_plateau_stops_the_training_only_on_request(learning, flat, tmp_path, patience, stopped):
    ours, seen = learning(epochs=8, plateau_epochs=patience), []
    _, losses = ours.run(Checkpoint(tmp_path / "s", "f"), lambda done, total: seen.append((done, total)))
    assert ours.stopped_epoch == stopped
    assert len(losses) == 3 * (stopped or 8)
    assert seen[-1] == (len(losses), len(losses))
    assert seen[:-1][:3] == [(1, 24), (2, 24), (3, 24)]


def test_a_training_that_has_not_begun_has_not_stopped(learning):
    assert learning(plateau_epochs=1).stopped_epoch is None


def test_what_was_learned_before_a_plateau_is_what_it_would_have_been_without_the_request(learning, flat, tmp_path):
    """The rate follows the same cosine: only the end is cut off."""
    states = []

    def progress(done, total):
        if done == 9 and total == 24:
            states.append(ours._vectors.detach().numpy().copy())

    for patience in (0, 1):
        ours = learning(epochs=8, plateau_epochs=patience)
        vectors, _ = ours.run(Checkpoint(tmp_path / str(patience), "f"), progress)
    assert states[0].tobytes() == states[1].tobytes() == vectors.tobytes()


@pytest.mark.parametrize("after", [2, 4, 8, 9])
@pytest.mark.parametrize("every", [1, 3, 4])
def test_an_interrupted_training_stops_where_a_whole_one_does(learning, flat, tmp_path, after, every):
    whole, losses = learning(epochs=8, plateau_epochs=1).run(Checkpoint(tmp_path / "whole", "f"), silent)
    checkpoint = Checkpoint(tmp_path / "cut", "f", every)

    def stop(done, total):
        if done == after:
            raise InterruptedTraining

    with pytest.raises(InterruptedTraining):
        learning(epochs=8, plateau_epochs=1).run(checkpoint, stop)
    ours, seen = learning(epochs=8, plateau_epochs=1), []
    resumed, again = ours.run(checkpoint, lambda done, total: seen.append((done, total)))
    assert ours.stopped_epoch == 3
    assert (resumed.tobytes(), again) == (whole.tobytes(), losses)
    assert seen[-1] == (9, 9)


def test_real_losses_stop_on_a_plateau_to_the_same_bytes_each_time(learning, tmp_path):
    """Vectors that hardly move: the losses differ by the views that are drawn, and no more."""
    still = {"learning_rate": 1e-9, "epochs": 40, "plateau_epochs": 3}
    first, again = (learning(**still) for _ in range(2))
    vectors, losses = first.run(Checkpoint(tmp_path / "a", "f"), silent)
    assert again.run(Checkpoint(tmp_path / "b", "f"), silent)[0].tobytes() == vectors.tobytes()
    assert first.stopped_epoch == again.stopped_epoch == len(losses) // 3 < 40
    means = epoch_means(losses, 7, 3)
    assert epochs_on_plateau(means) == 3
    assert epochs_on_plateau(means[:-1]) == 2
