"""Report files: exact contents, round trip, and refusals."""

import dataclasses
import json

import numpy as np
import pytest

from semples_cli.artifacts.report_files import read_report, report_as_dict, write_report
from semples_cli.errors import ArtifactError
from semples_cli.types import Report

NAN = float("nan")


def make_report(**changes):
    third = 1 / 3
    report = Report(
        class_names=("background", "dining table", 'a "b", ü'),
        iou=np.array([0.5, third, NAN]),
        precision=np.array([1.0, 0.25, NAN]),
        recall=np.array([0.75, 0.125, NAN]),
        fp_rate=np.array([0.0, 0.1, NAN]),
        fn_rate=np.array([0.5, 0.2, NAN]),
        miou=(0.5 + third) / 2,
        num_classes_averaged=2,
        pixel_accuracy=0.9,
        confusion=np.array([[5, 1, 0, 2], [1, 2**40, 0, 0], [0, 0, 0, 0]]),
        coverage=0.95,
        num_images=7,
    )
    return dataclasses.replace(report, **changes)


CURVE = ((0.0, 0.1), (0.29, 1 / 3), (1.0, NAN))


def assert_same(one, other):
    for field in dataclasses.fields(Report):
        np.testing.assert_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"missing": ("a/1", "b"), "background_score": 0.29, "curve": CURVE},
        {"miou": NAN, "num_classes_averaged": 0, "pixel_accuracy": NAN, "coverage": NAN, "num_images": 0},
    ],
)
def test_round_trip(tmp_path, changes):
    report = make_report(**changes)
    path = write_report(tmp_path / "report", report)
    assert path == tmp_path / "report" / "report.json"
    again = read_report(path)
    assert_same(again, report)
    assert again.confusion.dtype == np.int64
    assert again.iou.dtype == np.float64


def test_the_document():
    document = report_as_dict(make_report(missing=("a/1",), background_score=0.29, curve=CURVE))
    assert document == {
        "format_version": 1,
        "miou": (0.5 + 1 / 3) / 2,
        "num_classes_averaged": 2,
        "pixel_accuracy": 0.9,
        "coverage": 0.95,
        "num_images": 7,
        "background_score": 0.29,
        "iou": {"background": 0.5, "dining table": 1 / 3, 'a "b", ü': None},
        "precision": {"background": 1.0, "dining table": 0.25, 'a "b", ü': None},
        "recall": {"background": 0.75, "dining table": 0.125, 'a "b", ü': None},
        "fp_rate": {"background": 0.0, "dining table": 0.1, 'a "b", ü': None},
        "fn_rate": {"background": 0.5, "dining table": 0.2, 'a "b", ü': None},
        "missing": ["a/1"],
        "curve": [
            {"background_score": 0.0, "miou": 0.1},
            {"background_score": 0.29, "miou": 1 / 3},
            {"background_score": 1.0, "miou": None},
        ],
        "confusion": [[5, 1, 0, 2], [1, 2**40, 0, 0], [0, 0, 0, 0]],
    }
    assert list(document["iou"]) == ["background", "dining table", 'a "b", ü']


def test_nan_becomes_null_in_the_file(tmp_path):
    path = write_report(tmp_path, make_report(miou=NAN, curve=CURVE))
    text = path.read_text(encoding="utf-8")
    assert "NaN" not in text
    assert json.loads(text)["miou"] is None


def test_csv_files_by_the_byte(tmp_path):
    write_report(tmp_path, make_report(curve=CURVE))
    assert (tmp_path / "report.csv").read_text(encoding="utf-8") == (
        "class,iou,precision,recall,fp_rate,fn_rate\n"
        "background,0.5,1.0,0.75,0.0,0.5\n"
        "dining table,0.3333333333333333,0.25,0.125,0.1,0.2\n"
        '"a ""b"", ü",,,,,\n'
    )
    assert (tmp_path / "confusion.csv").read_text(encoding="utf-8") == (
        'ground truth,background,dining table,"a ""b"", ü",ignore (255)\n'
        "background,5,1,0,2\n"
        "dining table,1,1099511627776,0,0\n"
        '"a ""b"", ü",0,0,0,0\n'
    )
    assert (tmp_path / "curve.csv").read_text(encoding="utf-8") == (
        "background_score,miou\n0.0,0.1\n0.29,0.3333333333333333\n1.0,\n"
    )


def test_a_curve_of_an_earlier_report_does_not_stay(tmp_path):
    write_report(tmp_path, make_report(curve=CURVE))
    write_report(tmp_path, make_report())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["confusion.csv", "report.csv", "report.json"]


def test_a_missing_report(tmp_path):
    with pytest.raises(ArtifactError, match=r"report\.json: cannot read this report: No such file"):
        read_report(tmp_path / "report.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format_version": 1, "miou"', "damaged .*run semples evaluate again"),
        ('{"format_version": 1}', "damaged .*'iou'.*run semples evaluate again"),
        ('{"format_version": 2}', "report of format 2, but this semples reads 1: run semples evaluate again"),
        ("[]", "report of format None"),
    ],
)
def test_a_report_that_cannot_be_read(tmp_path, text, message):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ArtifactError, match=message):
        read_report(tmp_path / "report.json")


def test_a_report_with_a_wrong_kind_of_value(tmp_path):
    path = write_report(tmp_path, make_report())
    document = json.loads(path.read_text(encoding="utf-8"))
    document["recall"] = [1, 2, 3]
    path.write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match="damaged"):
        read_report(path)


def test_missing_names_that_are_no_utf_8_come_back_as_they_were(tmp_path):
    report = make_report(missing=("\udcff", "ä"))
    assert read_report(write_report(tmp_path, report)).missing == ("\udcff", "ä")
