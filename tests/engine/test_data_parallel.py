"""Two processes over gloo against one: gradients, trainings, prompts, states; and who refuses what.

Floats are added in another order, and nothing else differs: gradients agree within 1e-5 of their largest value, weights
and curves after a training of a few steps within 1e-4.
"""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import rank_tasks
import torch
from rank_tasks import everything, learn, stop, train, train_in_two_parts

from semples_cli.engine import data_parallel
from semples_cli.engine.data_parallel import ALONE, Ranks, join_ranks, launched, leave_ranks, own_device
from semples_cli.engine.tower_features import DropPath
from semples_cli.errors import EngineError, SettingsError

OBJECTIVES = ("classification", "regions", "fitting", "weaktr", "weaktr-regions")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def one(tiny_engine, tmp_path_factory):
    """What one process comes to."""
    return everything(tiny_engine, ALONE, tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def two(tiny_engine, tiny_dir, folder):
    """What each of two processes comes to; one process has begun some of it before."""
    train_in_two_parts(tiny_engine, ALONE, folder / "left-by-one", one_part=True)
    with pytest.raises(rank_tasks.InterruptedTraining):
        learn(tiny_engine, ALONE, folder / "prompts-left-by-one", every=1, progress=stop)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = Path(rank_tasks.__file__)
    done = subprocess.run(
        [*command, str(script), str(tiny_dir), str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=False) for rank in range(2)]


def assert_close(one, other, tolerance):
    """Within `tolerance` of the largest value."""
    assert set(one) == set(other)
    for name, tensor in one.items():
        if tensor is None:
            assert other[name] is None, name
        else:
            assert (tensor - other[name]).abs().max() <= tolerance * tensor.abs().max() + 1e-11, name


def assert_same_training(one, other):
    (weights, curves), (others, other_curves) = one, other
    assert_close(weights, others, 1e-4)
    assert {name: len(values) for name, values in curves.items()} == {n: len(v) for n, v in other_curves.items()}
    for name, values in curves.items():
        assert other_curves[name] == pytest.approx(values, rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("batch_size", [5, 1])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradients_are_those_of_one_process(one, two, objective, batch_size):
    """A batch that does not divide, with an image that cannot be read; and one that leaves a process without image."""
    gradients, curves = one["gradients"][batch_size][objective]
    assert any(gradient is not None and gradient.any() for gradient in gradients.values())
    for each in two:
        found, terms = each["gradients"][batch_size][objective]
        assert_close(gradients, found, 1e-5)
        for name, values in curves.items():
            assert terms[name] == pytest.approx(values, rel=1e-5), name


@pytest.mark.parametrize("stage", ["initial", "refined"])
def test_a_training_ends_in_the_weights_of_one_process(one, two, stage):
    for each in two:
        assert_same_training(one[stage], each[stage])


def test_processes_agree_to_the_bit_and_so_does_another_run(two):
    first, second = two
    for name in ("initial", "refined"):
        assert all(torch.equal(tensor, second[name][0][key]) for key, tensor in first[name][0].items())
        assert first[name][1] == second[name][1]
    assert all(torch.equal(tensor, first["again"][0][key]) for key, tensor in first["initial"][0].items())
    assert first["prompts"][0].tobytes() == second["prompts"][0].tobytes()


def test_background_regions_are_shared_out_in_order(one, two):
    features, classes, first = one["regions"]
    assert first == 0
    parts = [each["regions"] for each in two]
    np.testing.assert_allclose(np.concatenate([part[0] for part in parts], axis=1), features, atol=1e-6)
    for part in parts:
        np.testing.assert_array_equal(part[1], classes)
    assert [part[2] for part in parts] == [0, parts[0][0].shape[1]]
    assert all(0 < part[0].shape[1] < features.shape[1] for part in parts)


def test_prompts_are_those_of_one_process(one, two):
    vectors, losses, lone = one["prompts"]
    for each in two:
        np.testing.assert_allclose(each["prompts"][0], vectors, rtol=1e-3, atol=1e-4)
        assert each["prompts"][1] == pytest.approx(losses, rel=1e-4)
        np.testing.assert_allclose(each["prompts"][2], lone, rtol=1e-3, atol=1e-4)


def test_two_processes_go_on_where_one_or_two_were_cut_off(tiny_engine, two, tmp_path):
    whole = train(tiny_engine, ALONE, tmp_path / "state")
    for each in two:
        assert_same_training(whole, each["continued"])
        assert_same_training(whole, each["whole"])


def test_one_process_goes_on_where_two_were_cut_off(tiny_engine, two, folder, tmp_path):
    seen = []
    continued = train(tiny_engine, ALONE, folder / "left-by-two", progress=lambda done, total: seen.append(done))
    assert seen[0] == rank_tasks.STOP_AFTER + 1
    assert_same_training(train(tiny_engine, ALONE, tmp_path / "state"), continued)


def test_prompts_go_on_with_another_number_of_processes(one, two):
    for each in two:
        np.testing.assert_allclose(each["learned-on"][0], one["prompts"][0], rtol=1e-3, atol=1e-4)
        assert each["learned-on"][1] == pytest.approx(one["prompts"][1], rel=1e-4)


def test_what_processes_tell_one_another(two):
    for each in two:
        assert each["gathered"] == [{"rank": 0}, {"rank": 1}]
        assert each["refused"] == "process 0 refuses"
        assert each["same"]
        everywhere, last_alone, nowhere = each["summed"]
        assert torch.equal(everywhere, 3 * torch.arange(6.0).reshape(2, 3))
        assert torch.equal(last_alone, torch.ones(4))
        assert nowhere is None


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 16])
def test_shares_adjoin_and_differ_by_one_at_most(size, count):
    shares = [Ranks(rank, size).share(count) for rank in range(size)]
    assert [i for share in shares for i in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_one_process_asks_nobody():
    parameter = torch.nn.Parameter(torch.zeros(2))
    ALONE.sum_gradients([parameter])
    assert parameter.grad is None
    assert ALONE.is_main
    assert ALONE.gather("a") == ["a"]
    assert ALONE.from_main(lambda: 3) == 3
    leave_ranks()  # nothing to leave


def test_what_images_of_other_processes_draw_is_passed_over_once():
    whole = DropPath(0.5, torch.Generator().manual_seed(0)).draw(7, 3)
    ours = DropPath(0.5, torch.Generator().manual_seed(0), before=2)
    parts = [ours.draw(4, 3), ours.draw(1, 3)]
    for layer in range(3):
        for half in range(2):
            assert torch.equal(torch.cat([part[layer][half] for part in parts]), whole[layer][half][2:])


@pytest.fixture
def torchrun(monkeypatch):
    """The environment of a process that torchrun started."""

    def start(rank=0, size=2, **variables):
        values = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size}
        values |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1, **variables}
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))

    return start


def test_without_torchrun_there_is_one_process(monkeypatch, torchrun):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert launched() == (0, 1)
    assert join_ranks(torch.device("cpu")) is ALONE
    torchrun(size=1)
    assert join_ranks(torch.device("cpu")) is ALONE
    torchrun(1, 4)
    assert launched() == (1, 4)
    monkeypatch.delenv("MASTER_PORT")
    assert launched() == (0, 1)


def test_an_environment_that_is_no_torchrun_s_is_refused(torchrun):
    torchrun("first")
    with pytest.raises(SettingsError, match="RANK is 'first', and no number: start the processes by torchrun"):
        launched()


def test_each_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch, torchrun):
    assert own_device("auto") == "auto"
    torchrun(5, 8, LOCAL_RANK=1, LOCAL_WORLD_SIZE=4)
    assert own_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert own_device("auto") == own_device("cuda") == "cuda:1"
    assert own_device("cpu") == "cpu"
    with pytest.raises(SettingsError, match=r"--device cuda:2: torchrun started 4 .* give --device cuda or leave"):
        own_device("cuda:2")
    torchrun(1, 2, LOCAL_RANK=0, LOCAL_WORLD_SIZE=1)
    assert own_device("cuda:2") == "cuda:2"
    torchrun(4, 5)
    with pytest.raises(EngineError, match=r"started 5 processes .* torch sees 4 GPUs: give --nproc-per-node as many"):
        own_device("cuda")


def test_others_that_never_come_are_said(monkeypatch, torchrun):
    monkeypatch.setattr(data_parallel, "FORMING", timedelta(seconds=1))
    torchrun(1, 2)
    with pytest.raises(EngineError, match=r"process 1 of 2 did not find the others at 127.0.0.1:1 .* GLOO_SOCKET_IF"):
        join_ranks(torch.device("cpu"))


def test_another_process_s_end_is_said_without_the_network_s_words(monkeypatch):
    waited = []
    monkeypatch.setattr(data_parallel.time, "sleep", waited.append)

    def broken(*args, **kwargs):
        msg = "Connection closed by peer. This is typical\nin gloo/transport"
        raise RuntimeError(msg)

    for name in ("all_gather_object", "broadcast_object_list", "all_reduce"):
        monkeypatch.setattr(torch.distributed, name, broken)
    for call in (
        lambda: Ranks(1, 2).gather(0),
        lambda: Ranks(1, 2).from_main(dict),
        lambda: Ranks(1, 2).sum_gradients([torch.zeros(1)]),
    ):
        with pytest.raises(EngineError, match=r"another process .* has ended \(Connection closed by peer\); its own"):
            call()
    assert waited == [data_parallel.GRACE] * 3
