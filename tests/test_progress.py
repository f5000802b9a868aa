import pytest

from gmadet_nb import progress as progress_module
from gmadet_nb.progress import Ticker, format_seconds, progress


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(progress_module.time, "monotonic", lambda: Clock.now)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    return Clock


def test_items_come_through_unchanged():
    assert list(progress([3, 1, 2])) == [3, 1, 2]
    assert list(progress(iter("ab"))) == ["a", "b"]


def test_a_short_loop_prints_nothing(clock, capsys):
    for _ in progress(range(100), label="exposures"):
        clock.now += 0.01
    assert capsys.readouterr().out == ""


def test_a_long_loop_prints_few_lines_with_count_rate_and_time_left(clock, capsys):
    for _ in progress(range(800), label="exposures"):
        clock.now += 0.125
    lines = capsys.readouterr().out.splitlines()
    # 100 s in all: a line each 5 s and 5 % makes 20.
    assert len(lines) == pytest.approx(20, abs=1)
    assert lines[0] == "exposures: 40 of 800, 8/s, 1 min 35 s left"
    assert lines[-1].startswith("exposures: 800 of 800, 8/s, ")
    assert lines[-1].endswith("1 min 40 s")


def test_a_slow_step_shows_that_it_is_alive(clock, capsys):
    ticker = Ticker(1000, "epochs")
    clock.now += 61
    ticker.tick(note="loss 0.2")
    line = capsys.readouterr().out
    assert line == "epochs: 1 of 1000, 61 s each, 16 h 55 min left, loss 0.2\n"


def test_an_unknown_total_is_counted(clock, capsys):
    ticker = Ticker(None, "")
    for _ in range(3):
        clock.now += 5
        ticker.tick()
    ticker.close()
    assert capsys.readouterr().out.splitlines()[-1] == "3, 5 s each, 15 s"


def test_an_interrupted_loop_shows_how_far_it_came(clock, capsys):
    def stop_at(limit):
        for item in progress(range(100), label="exposures"):
            clock.now += 1
            if item == limit:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_at(2)
    assert capsys.readouterr().out.startswith("exposures: 2 of 100")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.96, "10.0 s"), (59.7, "1 min 00 s"), (3725, "1 h 02 min")],
)
def test_durations_read_well(seconds, text):
    assert format_seconds(seconds) == text
