"""Brings a copy up to a disk that nobody writes, until a failpoint ends the process.

Arguments: folder of the disk, folder of the copy. Output, one line each, after a flush: the commit held.
"""

import os
import sys
from pathlib import Path

from pxldisk import Copy, Feed, NotInLog

PIECE_BYTES = 700


def main(source: Path, target: Path) -> None:
    copy = Copy(target)
    place = copy.place()
    try:
        feed = Feed(source, place)
    except NotInLog:
        raise SystemExit("the copy's place is not in the log") from None
    while (piece := feed.next(None, PIECE_BYTES)) is not None:
        copy.take(piece)
        copy.flush()
        os.write(1, f"{copy.commit}\n".encode())
    feed.close()
    copy.close()


main(Path(sys.argv[1]), Path(sys.argv[2]))
