"""Writes to a small disk and prints each acknowledgement, until a failpoint ends the process.

Arguments: folder, number of rounds. Output, one line each, after the commit returned:
`both N` (two records with payload N in one commit), `gone N` (round N's first record consumed).
"""

import asyncio
import os
import sys
from pathlib import Path

from disk_rig import ROW_PAYLOAD, small

from pxldisk import Append, Consume


def say(line: str) -> None:
    """Tell the parent, in one write: a kill must not leave half a line."""
    os.write(1, f"{line}\n".encode())


async def main(folder: Path, rounds: int) -> None:
    async with small(folder, max_banks=2, segment_bytes=3000) as disk:
        for number in range(rounds):
            # The second is long enough for two rows: its parts must not come apart either.
            pair = [
                Append("in", f"{number} first".encode(), kind="pair", key=f"{number}a"),
                Append("in", f"{number} second ".encode().ljust(ROW_PAYLOAD + 9, b"."), key=f"{number}b"),
            ]
            first, second = await disk.commit(pair)
            say(f"both {number}")
            assert first is not None
            assert second is not None
            await disk.commit([Consume(first)])
            say(f"gone {number}")
            if number > 1:
                (old,) = [r.ref for r in disk.scan("in") if r.payload.startswith(f"{number - 2} ".encode())]
                await disk.consume(old)
            if number % 4 == 3:
                await disk.snapshot()


asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
