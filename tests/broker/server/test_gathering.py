"""Lines that anybody can bring about: the first at once, the others counted."""

from __future__ import annotations

import asyncio

from broker.server.gathering import Gathered


def test_the_first_is_said_at_once_and_those_that_follow_are_counted() -> None:
    async def bring_about() -> list[tuple[int, str]]:
        said: list[tuple[int, str]] = []
        gathered = Gathered[str](lambda *told: said.append(told), seconds=0.05)
        for number in range(100):
            gathered.note(f"{number}")
        assert said == [(1, "0")]
        await asyncio.sleep(0.3)
        assert said == [(1, "0"), (99, "99")], "nothing is said of nothing"
        gathered.note("a")
        assert said[2:] == [(1, "a")]
        gathered.note("b")
        gathered.stop()
        await asyncio.sleep(0.1)
        return said

    assert asyncio.run(bring_about())[2:] == [(1, "a"), (1, "b")]
