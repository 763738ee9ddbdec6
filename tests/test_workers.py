"""Work in other processes: order, errors, and killed processes."""

import os
import signal
import statistics
import subprocess
import sys
import time

import pytest

from rwgen import InvalidInputError, WorkerError
from rwgen.seeds import check_seed
from rwgen.workers import CALLS_PER_PROCESS, process_runner, ray_runner


def slowest_first(number):
    time.sleep(0.2 if number == 0 else 0)
    return number, os.getpid()


def fail_on_two(number):
    if number == 2:
        raise InvalidInputError("expected anything but two. Received: 2")
    return number


def complain(number):
    os.write(2, b"a line of TensorFlow's start")
    print("downloading")
    return number, signal.getsignal(signal.SIGINT)


def die(_number):
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_come_in_order_from_other_processes():
    with process_runner(2) as run:
        results = list(run(slowest_first, range(2 * CALLS_PER_PROCESS + 4)))
    assert [number for number, _ in results] == list(range(2 * CALLS_PER_PROCESS + 4))
    processes = {process for _, process in results}
    assert os.getpid() not in processes
    assert len(processes) > 2  # replaced after some calls


def test_what_other_processes_say_is_not_shown_and_interrupts_end_them(capfd):
    with process_runner(1) as run:
        assert list(run(complain, [3])) == [(3, signal.SIG_DFL)]
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "downloading\n")


def test_an_error_of_a_call_is_the_callers():
    with pytest.raises(InvalidInputError, match="anything but two"), process_runner(1) as run:
        list(run(fail_on_two, range(4)))


def test_a_process_that_is_killed_is_reported():
    with pytest.raises(WorkerError, match="killed"), process_runner(1) as run:
        list(run(die, range(2)))


@pytest.mark.parametrize("number", [0, -1, 1.0, True])
def test_the_number_of_workers_is_checked(number):
    with pytest.raises(InvalidInputError, match="workers"), process_runner(number):
        pass


def test_without_ray_the_way_to_install_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InvalidInputError, match=r"rwgen\[ray\]"), ray_runner("local"):
        pass


@pytest.mark.slow
def test_a_local_ray_gives_the_same_and_passes_errors_on():
    pytest.importorskip("ray", reason="the extra rwgen[ray] is not installed")

    def use_ray():
        with ray_runner("local") as run:
            # Functions that its processes can import.
            assert list(run(statistics.median, [[1, 2, 6], [3], [5, 4]])) == [2, 3, 4.5]
            list(run(check_seed, [1, 2, -1]))

    with pytest.raises(InvalidInputError, match="seed"):
        use_ray()


def test_no_cluster_at_an_address_is_one_line():
    pytest.importorskip("ray", reason="the extra rwgen[ray] is not installed")
    with (
        pytest.raises(InvalidInputError, match=r"127\.0\.0\.1:1") as caught,
        ray_runner("127.0.0.1:1"),
    ):
        pass
    assert len(str(caught.value).splitlines()) == 1


PARENT = """
import os, time
from rwgen.workers import process_runner

def tell(_):
    print(os.getpid(), flush=True)
    time.sleep(120)

if __name__ == "__main__":
    with process_runner(1) as run:
        list(run(tell, [0]))
"""


def test_processes_end_when_their_parent_is_killed(tmp_path):
    file = tmp_path / "parent.py"
    file.write_text(PARENT)
    with subprocess.Popen([sys.executable, file], stderr=subprocess.PIPE) as parent:
        assert int(parent.stderr.readline()) != parent.pid
        parent.kill()
        # The worker holds the pipe too, so it is closed only when the worker ends.
        parent.communicate(timeout=60)
