"""A disk against a plain dictionary: whatever is done in whatever order, with the power failing anywhere.

A longer run: `python -m pytest tests/pxldisk/test_model.py --hypothesis-profile=long`.
"""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from disk_rig import SHM
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import pxldisk
from pxldisk import Append, Consume, Disk, RowRef, State, Zone, bank, failpoint, verify
from pxldisk.memory import Memory

T = TypeVar("T")
LONG = settings.get_current_profile_name() == "long"
pytestmark = [pytest.mark.timeout(3600)] if LONG else []
ZONES = {"system": Zone(0, 2), "in": Zone(3, 8), "out": Zone(9, 10), "junior": Zone(11, 12, "junior")}
OPTIONS: dict[str, Any] = {"width": 48, "height": 13, "zones": ZONES, "max_banks": 3, "segment_bytes": 1500}
CAPACITY = 48 * 3 - 53
POINTS = [point for point in failpoint.POINTS if not point.startswith("pxldisk.copy.")]


class Held(NamedTuple):
    """What the dictionary knows of a record."""

    zone: str
    payload: bytes
    owner: str | None
    key: str | None

    @property
    def rows(self) -> int:
        """How many rows it takes."""
        texts = sum(len(text.encode()) for text in (self.owner, self.key) if text)
        return max(1, -(-(texts + len(self.payload)) // CAPACITY))


@dataclass
class Model:
    """The dictionary."""

    live: dict[RowRef, Held]
    gone: dict[RowRef, Held]
    keys: dict[str, RowRef]
    newest_seq: int = 0  # acknowledged; one that was lost with the power may be given again

    def copy(self) -> "Model":
        return Model(dict(self.live), dict(self.gone), dict(self.keys), self.newest_seq)

    def free(self, bank_number: int, zone: str) -> int:
        used = sum(h.rows for ref, h in self.live.items() if (ref.bank, h.zone) == (bank_number, zone))
        return len(ZONES[zone].rows) - used


payloads = st.integers(0, 3 * CAPACITY).flatmap(lambda size: st.binary(min_size=size, max_size=size))
appends = st.builds(
    Append,
    zone=st.sampled_from(["in", "in", "out", "junior"]),
    payload=payloads,
    owner=st.sampled_from([None, "junior", "jünger"]),
    key=st.one_of(st.none(), st.integers(0, 30).map(str)),
)
picks = st.integers(0, 1000)
steps = st.one_of(appends, picks, st.sampled_from(["checkpoint", "snapshot", "reopen"]))


class DiskAgainstDictionary(RuleBasedStateMachine):
    """Each rule does the same to both; the invariants compare them.

    No rule has a precondition: where exactly the power fails depends on when a thread paints, and what can
    be chosen next must not depend on that.
    """

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="pxldisk-", dir=SHM if SHM.is_dir() else None))
        self.folder = self.root / "disk"
        self.loop = asyncio.new_event_loop()
        self.model = Model({}, {}, {})
        self.past: dict[int, dict[RowRef, Held]] = {0: {}}
        self.taken: list[tuple[dict[int, Path], dict[RowRef, Held]]] = []
        self.times = itertools.count(1_000_000_000)
        self.armed: tuple[str, int] | None = None
        self.fired: bool | None = None  # None: not yet; else whether the step was acknowledged by then
        self.acknowledged = False
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(failpoint, "passing", self.passing)
        self.disk = self.run(self.opening())

    # -- the disk ------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 20))

    async def opening(self) -> Disk:
        return await Disk.open(self.folder, clock=lambda: float(next(self.times)), **OPTIONS)

    def passing(self, name: str) -> None:
        """At every failpoint, in the thread that writes: what the files hold now is what a kill leaves."""
        if self.armed is None or self.armed[0] != name:
            return
        self.armed = (name, self.armed[1] - 1)
        if self.armed[1] == 0:
            self.fired = self.acknowledged
            shutil.copytree(self.folder, self.root / "killed")

    async def commit(self, items: list[Append | Consume]) -> None:
        """Commit on both sides."""
        refusal = self.refusal(items)
        if refusal is None:
            self.note(items, await self.disk.commit(items))
        else:
            with pytest.raises(refusal):
                await self.disk.commit(items)

    def refusal(self, items: list[Append | Consume]) -> type[Exception] | None:
        """Why the disk must refuse this commit; only asked of one item, or of what certainly fits."""
        for item in items:
            if isinstance(item, Consume):
                if item.ref not in self.model.live:
                    return pxldisk.StaleRef
                continue
            if item.key in self.model.keys:
                continue
            held = Held(item.zone, item.payload, item.owner, item.key)
            zone = ZONES[item.zone]
            if zone.owner not in (None, item.owner):
                return pxldisk.ZoneOwned
            if held.rows > len(zone.rows):
                return pxldisk.RowTooLarge
            may_grow = len(self.disk.stats().banks) < OPTIONS["max_banks"]
            if not may_grow and all(
                self.model.free(b, item.zone) < held.rows for b in self.disk.stats().banks
            ):
                return pxldisk.ZoneFull
        return None

    def note(self, items: list[Append | Consume], refs: list[RowRef | None]) -> None:
        """Do to the dictionary what the disk has acknowledged."""
        changed = False
        for item, ref in zip(items, refs, strict=True):
            if isinstance(item, Consume):
                self.model.gone[item.ref] = self.model.live.pop(item.ref)
                changed = True
                continue
            assert ref is not None
            if item.key in self.model.keys:
                assert self.model.keys[item.key] == ref, "a key stored before gives its first reference"
                continue
            assert ref.seq > self.model.newest_seq, "a sequence number was used twice"
            self.model.newest_seq = ref.seq
            self.model.live[ref] = Held(item.zone, item.payload, item.owner, item.key)
            if item.key is not None:
                self.model.keys[item.key] = ref
            changed = True
        if changed:
            self.past[self.disk.stats().commits] = dict(self.model.live)

    def some(self, pick: int) -> RowRef | None:
        live = sorted(self.model.live)
        return live[pick % len(live)] if live else None

    # -- what is done --------------------------------------------------------------------------

    @rule(item=appends)
    def append(self, item: Append) -> None:
        self.run(self.commit([item]))

    @rule(pick=picks)
    def consume(self, pick: int) -> None:
        if (ref := self.some(pick)) is not None:
            self.run(self.commit([Consume(ref)]))

    @rule(pick=picks)
    def consume_again(self, pick: int) -> None:
        if gone := sorted(self.model.gone):
            self.run(self.commit([Consume(gone[pick % len(gone)])]))

    @rule(pick=picks, payload=st.binary(max_size=CAPACITY), key=st.integers(0, 30).map(str))
    def answer(self, pick: int, payload: bytes, key: str) -> None:
        """Consume one and store another: all or nothing."""
        ref = self.some(pick)
        append = Append("out", payload[: CAPACITY - 2], key=key)
        if ref is not None:
            self.run(self.commit([Consume(ref), append] if pick % 2 else [append, Consume(ref)]))

    @rule(pick=picks)
    def half_of_it_is_stale(self, pick: int) -> None:
        live, gone = self.some(pick), min(self.model.gone, default=None)
        if live is not None and gone is not None:
            self.run(self.commit([Consume(live), Consume(gone)]))

    @rule(sizes=st.lists(st.integers(0, CAPACITY), min_size=2, max_size=6))
    def append_at_once(self, sizes: list[int]) -> None:
        """Commits that share a sync; some may find the zone full."""

        async def together() -> list[RowRef | BaseException]:
            appending = (self.disk.append("in", bytes(size)) for size in sizes)
            return await asyncio.gather(*appending, return_exceptions=True)

        for size, outcome in zip(sizes, self.run(together()), strict=True):
            if isinstance(outcome, RowRef):
                self.model.newest_seq = max(self.model.newest_seq, outcome.seq)
                self.model.live[outcome] = Held("in", bytes(size), None, None)
            else:
                assert isinstance(outcome, pxldisk.ZoneFull)
        self.past[self.disk.stats().commits] = dict(self.model.live)

    @rule()
    def checkpoint(self) -> None:
        self.run(self.disk.checkpoint())

    @rule()
    def snapshot(self) -> None:
        paths = self.run(self.disk.snapshot())
        numbered = {int(path.name.partition("-")[0]): path for path in paths}
        self.taken = [*self.taken[-3:], (numbered, dict(self.model.live))]

    @rule(pick=picks)
    def restore(self, pick: int) -> None:
        if not self.taken:
            return
        paths, then = self.taken[pick % len(self.taken)]
        number = sorted(paths)[pick % len(paths)]
        keep = {ref: held for ref, held in self.model.live.items() if ref.bank != number}
        back = {ref: held for ref, held in then.items() if ref.bank == number}
        self.run(self.disk.restore(paths[number], force=True))
        self.model.gone = {
            ref: held
            for ref, held in {**self.model.gone, **self.model.live}.items()
            if ref not in keep | back
        }
        self.model.live = dict(sorted((keep | back).items(), key=lambda entry: entry[0].seq))
        self.past[self.disk.stats().commits] = dict(self.model.live)
        known = {key: self.disk.ref_of(key) for key in self.model.keys}
        for key, ref in self.model.keys.items():
            assert known[key] == ref or (ref.bank == number and ref not in self.model.live), "only what went"
        self.model.keys = dict(self.disk._memory.keys)

    @rule()
    def reopen(self) -> None:
        self.run(self.disk.close())
        self.disk = self.run(self.opening())

    @rule(point=st.sampled_from(POINTS), passage=st.integers(1, 3), step=steps)
    def power_fails(self, point: str, passage: int, step: Append | int | str) -> None:
        """Somewhere during a step, or while the disk is closed and opened after it."""
        before = self.model.copy()
        self.armed, self.fired, self.acknowledged = (point, passage), None, False
        self.run(self.taking(step))
        self.acknowledged = True
        self.run(self.disk.close())
        self.disk = self.run(self.opening())
        self.armed = None
        if self.fired is None:
            return
        after = self.model
        self.run(self.disk.close())
        shutil.rmtree(self.folder)
        (self.root / "killed").rename(self.folder)
        self.taken = [(paths, then) for paths, then in self.taken if all(p.exists() for p in paths.values())]
        self.disk = self.run(self.opening())
        if not self.fired and self.found() != after.live:
            self.model = before
            self.past = {n: live for n, live in self.past.items() if n <= self.disk.stats().commits}
        assert not list(self.folder.rglob("*.tmp"))

    async def taking(self, step: Append | int | str) -> None:
        """One step."""
        if isinstance(step, Append):
            await self.commit([step])
        elif isinstance(step, int):
            if (ref := self.some(step)) is not None:
                await self.commit([Consume(ref)])
        elif step == "reopen":
            await self.disk.close()
            self.disk = await self.opening()
        else:
            doing: Callable[[], Awaitable[object]] = getattr(self.disk, step)
            await doing()

    # -- what always holds ---------------------------------------------------------------------

    def found(self) -> dict[RowRef, Held]:
        return found_in(self.disk)

    @invariant()
    def the_live_records_are_those_of_the_dictionary(self) -> None:
        assert self.found() == self.model.live
        for zone in ZONES:
            seqs = [record.ref.seq for record in self.disk.scan(zone)]
            assert seqs == sorted(seqs)
        assert self.disk.stats().damage == ()

    @invariant()
    def what_is_gone_reads_as_it_was_or_not_at_all(self) -> None:
        for ref, held in self.model.gone.items():
            with suppress(pxldisk.StaleRef):
                record = self.disk.read(ref)
                assert (record.state, record.payload) == (State.CONSUMED, held.payload)

    @invariant()
    def every_key_gives_its_first_reference(self) -> None:
        assert {key: self.disk.ref_of(key) for key in self.model.keys} == self.model.keys

    @invariant()
    def free_rows_are_those_that_nothing_live_takes(self) -> None:
        stats = self.disk.stats()
        for zone in ZONES:
            assert stats.zones[zone].free == sum(self.model.free(b, zone) for b in stats.banks)

    def teardown(self) -> None:
        try:
            self.run(self.disk.close())
            assert verify(self.folder) == []
            for commit, live in list(self.past.items())[-4:]:
                assert self.then(commit) == live, f"replayed, commit {commit} shows something else"
        finally:
            self.run(self.disk.close())
            self.patch.undo()
            self.loop.close()
            shutil.rmtree(self.root)

    def then(self, commit: int) -> dict[RowRef, Held]:
        """What the log says was live after a commit."""
        moment = pxldisk.history.replay(self.folder, commit=commit)
        memory: Memory | None = None
        for number, picture in moment.pictures.items():
            path = self.root / f"{number}.png"
            path.write_bytes(picture)
            loaded = bank.load(path)
            memory = memory or Memory(self.root, loaded.superblock, max_payload=0, keep_keys=0)
            memory.add_bank(loaded.superblock, loaded.picture)
        assert memory is not None
        return found_in(memory)


def found_in(disk: Disk | Memory) -> dict[RowRef, Held]:
    """All live records."""
    records = (record for zone in ZONES for record in disk.scan(zone))
    return {r.ref: Held(r.zone, r.payload, r.owner, r.key) for r in records}


TestDiskAgainstDictionary = DiskAgainstDictionary.TestCase
TestDiskAgainstDictionary.settings = settings(
    max_examples=settings.default.max_examples if LONG else 50,  # type: ignore[union-attr]
    stateful_step_count=100 if LONG else 30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
