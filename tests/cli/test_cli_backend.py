import pytest
from typer.testing import CliRunner

from semples_cli.cli.app import app
from semples_cli.cli.backend import Cluster, read_backend
from semples_cli.errors import SettingsError


def test_what_is_asked_for():
    assert read_backend("local", None, 1, None) is None
    assert read_backend("local", None, 1, "1/2") is None
    assert read_backend("ray", None, 1, None) == Cluster(None, 1)
    assert read_backend("ray", 8, 4, None) == Cluster(8, 4)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("ray", None, 1, "1/2"), "--shard 1/2 and --backend ray, which does all shards"),
        (("local", 8, 1, None), "are for --backend ray"),
        (("local", None, 4, None), "are for --backend ray"),
    ],
)
def test_options_of_the_other_backend_are_refused(given, said):
    with pytest.raises(SettingsError, match=said):
        read_backend(*given)


def test_workers_are_of_this_process():
    assert read_backend("local", None, 1, None, 3) is None
    with pytest.raises(SettingsError, match="--workers 3 is for --backend local: say by --ray-cpus"):
        read_backend("ray", None, 1, None, 3)


@pytest.mark.parametrize("command", ["cams", "crf", "export"])
def test_other_backends_are_refused_by_name(command, tmp_path):
    done = CliRunner().invoke(app, [command, str(tmp_path), "--out", str(tmp_path / "out"), "--backend", "dask"])
    assert done.exit_code == 2
    assert "choose one of local, ray" in " ".join(done.stderr.replace("│", " ").split())
