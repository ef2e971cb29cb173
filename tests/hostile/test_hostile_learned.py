"""Files of prompts and of generators in every wrong state: each stops the command with one line that names it."""

from pathlib import Path

import numpy as np
import pytest
from bad_images import whole
from bad_learned import FILES, GENERATORS, PROMPTS
from surroundings import error_of, is_plain, semples, unharmed

from semples_cli.artifacts.generator_file import write_generator
from semples_cli.artifacts.prompts_file import write_prompts
from semples_cli.config import GeneratorSettings
from semples_cli.engine.generators.clip_head import ClipGenerator, build_clip_head
from semples_cli.steps.engine_source import engine_source
from semples_cli.steps.generator_weights import pack_generator
from semples_cli.types import ClassSet, PromptSet

CLASS_SET = ClassSet(("dog", "bird", "cat", "boat"))
SMALL = ["--device", "cpu", "--precision", "fp32", "--size", "40"]


@pytest.fixture(scope="module")
def good(tmp_path_factory, clip_engine):
    """The bytes of good prompts and of a good generator of the small CLIP."""
    folder, record = tmp_path_factory.mktemp("learned"), clip_engine.record
    prompts = PromptSet(
        class_names=CLASS_SET.names,
        prompt_names=CLASS_SET.prompt_names,
        vectors=np.random.default_rng(0).standard_normal((4, 2, 16)).astype(np.float32),
        clip_name=str(record["model"]),
        weights_hash=str(record["weights_sha256"]),
        quick_gelu=bool(record["quick_gelu"]),
        settings={"engine": engine_source(record)},
    )
    generator = ClipGenerator(clip_engine, build_clip_head(clip_engine, len(CLASS_SET), GeneratorSettings()))
    packed = pack_generator(generator, "refined", CLASS_SET, settings={}, curves={}, fingerprint="f")
    return {
        "--prompts": write_prompts(folder / "p.safetensors", prompts).read_bytes(),
        "--generator-weights": write_generator(folder / "g.safetensors", packed).read_bytes(),
    }


@pytest.fixture
def world(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(whole("PNG"))
    return tmp_path


def cams(world, option, path):
    with unharmed(world, world / "out"):
        result = semples("cams", world / "images", "--label", "dog", "--out", world / "out", option, path, *SMALL)
    assert not Path("hostile-was-here").exists()
    return result


def check(world, option, content, says):
    (world / "x.safetensors").write_bytes(content)
    result = cams(world, option, world / "x.safetensors")
    if not says:
        assert result.exit_code in (0, 1, 2), result.stderr
        return
    assert result.exit_code in (1, 2)
    line = error_of(result)
    assert "x.safetensors" in line or "--" in line
    assert says in line
    assert is_plain(line)
    assert len(line) < 1000
    assert not (world / "out").exists()


@pytest.mark.parametrize("option", ["--prompts", "--generator-weights"])
def test_the_good_ones_are_taken(world, good, option):
    (world / "x.safetensors").write_bytes(good[option])
    result = cams(world, option, world / "x.safetensors")
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("option", ["--prompts", "--generator-weights"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_container_is_named(world, good, name, option):
    change, says = FILES[name]
    check(world, option, change(good[option]), says)


@pytest.mark.parametrize("name", PROMPTS)
def test_prompts_that_say_the_wrong_things_are_named(world, good, name):
    change, says = PROMPTS[name]
    check(world, "--prompts", change(good["--prompts"]), says)


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_that_say_the_wrong_things_are_named(world, good, name):
    change, says = GENERATORS[name]
    check(world, "--generator-weights", change(good["--generator-weights"]), says)


def test_one_in_the_place_of_the_other_is_called_by_its_name(world, good):
    check(world, "--prompts", good["--generator-weights"], "this is a mask generator; give the prompts.safetensors")
    check(world, "--generator-weights", good["--prompts"], "not a mask generator of semples")


@pytest.mark.parametrize("option", ["--prompts", "--generator-weights"])
@pytest.mark.parametrize(
    "place", ["/dev/zero", "/dev/null", "/nowhere/x.safetensors", "/etc/passwd/x.safetensors", "/"]
)
def test_what_is_no_file_is_named_and_never_read(world, option, place):
    line = error_of(cams(world, option, place))
    assert place in line
    assert "again" in line  # learn or train it


@pytest.mark.parametrize("command", ["learn-prompts", "refine", "show"])
def test_other_commands_refuse_them_too(world, good, command, clip_dir):
    (world / "images/labels.csv").write_text("image,labels\na.png,dog\n")
    (world / "x.safetensors").write_bytes(FILES["cut-0.5"][0](good["--prompts"]))
    arguments = {
        "learn-prompts": ["learn-prompts", world / "images", "--prompt-length", 2, "--init", world / "x.safetensors"],
        "refine": ["refine", world / "images", "--prompts", world / "x.safetensors"],
        "show": ["prompts", "show", world / "x.safetensors"],
    }[command]
    place = world / ("out.safetensors" if command == "learn-prompts" else "out")
    out = [] if command == "show" else ["--out", place]
    weights = ["--weights", clip_dir, "--device", "cpu"] if command == "learn-prompts" else []
    with unharmed(world, place):
        result = semples(*arguments, *out, *weights)
    assert result.exit_code == 1, result.stderr
    assert "x.safetensors: not a readable safetensors file" in error_of(result)


def test_there_are_many_different_files(good):
    files = {change(good[option]) for change, _ in FILES.values() for option in good}
    prompts = {change(good["--prompts"]) for change, _ in PROMPTS.values()}
    generators = {change(good["--generator-weights"]) for change, _ in GENERATORS.values()}
    assert len(files) >= 2 * len(FILES) - 8  # some are the same whatever they were
    assert len(prompts) == len(PROMPTS)
    assert len(generators) == len(GENERATORS)
    assert len(files | prompts | generators) >= 110
