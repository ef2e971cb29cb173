import sys

import pytest

from semples_cli.config import CRF_BACKENDS
from semples_cli.errors import EngineError
from semples_cli.functional.crf_backends import (
    MOST_SPARSE_LABELS,
    check_backend,
    choose_inference,
    infer_pydensecrf2,
    is_all_sparse,
    load_pydensecrf2,
)
from semples_cli.functional.sparse_crf import infer_sparse


@pytest.fixture
def missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)


@pytest.fixture
def present():
    pytest.importorskip("pydensecrf")


def test_what_is_asked_for_is_taken():
    for labels in (2, MOST_SPARSE_LABELS + 1, 21):
        assert choose_inference("sparse", labels) is infer_sparse
        assert choose_inference("pydensecrf2", labels) is infer_pydensecrf2


def test_auto_takes_sparse_matrices_for_few_labels(present):
    assert [choose_inference("auto", labels) for labels in (2, MOST_SPARSE_LABELS)] == [infer_sparse, infer_sparse]
    assert choose_inference("auto", MOST_SPARSE_LABELS + 1) is infer_pydensecrf2


def test_auto_takes_them_for_any_number_where_there_is_nothing_else(missing):
    assert choose_inference("auto", 2) is infer_sparse
    assert choose_inference("auto", 21) is infer_sparse


def test_whether_all_is_sparse(present):
    assert [is_all_sparse(backend) for backend in CRF_BACKENDS] == [False, True, False]


def test_whether_all_is_sparse_without_pydensecrf2(missing):
    assert [is_all_sparse(backend) for backend in CRF_BACKENDS] == [True, True, False]


def test_a_missing_backend_is_told_with_what_to_do(missing):
    cure = r"take --crf-backend sparse, or pip install pydensecrf2 \(Python < 3\.13, needs a C\+\+ compiler\)"
    for call in (load_pydensecrf2, lambda: check_backend("pydensecrf2")):
        with pytest.raises(EngineError, match=cure):
            call()
    check_backend("auto")
    check_backend("sparse")


def test_backends_that_are_there_pass(present):
    for backend in CRF_BACKENDS:
        check_backend(backend)
