"""Lines that anybody can bring about: the first at once, the others counted."""

from __future__ import annotations

import asyncio

from broker.server.gathering import Gathered


def test_the_first_is_said_at_once_and_those_that_follow_are_counted() -> None:
    async def bring_about() -> list[int]:
        said: list[int] = []
        gathered = Gathered(said.append, seconds=0.05)
        for _ in range(100):
            gathered.note()
        assert said == [1]
        await asyncio.sleep(0.3)
        assert said == [1, 99], "nothing is said of nothing"
        gathered.note()
        assert said == [1, 99, 1]
        gathered.note()
        gathered.stop()
        await asyncio.sleep(0.1)
        return said

    assert asyncio.run(bring_about()) == [1, 99, 1, 1]
