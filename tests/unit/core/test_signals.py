import os
import signal

import pytest

from seglib.core.signals import StopRequest


@pytest.fixture(params=StopRequest.SIGNALS)
def number(request):
    """A signal that is noted in ``acted``, as it would act outside."""
    before = signal.signal(request.param, lambda *_: acted.append(request.param))
    acted.clear()
    yield request.param
    signal.signal(request.param, before)


acted = []


def test_a_request_is_noted_and_acts_again_afterwards(number):
    with StopRequest() as stop:
        assert stop.signal is None
        os.kill(os.getpid(), number)
        assert (stop.signal, acted) == (number, [])
    os.kill(os.getpid(), number)
    assert acted == [number]


def test_only_a_second_sigint_acts_at_once(number):
    with StopRequest() as stop:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        assert stop.signal == number
        assert acted == ([number] if number == signal.SIGINT else [])


def test_the_first_of_several_signals_counts():
    with StopRequest() as stop:
        for number in (signal.SIGUSR1, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert stop.signal == signal.SIGUSR1
