"""Processes of their own for tests that race or kill them: ``with another_process(run_messages, told) as other:``.

They are forked from one process that has imported everything, which takes each of them milliseconds, not seconds.
What one does is a function of `tests.core.mains`; it speaks with the test over a pipe.
"""

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.core.mains"])
_PATIENCE = 60.0


@contextmanager
def _without_main() -> Iterator[None]:
    """A child runs its parent's program first, which Streamlit's AppTest may have made a page."""
    program, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program


class AnotherProcess:
    """It runs ``main(pipe, *args)``."""

    def __init__(self, main: Callable[..., None], *args: object) -> None:
        self._pipe, theirs = _forks.Pipe()
        self._process = _forks.Process(target=main, args=(theirs, *args), daemon=True)
        with _without_main():
            self._process.start()
        theirs.close()

    def tell(self, what: object) -> None:
        self._pipe.send(what)

    def hear(self) -> Any:
        """The next thing it says; EOFError when it ended instead."""
        assert self._pipe.poll(_PATIENCE), "the other process says nothing"
        return self._pipe.recv()

    def hear_rest(self) -> list[Any]:
        """What it had still said when it ended."""
        said = []
        while True:
            try:
                said.append(self.hear())
            except (EOFError, OSError):
                return said

    def kill(self) -> None:
        """As ``kill -9`` does."""
        self._process.kill()
        self._process.join()

    def wait(self) -> int | None:
        """Until it ends by itself; gives its exit code."""
        self._process.join(_PATIENCE)
        return self._process.exitcode

    def close(self) -> None:
        self.kill()
        self._process.close()
        self._pipe.close()


@contextmanager
def another_process(main: Callable[..., None], *args: object) -> Iterator[AnotherProcess]:
    process = AnotherProcess(main, *args)
    try:
        yield process
    finally:
        process.close()


def run_at_once(main: Callable[..., None], *args: tuple[object, ...]) -> list[list[Any]]:
    """Run a process for each of these arguments; all go at the same moment. Gives what each said; none may fail."""
    with ExitStack() as stack:
        processes = [stack.enter_context(another_process(main, *given)) for given in args]
        assert [process.hear() for process in processes] == ["ready"] * len(processes)
        for process in processes:
            process.tell("go")
        said = [process.hear_rest() for process in processes]
        assert [process.wait() for process in processes] == [0] * len(processes)
    return said
