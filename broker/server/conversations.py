"""Connections of an operator's: so many at once, and none outlives its listener."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Conversations:
    """Has ``converse`` speak with each that comes, while there are at most ``most``.

    ``nobodys_fault``: errors that end a conversation without a word in the log. ``gave_way``: where
    it is given, the one that has lasted longest ends for who comes beyond ``most``, and this is
    told of it; else who comes is sent away.
    """

    def __init__(
        self,
        converse: Converse,
        *,
        most: int,
        nobodys_fault: tuple[type[Exception], ...],
        gave_way: Callable[[asyncio.StreamWriter], None] | None = None,
    ) -> None:
        self._converse = converse
        self._most = most
        self._nobodys_fault = nobodys_fault
        self._gave_way = gave_way
        # The oldest first.
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    async def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Somebody has connected; for asyncio's servers."""
        task = asyncio.current_task()
        assert task is not None
        if self._gave_way is not None and len(self._tasks) >= self._most:
            oldest = next(iter(self._tasks))
            self._gave_way(self._tasks.pop(oldest))
            oldest.cancel()
        self._tasks[task] = writer
        try:
            if len(self._tasks) <= self._most:
                await self._converse(reader, writer)
        except self._nobodys_fault:
            pass
        except asyncio.CancelledError:
            # Only from here. It goes no further: asyncio's streams would log it as an error.
            pass
        finally:
            self._tasks.pop(task, None)
            writer.close()

    async def close(self, server: asyncio.Server) -> None:
        """Takes no more, and ends what is being said."""
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
