"""The rows of a disk as they are held in memory: plan a commit, apply it once it is durable.

Sans-IO. `plan` reserves rows and lays records out; readers see nothing of it until `apply`, which
the caller does when the plan's images are safely in the journal, in journal order. A plan that
could not be stored is abandoned. One owner and no awaits: every method is atomic on an event loop.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from . import rows, superblock
from .errors import Corrupt, RowTooLarge, StaleRef, UnknownZone, ZoneFull, ZoneOwned
from .indexing import Found, decode_rows
from .keys import keys_after
from .plan import Applied, Entry, Image, Plan, Stroke
from .png import Grid, Picture
from .rows import Row, Sheet, State
from .superblock import Superblock
from .values import Append, Consume, Damage, Record, RowChange, RowDescription, RowRef, ZoneStats
from .zones import Ring, Zone


class Memory:
    """All banks of one disk, and the index of their records."""

    def __init__(self, folder: Path, block: Superblock, *, max_payload: int, keep_keys: int) -> None:
        """`folder` is only for the words of errors; `block` tells the size and the zones."""
        self.folder = folder
        self.grid = Grid(block.width, block.height)
        self.zones: Mapping[str, Zone] = block.zones
        self.max_payload = max_payload
        self.keep_keys = keep_keys
        self.next_seq = block.next_seq
        self.keys: dict[str, RowRef] = {}
        self.pictures: dict[int, Picture] = {}
        self.superblocks: dict[int, Superblock] = {}
        self._live: dict[str, dict[int, Entry]] = {name: {} for name in block.zones}
        self._rings: dict[tuple[int, str], Ring] = {}
        self._occupants: dict[int, list[Entry | None]] = {}
        self._broken: dict[int, dict[int, Damage]] = {}  # bank, head row: why its record is unreadable
        self._reserved: dict[int, frozenset[int]] = {}  # rows that damage keeps from being used
        self._pending_keys: dict[str, tuple[RowRef, Plan]] = {}
        self._zone_of: list[str | None] = [None] * self.grid.height
        for name, zone in block.zones.items():
            for row in zone.rows:
                self._zone_of[row] = name
        self._capacity = rows.capacity(self.grid.row_bytes)
        self.damage: dict[int, list[Damage]] = {}

    # -- banks ---------------------------------------------------------------------------------

    def add_bank(self, block: Superblock, picture: Picture) -> None:
        """Take a bank in, or take it in again: index its records, find its damage."""
        number = block.bank
        self._forget_bank(number)
        self.pictures[number] = picture
        self.superblocks[number] = block
        self.next_seq = max(self.next_seq, block.next_seq)
        decoded, damage = decode_rows(number, picture)
        self.damage[number] = damage
        found = Found(number, self.grid, decoded, {d.row: d for d in damage})
        self._broken[number] = found.broken
        self._reserved[number] = frozenset(found.reserved | found.broken.keys())
        occupants = self._occupants[number] = [None] * self.grid.height
        for head, parts in found.records:
            self._index(number, decoded, head, parts, occupants)
        self._make_rings(number, decoded)
        for zone, entries in self._live.items():
            self._live[zone] = dict(sorted(entries.items()))

    def remember(self, keys: Iterable[tuple[str, RowRef]]) -> None:
        """Note keys of records stored earlier, oldest first; only the newest `keep_keys` are kept."""
        for key, ref in keys:
            self.keys.setdefault(key, ref)
        while len(self.keys) > self.keep_keys:
            del self.keys[next(iter(self.keys))]

    def keys_in_rows(self) -> list[tuple[str, RowRef]]:
        """Keys that the rows themselves still show, oldest first."""
        entries = {id(e): e for bank in self._occupants.values() for e in bank if e is not None and e.key}
        return [(e.key, e.ref) for e in sorted(entries.values(), key=lambda e: e.ref.seq) if e.key]

    def _forget_bank(self, number: int) -> None:
        for entries in self._live.values():
            for seq in [seq for seq, entry in entries.items() if entry.ref.bank == number]:
                del entries[seq]

    def _index(
        self,
        bank: int,
        decoded: Sequence[Row | None],
        head: int,
        parts: tuple[int, ...],
        occupants: list[Entry | None],
    ) -> None:
        row, zone = decoded[head], self._zone_of[head]
        if row is None or zone is None:
            return
        ref = RowRef(bank, head, row.seq)
        entry = Entry(ref, zone, row.kind, row.owner, row.key, row.at_us, parts, row.state)
        for part in parts:
            occupants[part] = entry
        self.next_seq = max(self.next_seq, row.seq + 1)
        if row.state is State.LIVE:
            self._live[zone][row.seq] = entry

    def _make_rings(self, bank: int, decoded: Sequence[Row | None]) -> None:
        for name, zone in self.zones.items():
            used = [(row.seq, row.part, at) for at in zone.rows if (row := decoded[at]) is not None]
            taken = [at for at in zone.rows if at in self._reserved[bank] or self._is_live(bank, at)]
            self._rings[bank, name] = Ring(zone.rows, taken, max(used)[2] if used else None)

    def _is_live(self, bank: int, row: int) -> bool:
        entry = self._occupants[bank][row]
        return entry is not None and entry.state is State.LIVE

    # -- planning ------------------------------------------------------------------------------

    def pending(self, items: Sequence[Append | Consume]) -> Plan | None:
        """A plan, not yet durable, that stores a record with the key of one of these items."""
        if not self._pending_keys:
            return None
        for item in items:
            if isinstance(item, Append) and item.key is not None and item.key in self._pending_keys:
                return self._pending_keys[item.key][1]
        return None

    def plan(self, items: Sequence[Append | Consume], at_us: int) -> Plan:
        """Reserve rows and lay out a commit. `pending(items)` must be None.

        Raises UnknownZone, ZoneOwned, ZoneFull, RowTooLarge, StaleRef, Corrupt, ValueError;
        then nothing is reserved.
        """
        plan = Plan(at_us)
        tails: list[Image] = []
        try:
            for item in items:
                if isinstance(item, Append):
                    plan.refs.append(self._plan_append(plan, item, tails))
                else:
                    self._plan_consume(plan, item.ref, tails)
                    plan.refs.append(None)
        except BaseException:
            self.abandon(plan)
            raise
        # Continuation rows first: whoever reads the file meanwhile never follows a head to nothing.
        plan.images[:0] = tails
        return plan

    def plan_images(
        self, images: Sequence[Image], at_us: int, *, foreign: bool = False, next_seq: int = 0
    ) -> Plan:
        """Lay out a commit that replaces rows as they are. Nothing else may be in flight."""
        assert not self._pending_keys
        banks = frozenset(image.bank for image in images)
        return Plan(at_us, images=list(images), reread=banks, foreign=foreign, next_seq=next_seq)

    def plan_bank(self, block: Superblock, picture: Picture) -> Plan:
        """Lay out the commit that makes a bank; until it is durable nobody stores anything in the bank."""
        content = superblock.encode(block, self.grid.row_bytes)
        images = [Image(block.bank, row, content) for row in superblock.ROWS]
        return replace(self.plan_images(images, block.made_us), bank=(block, picture))

    def abandon(self, plan: Plan) -> None:
        """Give back what a plan reserved that was not stored."""
        for entry in plan.added:
            self._rings[entry.ref.bank, entry.zone].give_back(entry.rows)
            if entry.key is not None:
                del self._pending_keys[entry.key]
        for entry in plan.consumed:
            entry.leaving = False

    def room(self, zone: str, count: int = 1) -> bool:
        """Whether a record of `count` rows fits now. Raises UnknownZone, ValueError: it never will."""
        if zone not in self.zones:
            raise UnknownZone(zone, tuple(self.zones))
        if count > len(self.zones[zone].rows):
            raise ValueError(f"{count} rows: zone {zone!r} has {len(self.zones[zone].rows)}")
        return any(self._rings[bank, zone].free >= count for bank in self.pictures)

    def full(self, zone: str, now_us: int) -> ZoneFull:
        """The error that says how long the oldest record of the zone has waited."""
        oldest = next(iter(self._live[zone].values()), None)
        if oldest is None:  # every row of it is damaged, or waits for a commit in flight
            return ZoneFull(zone, 0.0, None, None)
        return ZoneFull(zone, self._oldest_age_s(zone, now_us), self._file(oldest.ref.bank), oldest.ref.row)

    def _plan_append(self, plan: Plan, item: Append, tails: list[Image]) -> RowRef:
        if item.key is not None:
            if (first := self.keys.get(item.key)) is not None:
                return first
            if (same := self._pending_keys.get(item.key)) is not None:
                assert same[1] is plan, "the key is in flight; wait for that plan"
                return same[0]
        sheet = self._sheet(item, plan.at_us)
        count = 1 if len(sheet.body) <= self._capacity else -(-len(sheet.body) // self._capacity)
        bank = self._bank_with_room(item.zone, count, plan.at_us)
        taken = self._rings[bank, item.zone].take(count)
        ref = RowRef(bank, taken[0], sheet.seq)
        self.next_seq += 1
        entry = Entry(ref, item.zone, item.kind, item.owner, item.key, plan.at_us, tuple(taken))
        plan.added.append(entry)
        if item.key is not None:
            self._pending_keys[item.key] = (ref, plan)
        images = [
            Image(bank, row, content) for row, content in rows.encode(sheet, taken, self.grid.row_bytes)
        ]
        plan.images.append(images[0])
        tails += images[1:]
        return ref

    def _plan_consume(self, plan: Plan, ref: RowRef, tails: list[Image]) -> None:
        entry = self._entry(ref)
        if entry.state is not State.LIVE or entry.leaving:
            raise StaleRef(self._file(ref.bank), ref.row, ref.seq, "already consumed")
        entry.leaving = True
        plan.consumed.append(entry)
        picture = self.pictures[ref.bank]
        images = [Image(ref.bank, row, rows.consumed(picture.row(row))) for row in entry.rows]
        plan.images.append(images[0])
        tails += images[1:]

    def _sheet(self, item: Append, at_us: int) -> Sheet:
        zone = self.zones.get(item.zone)
        if zone is None:
            raise UnknownZone(item.zone, tuple(self.zones))
        if zone.owner is not None and item.owner != zone.owner:
            raise ZoneOwned(item.zone, zone.owner)
        payload = item.payload if type(item.payload) is bytes else bytes(memoryview(item.payload))
        owner, key = _text(item.owner, "owner"), _text(item.key, "key")
        kind = item.kind.encode("ascii")
        if not 0 < len(kind) <= rows.MAX_KIND_BYTES or b"\x00" in kind:
            raise ValueError(f"kind {item.kind!r}: 1 to {rows.MAX_KIND_BYTES} ASCII characters")
        if len(owner) + len(key) > self._capacity:
            raise RowTooLarge(len(owner) + len(key), self._capacity, "owner and key")
        limit = min(self.max_payload, self._capacity * len(zone.rows) - len(owner) - len(key))
        if len(payload) > limit:
            raise RowTooLarge(len(payload), limit)
        body = owner + key + payload if owner or key else payload
        return Sheet(self.next_seq, at_us, kind, len(owner), len(key), body)

    def _bank_with_room(self, zone: str, count: int, now_us: int) -> int:
        for bank in self.pictures:
            if self._rings[bank, zone].free >= count:
                return bank
        raise self.full(zone, now_us)

    # -- applying ------------------------------------------------------------------------------

    def apply(self, plans: Sequence[Plan]) -> Applied:
        """Make durable plans visible, in journal order."""
        touched: list[tuple[int, int]] = []
        changes: list[RowChange] = []
        freed: set[str] = set()
        for plan in plans:
            if plan.bank is not None:
                self.add_bank(*plan.bank)
            for image in plan.images:
                self.pictures[image.bank].write(image.row, image.content)
                touched.append((image.bank, image.row))
            if plan.reread:
                changes += self._reread(plan)
                freed.update(self.zones)
            self._apply_added(plan.added, changes)
            self._apply_consumed(plan.consumed, changes, freed)
        return Applied(tuple(changes), tuple(touched), frozenset(freed))

    def _apply_added(self, added: Iterable[Entry], changes: list[RowChange]) -> None:
        for entry in added:
            bank, seq = entry.ref.bank, entry.ref.seq
            occupants = self._occupants[bank]
            for row in entry.rows:
                self._evict(occupants, row)
                occupants[row] = entry
                changes.append(RowChange(bank, row, State.LIVE, entry.kind, seq))
            self._live[entry.zone][seq] = entry
            if entry.key is not None:
                del self._pending_keys[entry.key]
                self.remember([(entry.key, entry.ref)])

    def _apply_consumed(self, consumed: Iterable[Entry], changes: list[RowChange], freed: set[str]) -> None:
        for entry in consumed:
            entry.state = State.CONSUMED
            entry.leaving = False
            del self._live[entry.zone][entry.ref.seq]
            self._rings[entry.ref.bank, entry.zone].give_back(entry.rows)
            freed.add(entry.zone)
            for row in entry.rows:
                change = RowChange(entry.ref.bank, row, State.CONSUMED, entry.kind, entry.ref.seq)
                changes.append(change)

    def _reread(self, plan: Plan) -> list[RowChange]:
        for bank in plan.reread:
            block = superblock.decode(self.pictures[bank].row(superblock.ROWS[0]))
            self.add_bank(block, self.pictures[bank])
        self.next_seq = max(self.next_seq, plan.next_seq)
        if plan.foreign:
            self.keys.clear()
        # As when the log is read: in memory no key may count that is forgotten when the disk is opened again.
        self.keys = keys_after(self.keys, plan.images)
        self.remember(())
        described = [self.describe(image.bank, image.row) for image in plan.images]
        return [RowChange(d.bank, d.row, d.state, d.kind, d.seq) for d in described]

    def _evict(self, occupants: list[Entry | None], row: int) -> None:
        former = occupants[row]
        if former is not None:
            for part in former.rows:
                if occupants[part] is former:
                    occupants[part] = None

    def strokes(self, touched: Sequence[tuple[int, int]]) -> tuple[Stroke, ...]:
        """What to write into the files so that these rows, (bank, row), are as they are here.

        Rows that follow one another take one stroke; each picture's seal comes after its rows.
        """
        strokes: list[Stroke] = []
        for bank, first, last in _runs(touched):
            strokes.append(Stroke(bank, *self.pictures[bank].span(first, last)))
        for bank in {bank for bank, _ in touched}:
            picture = self.pictures[bank]
            strokes.append(Stroke(bank, picture.sealed_at, picture.seal()))
        return tuple(strokes)

    # -- superblocks ---------------------------------------------------------------------------

    def stamp(self, bank: int, commit: int) -> tuple[tuple[Stroke, ...], tuple[Stroke, ...]]:
        """Note in a bank's superblock that its picture holds every commit up to `commit`.

        Two groups of strokes: the first must be on the medium before the second is painted, so
        that a power cut never tears both copies.
        """
        picture = self.pictures[bank]
        block = replace(self.superblocks[bank], checkpoint=commit, next_seq=self.next_seq)
        self.superblocks[bank] = block
        content = superblock.encode(block, self.grid.row_bytes)
        for row in superblock.ROWS:
            picture.write(row, content)
        first, second = (Stroke(bank, *picture.span(row, row)) for row in superblock.ROWS)
        return (first,), (second, Stroke(bank, picture.sealed_at, picture.seal()))

    def stamped(self, bank: int, commit: int) -> Picture:
        """A copy of the bank's picture that says which commit it holds."""
        picture = self.pictures[bank].copy()
        block = replace(self.superblocks[bank], checkpoint=commit, next_seq=self.next_seq)
        for row in superblock.ROWS:
            picture.write(row, superblock.encode(block, self.grid.row_bytes))
        picture.seal()
        return picture

    # -- reading -------------------------------------------------------------------------------

    def read(self, ref: RowRef) -> Record:
        """A record that is live, or consumed and not yet overwritten. Raises StaleRef, Corrupt."""
        return self._record(self._entry(ref))

    def scan(self, zone: str, after: int = 0) -> Iterator[Record]:
        """The live records of a zone with a sequence number above `after`, in that order."""
        if zone not in self.zones:
            raise UnknownZone(zone, tuple(self.zones))
        entries = [entry for seq, entry in self._live[zone].items() if seq > after]
        return (self._record(entry) for entry in entries if entry.state is State.LIVE)

    def describe(self, bank: int, row: int) -> RowDescription:
        """One row as an inspector shows it."""
        zone = self._zone_of[row]
        if row in superblock.ROWS:
            return RowDescription(bank, row, zone, State.LIVE, "superblock")
        try:
            found = rows.decode(self.pictures[bank].row(row))
        except rows.BadRow:
            return RowDescription(bank, row, zone, State.DAMAGED)
        if found is None:
            return RowDescription(bank, row, zone, State.FREE)
        return RowDescription(
            bank,
            row,
            zone,
            found.state,
            found.kind,
            found.seq,
            found.part,
            found.parts,
            len(found.body),
            found.at_us / 1e6,
            found.owner,
            found.key,
        )

    def zone_stats(self, zone: str, now_us: int) -> ZoneStats:
        """Count the rows of one zone over all banks."""
        free = live = consumed = damaged = 0
        for bank, picture in self.pictures.items():
            bad = {damage.row for damage in self.damage[bank]}
            for row in self.zones[zone].rows:
                code = picture.image[self.grid.pixels_at(row) + 1]
                damaged += row in bad
                live += row not in bad and code == rows.CODES[State.LIVE]
                consumed += row not in bad and code == rows.CODES[State.CONSUMED]
            free += self._rings[bank, zone].free
        age_s = self._oldest_age_s(zone, now_us)
        return ZoneStats(free, live, consumed, damaged, len(self._live[zone]), age_s)

    def broken(self, bank: int) -> list[Damage]:
        """Why records of this bank cannot be read."""
        return list(self._broken[bank].values())

    def unusable(self, bank: int) -> frozenset[int]:
        """Rows that cannot be read, and rows of records that miss a part."""
        return self._reserved[bank]

    def record_at(self, bank: int, row: int) -> Record:
        """The record a row belongs to. Raises StaleRef if there is none, Corrupt."""
        entry = self._occupants[bank][row]
        return self.read(RowRef(bank, row, 0) if entry is None else entry.ref)

    def live_in(self, bank: int, rows_: Iterable[int]) -> int:
        """How many live records have any of these rows."""
        occupants = self._occupants[bank]
        found = (occupants[row] for row in rows_)
        return len({id(e) for e in found if e is not None and e.state is State.LIVE})

    def _file(self, bank: int) -> Path:
        return self.folder / f"{bank}.png"

    def _oldest_age_s(self, zone: str, now_us: int) -> float:
        oldest = next(iter(self._live[zone].values()), None)
        # The wall clock may have been set back since the record was stored.
        return 0.0 if oldest is None else max(0.0, (now_us - oldest.at_us) / 1e6)

    def _entry(self, ref: RowRef) -> Entry:
        occupants = self._occupants.get(ref.bank, ())
        entry = occupants[ref.row] if 0 <= ref.row < len(occupants) else None
        if entry is not None and entry.ref.seq == ref.seq and entry.ref.row == ref.row:
            return entry
        damage = self._broken.get(ref.bank, {}).get(ref.row)
        if damage is not None:
            raise Corrupt(self._file(ref.bank), damage.row, damage.offset, damage.why)
        raise StaleRef(self._file(ref.bank), ref.row, ref.seq, "its row holds another record or none")

    def _record(self, entry: Entry) -> Record:
        picture = self.pictures[entry.ref.bank]
        row = entry.ref.row
        try:
            payload = rows.body_of(picture.row(row))
            if len(entry.rows) > 1:
                payload += b"".join([rows.body_of(picture.row(row := part)) for part in entry.rows[1:]])
        except rows.BadRow as bad:
            offset = self.grid.pixels_at(row) + bad.offset
            raise Corrupt(self._file(entry.ref.bank), row, offset, bad.why) from None
        return Record(
            entry.ref, entry.zone, entry.kind, entry.state, entry.owner, entry.key, payload, entry.at_us / 1e6
        )


def _runs(touched: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Merge rows that follow one another, so that each run takes one write: (bank, first, last)."""
    bank = first = last = -1
    for at, row in touched:
        if at == bank and row == last + 1:
            last = row
            continue
        if bank >= 0:
            yield bank, first, last
        bank, first, last = at, row, row
    if bank >= 0:
        yield bank, first, last


def _text(text: str | None, name: str) -> bytes:
    if text is None:
        return b""
    encoded = text.encode()
    if not 0 < len(encoded) <= rows.MAX_TEXT_BYTES:
        raise ValueError(f"{name} of {len(encoded)} bytes: 1 to {rows.MAX_TEXT_BYTES} are allowed")
    return encoded
