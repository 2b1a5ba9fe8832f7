"""Parts that last: their end is an error, unless it was wanted."""

import asyncio

import pytest

from hyperpi.lasting import PartEnded, lasting


async def ends() -> None:
    pass


async def is_cancelled_from_within() -> None:
    raise asyncio.CancelledError


async def fails() -> None:
    raise ValueError("as it does")


async def lasts() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("part", [ends, is_cancelled_from_within])
async def test_a_part_that_ends_by_itself_is_an_error_that_names_it(part):
    with pytest.raises(PartEnded, match="the link"):
        await lasting("the link", part())


async def test_a_part_that_fails_fails_as_it_does():
    with pytest.raises(ValueError, match="as it does"):
        await lasting("the link", fails())


async def test_a_group_is_told_of_a_part_that_was_cancelled_from_within():
    async def together() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(lasting("the rest", lasts()))
            tasks.create_task(lasting("the link", is_cancelled_from_within()))

    with pytest.raises(ExceptionGroup) as failed:
        await together()
    assert isinstance(failed.value.exceptions[0], PartEnded)


async def test_who_is_cancelled_from_outside_is_cancelled():
    task = asyncio.create_task(lasting("the link", lasts()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
