"""The picture of a step's time."""

from xml.etree import ElementTree

from pipeline.profile_plots import Operator, StepTimes, plot_step

TIMES = StepTimes(
    {"backward": 6.0, "forward": 3.5, "batch": 0.5}, [Operator("aten::mm", 4.0, 5.0), Operator("aten::add", 2.0, 1.0)]
)


def _texts(path):
    """Read what the picture's comments say, where matplotlib keeps each text that it draws as shapes."""
    return path.read_text(encoding="utf-8")


def test_the_picture_names_every_part_with_its_time_and_large_ones_with_their_share(tmp_path):
    plot_step(TIMES, "toy: a step", tmp_path / "step.svg")
    drawn = _texts(tmp_path / "step.svg")
    ElementTree.fromstring(drawn)
    for text in ("toy: a step", "backward 6.00 ms", "60%", "forward 3.50 ms", "batch 0.50 ms", "aten::mm  (4.0 calls)"):
        assert f"<!-- {text} -->" in drawn
    assert "<!-- 5% -->" not in drawn, "too narrow to be written into"


def test_the_same_times_give_the_same_bytes(tmp_path):
    for name in ("a.svg", "b.svg"):
        plot_step(TIMES, "toy", tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_shares_are_of_all_parts():
    assert TIMES.total == 10.0
