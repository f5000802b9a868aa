import os
import time

import pytest

from gmadet_nb.campaign.compute import map_exposures
from gmadet_nb.errors import BadImageError, BadParameterError, GmadetError


def square_slowly(item, *, offset=0):
    time.sleep(0.05 * (3 - item))
    return item**2 + offset


def refuse_two(item):
    if item == 2:
        raise BadImageError("2 is no image.")
    return item


def show_threads(item):
    return os.getpid(), os.environ["OMP_NUM_THREADS"]


def die(item):
    os._exit(1)


@pytest.mark.parametrize("compute", ["serial", "processes"])
def test_results_come_in_the_order_of_the_items(compute):
    results = map_exposures(
        square_slowly, [0, 1, 2, 3], compute=compute, n_workers=2, label="x", offset=1
    )
    assert results == [1, 2, 5, 10]


@pytest.mark.parametrize("compute", ["serial", "processes"])
def test_an_error_of_one_item_comes_through(compute):
    with pytest.raises(BadImageError, match=r"2 is no image\."):
        map_exposures(refuse_two, [1, 2, 3], compute=compute, n_workers=2, label="x")


def test_workers_use_one_thread_each_and_the_parent_keeps_its_own(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    results = map_exposures(show_threads, [1, 2], n_workers=2, label="x")
    assert {threads for _, threads in results} == {"1"}
    assert os.getpid() not in {pid for pid, _ in results}
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_dead_worker_is_one_clear_error():
    with pytest.raises(GmadetError, match="compute: serial"):
        map_exposures(die, [1, 2], n_workers=2, label="exposures")


def test_nothing_to_do_gives_an_empty_list():
    assert map_exposures(die, [], label="exposures") == []


def test_an_unknown_choice_is_refused():
    with pytest.raises(BadParameterError, match="processes, serial"):
        map_exposures(die, [1], compute="dask", label="x")
