"""Some processes that stand for those of torchrun: same environment, one start for many tests.

A function that they run must be importable, and so must be what it takes and returns.
"""

import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from torch import distributed

from tests.unit import forked

LIMIT_S = 600


class Processes:
    def __init__(self, count: int):
        self.pipes, self.processes = [], []
        for rank in range(count):
            ours, theirs = forked.CONTEXT.Pipe()
            process = forked.CONTEXT.Process(target=_serve, args=(rank, count, theirs), daemon=True)
            process.start()
            self.pipes.append(ours)
            self.processes.append(process)

    def run(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """What ``function`` returns in each process; where it raises, its exception."""
        # As torchrun's agent does, this process offers the meeting point, at a port that is surely free.
        store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        for pipe in self.pipes:
            pipe.send((store.port, function, arguments))
        answers = []
        for pipe in self.pipes:
            assert pipe.poll(LIMIT_S), f"no answer within {LIMIT_S} s"
            answers.append(pipe.recv())
        return answers

    def close(self) -> None:
        for process in self.processes:
            process.kill()


def _serve(rank: int, count: int, pipe: Connection) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    while True:
        port, function, arguments = pipe.recv()
        os.environ["MASTER_PORT"] = str(port)
        try:
            answer = function(*arguments)
        except (Exception, SystemExit) as error:
            answer = error
        pipe.send(answer)
