"""Which records the keys of a disk stand for, as commits go by. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from . import superblock
from .plan import Image
from .rows import key_of, seq_of
from .values import RowRef


def keys_after(keys: Mapping[str, RowRef], images: Iterable[Image]) -> dict[str, RowRef]:
    """The keys, oldest first, once these rows were written in this order.

    A key stands for the first record stored with it, even when the record's row is used again. But a row
    that goes back to an older record, or to none, was restored: whatever was stored there since has not
    happened, and its key may be used again.
    """
    known = dict(keys)
    in_row: defaultdict[tuple[int, int], list[tuple[int, str]]] = defaultdict(list)
    for seq, key, ref in sorted((ref.seq, key, ref) for key, ref in known.items()):
        in_row[ref.bank, ref.row].append((seq, key))
    for image in images:
        if image.row in superblock.ROWS:
            continue
        stored = in_row[image.bank, image.row]
        seq = seq_of(image.content) if image.content else 0
        while stored and stored[-1][0] > seq:
            del known[stored.pop()[1]]
        found = key_of(image.content)
        if found is not None and found[1] not in known:
            known[found[1]] = RowRef(image.bank, image.row, seq)
            stored.append((seq, found[1]))
    return known
