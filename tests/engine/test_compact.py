import numpy as np
import pytest
import torch
from tiny_clip import TINY_CONFIG, make_tiny_model

from semples_cli.config import EngineSettings
from semples_cli.engine.build import build_engine
from semples_cli.engine.compact import expand_token_table, save_compact_model_dir, seeded_token_table
from semples_cli.engine.weights import read_state_dict
from semples_cli.errors import EngineError

TEXTS = ["a photo of a boat.", "sea"]
PAD, START, END = 0, 49406, 49407


@pytest.fixture
def engine_of():
    return lambda folder: build_engine(EngineSettings(weights=str(folder), device="cpu", precision="fp32"))


def rows_of(engine, texts):
    return {int(i) for i in engine.tokenizer(texts).unique()}


def test_texts_of_the_stored_tokens_and_images_come_back_bit_for_bit(tmp_path, tiny_engine, tiny_model, engine_of):
    rows = rows_of(tiny_engine, TEXTS)
    assert {PAD, START, END} < rows
    save_compact_model_dir(tiny_model, TINY_CONFIG, rows, tmp_path / "small", licence="Apache-2.0")
    small = engine_of(tmp_path / "small")
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert torch.equal(small.encode_texts(TEXTS), tiny_engine.encode_texts(TEXTS))
    assert torch.equal(small.encode_images([image]), tiny_engine.encode_images([image]))
    assert (small.record["model"], small.record["licence"]) == ("small", "Apache-2.0")
    assert not torch.equal(small.encode_texts(["tractor"]), tiny_engine.encode_texts(["tractor"]))


def test_only_the_named_rows_are_stored_under_their_ids(tmp_path, tiny_model):
    save_compact_model_dir(tiny_model, TINY_CONFIG, [9, 3, 9], tmp_path)
    stored = read_state_dict(tmp_path / "open_clip_model.safetensors")
    assert stored["semples_token_rows"].tolist() == [3, 9]
    assert torch.equal(stored["token_embedding.weight"], tiny_model.token_embedding.weight[[3, 9]])
    assert (tmp_path / "open_clip_model.safetensors").stat().st_size < 2_000_000


def test_a_model_frozen_at_the_seeded_table_comes_back_whole(tmp_path, engine_of):
    model = make_tiny_model()
    with torch.no_grad():
        model.token_embedding.weight.copy_(seeded_token_table(49408, 64))
    save_compact_model_dir(model, TINY_CONFIG, [START], tmp_path)
    back = engine_of(tmp_path).model.state_dict()
    assert all(torch.equal(back[name], tensor) for name, tensor in model.state_dict().items())


def test_the_missing_rows_are_seeded_and_normal():
    table = expand_token_table(
        {"token_embedding.weight": torch.ones(1, 64), "semples_token_rows": torch.tensor([5])}, 49408
    )["token_embedding.weight"]
    assert (table[5] == 1).all()
    assert torch.equal(table[6:], seeded_token_table(49408, 64)[6:])
    assert table[6:].std() == pytest.approx(0.02, rel=0.01)
    assert table[6:].mean() == pytest.approx(0, abs=1e-4)


def test_the_seeded_table_does_not_depend_on_the_global_seed():
    torch.manual_seed(1)
    first = seeded_token_table(100, 8)
    torch.manual_seed(2)
    assert torch.equal(first, seeded_token_table(100, 8))


def test_a_full_state_dict_is_left_as_it_is():
    state = {"token_embedding.weight": torch.ones(3, 2)}
    assert expand_token_table(state, 3) is state


@pytest.mark.parametrize("rows", [[], [-1, 4], [49408]])
def test_impossible_token_ids_are_refused(tmp_path, tiny_model, rows):
    with pytest.raises(EngineError, match=r"token ids to keep must lie in 0\.\.49407"):
        save_compact_model_dir(tiny_model, TINY_CONFIG, rows, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rows", "table"),
    [
        (torch.tensor([1, 2]), torch.ones(3, 4)),
        (torch.tensor([1, 10]), torch.ones(2, 4)),
        (torch.tensor([-1]), torch.ones(1, 4)),
        (torch.tensor([], dtype=torch.int64), torch.ones(0, 4)),
    ],
)
def test_damaged_rows_are_refused(rows, table):
    with pytest.raises(EngineError, match="stored token rows do not fit"):
        expand_token_table({"token_embedding.weight": table, "semples_token_rows": rows}, 10)


def test_rows_without_a_table_are_refused():
    with pytest.raises(EngineError, match="stored token rows do not fit: 1 ids for a table of 0 rows"):
        expand_token_table({"semples_token_rows": torch.tensor([1])}, 10)
