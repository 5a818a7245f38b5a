import math

from pipeline.messages import EpochResult, FileChannel, StepResult

STEP = StepResult(epoch=1, step=2, num_steps=3, loss=0.5, tokens_per_second=100.0)
EPOCH = EpochResult(epoch=1, metrics={"val/loss": math.inf}, is_best=True, is_last=False)


def test_messages_come_once_and_in_order(tmp_path):
    channel = FileChannel(tmp_path)
    assert channel.take() == []
    channel.emit(STEP)
    channel.emit(EPOCH)
    assert channel.take() == [STEP, EPOCH]
    assert channel.take() == []


def test_what_was_told_before_is_not_told_again(tmp_path):
    FileChannel(tmp_path).emit(STEP)
    channel = FileChannel(tmp_path)
    channel.emit(EPOCH)
    assert channel.take() == [EPOCH]


def test_half_a_line_waits_for_its_other_half(tmp_path):
    FileChannel(tmp_path / "whole").emit(STEP)
    line = (tmp_path / "whole" / "messages.jsonl").read_text()
    channel = FileChannel(tmp_path)
    (tmp_path / "messages.jsonl").write_text(line[:20])
    assert channel.take() == []
    (tmp_path / "messages.jsonl").write_text(line)
    assert channel.take() == [STEP]


def test_a_line_that_a_killed_worker_left_broken_is_passed_over(tmp_path):
    channel = FileChannel(tmp_path)
    (tmp_path / "messages.jsonl").write_text('["StepResult", {"epo')
    channel.emit(STEP)
    channel.emit(EPOCH)
    assert channel.take() == [EPOCH]


def test_a_wish_to_stop_arrives_and_the_next_training_begins_without_it(tmp_path):
    channel = FileChannel(tmp_path)
    assert not channel.must_stop()
    channel.ask_to_stop()
    assert channel.must_stop()
    assert not FileChannel(tmp_path).must_stop()
