"""A terminal's recording as asciinema has it: https://docs.asciinema.org/manual/asciicast/v2/. Blocking."""

import codecs
from itertools import pairwise

from hyperpi import strict_json
from node.keeping import recording
from node.spawn import TerminalSize

PIECE_BYTES = 512 << 10  # of output in one answer


def lines_of(folder: str, offset: int) -> tuple[list[str], int | None]:
    """Lines that begin at `offset` (the first ones with the header), and where the next ones do; None: all
    told. Offsets are those of the output's bytes.
    """
    start, end = recording.extent(folder)
    stamps = list(recording.timeline(folder, start))
    if not stamps:
        return [], None
    begun_us = stamps[0][1]
    lines: list[str] = []
    size = TerminalSize()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    output = [stamp for stamp in stamps if not stamp[2]]
    ends = {at: following for (at, *_), (following, *_) in pairwise(output)}
    told = 0
    for at, time_us, cols, rows in stamps:
        seconds = (time_us - begun_us) / 1e6
        if cols and at <= start:
            size = TerminalSize(cols, rows)
        elif at < offset or (cols and at == offset):  # a size at the border was told with the piece before
            continue
        elif cols:
            lines.append(_line([seconds, "r", f"{cols}x{rows}"]))
        elif told >= PIECE_BYTES and not decoder.getstate()[0]:  # not within a character
            return _headed(lines, size, begun_us, first=offset <= start), at
        else:
            found, shown = recording.read_on(folder, at, ends.get(at, end) - at)
            told += len(shown)
            if found == at and (text := decoder.decode(shown)):
                lines.append(_line([seconds, "o", text]))
    return _headed(lines, size, begun_us, first=offset <= start), None


def _headed(lines: list[str], size: TerminalSize, begun_us: int, *, first: bool) -> list[str]:
    if not first:
        return lines
    header = {"version": 2, "width": size.cols, "height": size.rows, "timestamp": begun_us // 10**6}
    return [_line(header), *lines]


def _line(value: object) -> str:
    return strict_json.encode(value).decode()
