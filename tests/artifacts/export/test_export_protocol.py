"""What exporters are given: settings that refuse what is no choice, images that name their files."""

from pathlib import Path

import numpy as np
import pytest

from semples_cli.artifacts.export.protocol import ExportImage, ExportSettings
from semples_cli.errors import SettingsError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"instances": "none"}, "--instances none: choose one of class, components"),
        ({"shard_size": 0}, "--shard-size 0: 1 megabyte or more"),
    ],
)
def test_what_is_no_choice_is_refused_as_the_option_is_called(values, message):
    with pytest.raises(SettingsError, match=f"^{message}$"):
        ExportSettings(**values)


@pytest.mark.parametrize(
    ("sample_id", "path", "name"),
    [("a/1", "/data/a/1.JPG", "a/1.JPG"), ("1.v2", "1.v2.png", "1.v2.png"), ("Übung", "x/Übung.tif", "Übung.tif")],
)
def test_the_name_in_an_index_is_the_id_with_the_suffix_of_the_file(sample_id, path, name):
    assert ExportImage(sample_id, Path(path), np.zeros((1, 1), np.uint8)).file_name == name
