"""Progress callbacks: a part that is announced late is announced once, when it begins."""

from semples_cli.steps.progress import begin_late, silent, tqdm_progress


def test_a_late_part_is_announced_once_and_hears_everything():
    heard = []

    def begin(name):
        heard.append(name)
        return lambda done, total: heard.append((done, total))

    progress = begin_late(begin, "refining")
    assert heard == []
    progress(1, 2)
    progress(2, 2)
    assert heard == ["refining", (1, 2), (2, 2)]


def test_a_bar_is_drawn_on_stderr_and_silence_is_silent(capsys):
    tqdm_progress("cams")(1, 1)
    drawn = capsys.readouterr()
    assert (drawn.out, "cams" in drawn.err) == ("", True)
    silent(1, 1)
    assert capsys.readouterr() == ("", "")
