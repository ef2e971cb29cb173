"""Ctrl-C as a terminal sends it, to a command and its workers: once, twice, and in the midst of a training."""

import json
import signal
import time

import pytest
from commands import outcome, unfinished

ENGINE = ("--device", "cpu", "--precision", "fp32")


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("nothing happened")
        time.sleep(0.002)


def lines_of(out):
    path = out / ".semples/manifest.jsonl"
    return path.read_bytes().splitlines() if path.exists() else []


def check_stopped(ended, out):
    """Exit code, summary, and a manifest that is true."""
    assert ended.code == 130
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    entries = [json.loads(line) for line in lines_of(out)]
    assert 0 < len(entries) < 600
    assert {entry["id"] for entry in entries} == {path.stem for path in out.iterdir() if path.is_file()}
    assert f"{len(entries)} items written" in ended.stderr
    assert f"interrupted with {600 - len(entries)} left; what is written is complete, run the same" in ended.stderr
    assert unfinished(out) == []
    assert not list(out.rglob("*.partial"))


def commands(out, many, weights):
    return {
        "cams": ("cams", "--data", many, "--weights", weights, "--batch-size", "8", *ENGINE, "--out", out),
        "crf": ("crf", out.parent / "seeds", "--workers", "2", "--crf-backend", "sparse", "--out", out),
        "processes": ("crf", out.parent / "seeds", "--workers", "2", "--crf-backend", "pydensecrf2", "--out", out),
        "irn": ("export", out.parent / "seeds", "--to", "irn", "--out", out),
    }


@pytest.mark.parametrize("name", ["cams", "processes"])
def test_once_finishes_what_is_in_hand_and_the_same_command_goes_on(semples, many, weights, place, name):
    line = commands(place(), many, weights)
    if name != "cams":
        assert semples.run(*line["cams"][:-1], place("seeds")).code == 0
    out = place()
    running = semples.start(*line[name])
    wait_for(lambda: len(lines_of(out)) > 40)
    running.signal(signal.SIGINT)
    ended = running.end()
    check_stopped(ended, out)
    assert "Ctrl-C: finishing what is in hand; once more stops at once" in ended.stderr
    again = semples.run(*line[name])
    assert again.code == 0
    resumed = outcome(out)
    whole = place("whole")
    assert semples.run(*line[name][:-1], whole).code == 0
    assert resumed == outcome(whole)


@pytest.mark.faults
@pytest.mark.parametrize("name", ["crf", "irn"])
def test_once_of_the_others(semples, many, weights, place, name):
    test_once_finishes_what_is_in_hand_and_the_same_command_goes_on(semples, many, weights, place, name)


def test_twice_stops_at_once_and_nothing_is_half_written(semples, many, weights, place):
    line, out = commands(place(), many, weights)["cams"], place()
    running = semples.start(*line)
    wait_for(lambda: len(lines_of(out)) > 40)
    running.signal(signal.SIGINT)
    wait_for(lambda: "once more stops at once" in running.stderr or len(lines_of(out)) == 600)
    running.signal(signal.SIGINT)
    ended = running.end()
    assert ended.code == 130
    assert "Traceback" not in ended.stderr
    assert unfinished(out) == []
    assert semples.run(*line).code == 0
    assert len(list(out.glob("*.png"))) == 600


@pytest.mark.parametrize("command", [pytest.param("train-generator", marks=pytest.mark.faults), "learn-prompts"])
def test_a_training_keeps_its_state_and_resumes_to_the_same_weights(semples, world, weights, place, command):
    more = {
        "train-generator": ("--generator", "clip_head", "--epochs", "60", "--batch-size", "4"),
        "learn-prompts": (
            "--cams",
            place("seeds"),
            "--epochs",
            "100",
            "--batch-size",
            "8",
            "--prompt-length",
            "4",
            "--min-images",
            "1",
        ),
    }[command]
    given = ("--data", world, "--weights", weights, *ENGINE)
    if command == "learn-prompts":
        assert semples.run("cams", *given, "--out", place("seeds")).code == 0
    folder = place()
    folder.mkdir()
    whole, out = folder / "whole.safetensors", folder / "out.safetensors"
    assert semples.run(command, *given, *more, "--out", whole).code == 0
    running = semples.start(command, *given, *more, "--out", out)
    state = out.with_name("out.safetensors.state")
    wait_for(lambda: state.exists() or out.exists())
    assert not out.exists()
    stored = state.read_bytes()
    running.signal(signal.SIGINT)
    ended = running.end()
    assert ended.code == 130
    assert "interrupted; what is written is complete, run the same command again to go on" in ended.stderr
    assert state.read_bytes() != stored  # of the very step, and not only of each fiftieth
    assert semples.run(command, *given, *more, "--out", out).code == 0
    assert out.read_bytes() == whole.read_bytes()
    assert not state.exists()
