import math

from pipeline.messages import EpochResult, Messages, StepResult, tell

STEP = StepResult(epoch=1, step=2, num_steps=3, loss=0.5, tokens_per_second=100.0)
EPOCH = EpochResult(epoch=1, metrics={"val/loss": math.inf}, is_best=True, is_last=False)


def test_messages_come_once_and_in_order(tmp_path):
    path = tmp_path / "messages.jsonl"
    messages = Messages(path)
    assert messages.take() == []
    tell(path, STEP)
    tell(path, EPOCH)
    assert messages.take() == [STEP, EPOCH]
    assert messages.take() == []


def test_what_was_told_before_is_not_told_again(tmp_path):
    path = tmp_path / "messages.jsonl"
    tell(path, STEP)
    messages = Messages(path)
    tell(path, EPOCH)
    assert messages.take() == [EPOCH]


def test_half_a_line_waits_for_its_other_half(tmp_path):
    path = tmp_path / "messages.jsonl"
    messages = Messages(path)
    tell(tmp_path / "whole", STEP)
    line = (tmp_path / "whole").read_text()
    path.write_text(line[:20])
    assert messages.take() == []
    path.write_text(line)
    assert messages.take() == [STEP]


def test_a_line_that_a_killed_worker_left_broken_is_passed_over(tmp_path):
    path = tmp_path / "messages.jsonl"
    messages = Messages(path)
    path.write_text('["StepResult", {"epo')
    tell(path, STEP)
    tell(path, EPOCH)
    assert messages.take() == [EPOCH]
