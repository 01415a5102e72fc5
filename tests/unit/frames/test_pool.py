"""The thread pool for reading and inflating."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nd2._core.frames import pool

LATE = """
import threading
from nd2._core.frames import pool

def late():
    threading.main_thread().join()
    numbers = []
    pool.run([(numbers.append, i) for i in range(8)])
    pool.submit(numbers.append, 8).result()
    try:
        pool.submit(int, "x").result()
    except ValueError:
        print(sorted(numbers))

threading.Thread(target=late).start()
"""


def test_a_thread_that_outlives_the_main_thread_works_alone() -> None:
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (str(list(range(9))), "")


def test_all_calls_are_made_and_the_first_error_is_raised() -> None:
    numbers: list[int] = []
    pool.run([(numbers.append, i) for i in range(100)])
    assert sorted(numbers) == list(range(100))
    with pytest.raises(ZeroDivisionError):
        pool.run([(divmod, 1, 0), (numbers.append, 1)])
