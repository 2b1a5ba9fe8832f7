"""Power cuts, simulated: of what was written since the last sync, any sectors may be on the medium.

A disk is driven without its thread. After a cut at some commit the journal holds that commit and
any sectors of those that were being written; each 512-byte sector of the picture is as it was at
any moment since the last flush. Opening must give exactly the state after that commit, or after one
of those that were being written. Each case is made from its seed.
"""

import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from disk_rig import SMALL_ZONES
from medium import Medium

from pxldisk import Append, Consume, RowRef, State, Zone, segment
from pxldisk.memory import Memory
from pxldisk.recovery import Options, open_disk, starting_point
from pxldisk.store import Start, Store

SECTOR = 512
OPTIONS = Options(width=48, height=10, zones=SMALL_ZONES)
# A superblock that lies in two sectors, so that it can be torn.
WIDE_ZONES = {"out": Zone(8, 8), "given": Zone(9, 9, "o" * 255), "more": Zone(10, 10, "o" * 200)}
WIDE = Options(width=256, height=11, zones={**SMALL_ZONES, **WIDE_ZONES})

Contents = dict[str, list[tuple[int, bytes]]]


@dataclass
class Driver:
    """Commits as a disk does, one thing after the other, and remembers every state on the way."""

    folder: Path
    chance: random.Random
    options: Options = OPTIONS
    memory: Memory = field(init=False)
    store: Store = field(init=False)
    live: list[RowRef] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.memory, self.store = open_disk(self.folder, self.options)

    def commit(self) -> None:
        """Append and consume a little, all in one commit."""
        items: list[Append | Consume] = []
        leaving = [ref for ref in self.live if self.chance.random() < 0.4]
        items += map(Consume, leaving)
        if self.memory.room("in", 3):
            items.append(
                Append("in", self.chance.randbytes(self.chance.randrange(180)), key=f"{self.chance.random()}")
            )
        if self.memory.room("out"):
            items.append(Append("out", self.chance.randbytes(self.chance.randrange(90))))
        if not items:
            return
        plan = self.memory.plan(items, 1)
        self.store.commit([(1, segment.encode_images(plan.images))])
        applied = self.memory.apply([plan])
        self.live = [ref for ref in self.live if ref not in leaving]
        self.live += [ref for ref in plan.refs if ref is not None and ref not in self.live]
        self.live = [ref for ref in self.live if is_live(self.memory, ref)]
        self.store.paint(self.memory.strokes(applied.touched))

    def picture(self) -> bytes:
        return (self.folder / "8.png").read_bytes()

    def contents(self) -> Contents:
        return contents(self.memory)


def is_live(memory: Memory, ref: RowRef) -> bool:
    return any(record.ref == ref for zone in memory.zones for record in memory.scan(zone))


def contents(memory: Memory) -> Contents:
    return {zone: [(r.ref.seq, r.payload) for r in memory.scan(zone)] for zone in memory.zones}


def torn(chance: random.Random, versions: list[bytes]) -> bytes:
    """Each sector as it was in one of these versions."""
    size = len(versions[0])
    sectors = [chance.choice(versions)[at : at + SECTOR] for at in range(0, size, SECTOR)]
    return b"".join(sectors)


def reopened(folder: Path, options: Options = OPTIONS) -> tuple[Contents, list[object]]:
    memory, store = open_disk(folder, options)
    try:
        return contents(memory), [d for damage in memory.damage.values() for d in damage]
    finally:
        store.close()


@pytest.mark.parametrize("seed", range(12))
def test_any_mixture_of_sectors_recovers_to_the_last_durable_commit(quick: Path, seed: int) -> None:
    chance = random.Random(seed)
    driver = Driver(quick / "disk", chance)
    pictures, states = [driver.picture()], [driver.contents()]
    assert driver.store.journal is not None
    ends = [driver.store.journal.end]
    for _ in range(14):
        driver.commit()
        pictures.append(driver.picture())
        states.append(driver.contents())
        ends.append(driver.store.journal.end)
    driver.store.close()
    log = driver.folder / "log" / "00000001.pxj"
    whole = log.read_bytes()
    for _ in range(25):
        last = chance.randrange(len(ends))
        case = quick / "case"
        shutil.rmtree(case, ignore_errors=True)
        shutil.copytree(driver.folder, case)
        following = ends[last + 1] if last + 1 < len(ends) else ends[last]
        cut = chance.randrange(ends[last], following) if following > ends[last] else following
        zeros = bytes(chance.choice([0, 700]))
        (case / "log" / log.name).write_bytes(whole[:cut] + zeros)
        (case / "8.png").write_bytes(torn(chance, pictures[: last + 1]))
        assert reopened(case) == (states[last], [])
        assert reopened(case) == (states[last], [])


@pytest.mark.parametrize("seed", range(12))
def test_a_cut_during_a_checkpoint_loses_nothing(quick: Path, seed: int) -> None:
    chance = random.Random(seed)
    driver = Driver(quick / "disk", chance, WIDE)
    pictures = [driver.picture()]
    for _ in range(6):
        driver.commit()
        pictures.append(driver.picture())
    state = driver.contents()
    old_log = quick / "old log"
    shutil.copytree(driver.folder / "log", old_log)
    stamped, copied = checkpoint(driver)
    new_log = driver.folder / "log"
    # Nothing flushed yet; then all but the copy of the superblock; each with the log of its moment.
    moments = [([*pictures, stamped], [old_log]), ([stamped, copied], [old_log, new_log])]
    for _ in range(20):
        versions, logs = chance.choice(moments)
        case = quick / "case"
        shutil.rmtree(case, ignore_errors=True)
        case.mkdir()
        shutil.copytree(chance.choice(logs), case / "log")
        (case / "8.png").write_bytes(torn(chance, versions))
        assert reopened(case, WIDE) == (state, [])


@pytest.mark.parametrize("seed", range(12))
def test_of_commits_that_were_being_written_together_the_first_whole_ones_are_kept(
    quick: Path, seed: int
) -> None:
    chance = random.Random(seed)
    driver = Driver(quick / "disk", chance)
    driver.commit()
    assert driver.store.journal is not None
    log, durable = driver.store.journal.path, driver.store.journal.end
    states, plans = [driver.contents()], []
    for _ in range(10):
        item: Append | Consume = Append("in", chance.randbytes(chance.randrange(90)))
        if not driver.memory.room("in"):
            item = Consume(next(driver.memory.scan("in")).ref)
        plans.append(driver.memory.plan([item], 1))
        driver.memory.apply(plans[-1:])
        states.append(driver.contents())
    driver.store.commit([(1, segment.encode_images(plan.images)) for plan in plans])
    whole = log.read_bytes()
    end = driver.store.journal.end
    driver.store.close()
    kept = set()
    for _ in range(40):
        case = quick / "case"
        shutil.rmtree(case, ignore_errors=True)
        shutil.copytree(driver.folder, case)
        content = bytearray(whole)
        for at in range(durable - durable % SECTOR, end, SECTOR):
            if chance.random() < 0.3:  # this sector is as it was: zeros, but for what was durable in it
                first = max(at, durable)
                content[first : at + SECTOR] = bytes(at + SECTOR - first)
        (case / "log" / log.name).write_bytes(content)
        found = reopened(case)
        assert found[1] == [] and found[0] in states
        assert reopened(case) == found
        kept.add(states.index(found[0]))
    assert len(kept) > 1


def checkpoint(driver: Driver) -> tuple[bytes, bytes]:
    """Make a checkpoint; the picture after the first superblock was painted, and after its copy was."""
    assert driver.store.journal is not None
    number = driver.store.journal.number
    start: Start = starting_point(driver.memory, number, 1)
    driver.store.paint(start.stamps)
    stamped = driver.picture()
    driver.store.checkpoint(start, number)
    copied = driver.picture()
    driver.store.close()
    return stamped, copied


@pytest.mark.parametrize("options", [OPTIONS, WIDE], ids=["small", "wide"])
@pytest.mark.parametrize("seed", range(8))
def test_what_was_acknowledged_survives_the_loss_of_everything_that_was_not_synced(
    quick: Path, seed: int, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    medium = Medium(quick / "disk")
    states: list[Contents] = []
    with monkeypatch.context() as patch:
        medium.record(patch)
        driver = Driver(medium.folder, chance, options)
        for step in range(24):
            medium.tell(len(states))
            states.append(driver.contents())
            driver.commit()
            if step % 5 == 4:
                assert driver.store.journal is not None
                number = driver.store.journal.number
                driver.store.checkpoint(starting_point(driver.memory, number, 1), number)
        medium.tell(len(states))
        states.append(driver.contents())
        driver.store.close()
    told = [(at, event.told) for at, event in enumerate(medium.events, 1) if event.what == "told"]
    for _ in range(40):
        end = chance.randint(told[0][0], len(medium.events))
        case = quick / "case"
        shutil.rmtree(case, ignore_errors=True)
        medium.after_a_cut(end, chance, case)
        number = max(state for at, state in told if at <= end)
        found, damage = reopened(case, options)
        assert damage == [] and found in states[number : number + 2]
        assert reopened(case, options) == (found, [])


@pytest.mark.parametrize("seed", range(10))
def test_rows_keep_their_promises_whatever_is_stored_and_consumed(quick: Path, seed: int) -> None:
    chance = random.Random(seed)
    driver = Driver(quick / "disk", chance)
    known: dict[RowRef, bytes] = {}
    for _ in range(60):
        before = set(driver.live)
        driver.commit()
        for ref in set(driver.live) - before:
            known[ref] = driver.memory.read(ref).payload
        for ref in driver.live:  # a live record never changes
            assert driver.memory.read(ref).payload == known[ref]
            assert driver.memory.read(ref).state is State.LIVE
        stats = {zone: driver.memory.zone_stats(zone, 0) for zone in driver.memory.zones}
        for zone, counted in stats.items():
            assert counted.free + counted.live == len(driver.memory.zones[zone].rows)
            assert counted.damaged == 0
        # The index built while committing is the one that the picture alone gives.
        again = Memory(driver.folder, driver.memory.superblocks[8], max_payload=1, keep_keys=9)
        again.add_bank(driver.memory.superblocks[8], driver.memory.pictures[8].copy())
        assert contents(again) == driver.contents() and again.unusable(8) == frozenset()
    driver.store.close()
