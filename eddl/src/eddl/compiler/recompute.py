"""Memory against time: what is not kept from one use to the next is computed again.

A call is *split* at a moment: its results are given up then, and whatever reads them later reads
those of a second call, a copy of the first with the same kernel and inputs, which is made just
before its first reader. Inputs that are no longer there are computed again in the same way. As
kernels are deterministic and random numbers count instead of being drawn, no bit changes; updates
of states and what the program returns stay with the first call, so that nothing is done twice.

Which calls are split is found greedily over the plan of lives (as in XLA's rematerialization; Chen
et al. 2016 and Jain et al. 2020 say what the best could be): at the highest peak, what is alive
and not in use is ranked by its bytes times how long it waits over what computing it again takes.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from eddl.compiler.plan import Plan
from eddl.compiler.protocol import Call, Layout
from eddl.compiler.schedule import Sizes
from eddl.errors import MemoryLimitError
from eddl.graph import Value
from eddl.ops.work import flops

Lives = Callable[[Sequence[Call], Mapping[Value, Layout]], Plan]

FLOPS_PER_BYTE = 16
"""What a processor computes while it moves a byte: costs are in bytes moved."""
IN_HALF = 8
"""How many times as much of that it is in half precision: tiles are what that is for."""
OVERHEAD = 1 << 17
"""What a call costs besides."""
SHARES = {"fast": 0.025, "low": 0.2}
"""The share of a step's work that each mode may spend again."""
SMALL = 1 << 29
"""The bytes up to which "fast" keeps everything, all that outlives a step included."""
STEP = 0.02
"""The share of the peak that is given up before lives are looked at anew."""
PATIENCE = 8
"""Rounds without a lower peak after which the search goes back."""
RETURNS = 6
"""How often it goes back to take another way, before it ends."""
TRIALS = 48
"""Splits that are tried to be left out again at the end."""


def too_little(total: int, taken: int, least: int) -> MemoryLimitError:
    """What to say of a budget of `total` bytes, beside the `taken` bytes of what outlives a step,
    where its values take at least so many."""
    return MemoryLimitError(
        f"received memory={total:,} bytes, and a step for these shapes takes at least "
        f"{taken + least:,}: {taken:,} for parameters, gradients and "
        f"optimizer and {least:,} for values; allow so many, or make the batch or the "
        "image smaller"
    )


def recompute(
    calls: Sequence[Call],
    layouts: Mapping[Value, Layout],
    lives: Lives,
    planned: Lives,
    memory: str | int,
    taken: int = 0,
) -> Plan:
    """The plan of the calls and of those made again. `lives` gives a plan without places and
    `planned` one with them; `memory` is "fast" (made again is what costs next to nothing), "low"
    (the least memory that little time buys) or the bytes of a budget, which is met in as little
    time as can be; `taken` are those of what outlives the program.
    """
    if fits(calls, layouts, lives, memory, taken):
        return planned(calls, layouts)
    search = _Search(calls, layouts, lives, taken if memory == "fast" else None)
    if isinstance(memory, str):
        search.descend(0, SHARES[memory] * search.work)
        return search.plan(0, planned, trials=0 if memory == "fast" else TRIALS)
    free = target = memory - taken
    while True:
        search.descend(target, math.inf)
        plan = search.plan(target, planned)
        if plan.transient <= free:
            return plan
        if plan.peak > target:
            raise too_little(memory, taken, plan.transient)
        between = plan.transient - free  # what lies between buffers and belongs to none
        target = min(target, plan.peak) - max(between, target // 64)


def fits(
    calls: Sequence[Call],
    layouts: Mapping[Value, Layout],
    lives: Lives,
    memory: str | int,
    taken: int,
) -> bool:
    """Whether so little is needed that no time is given for less."""
    return memory == "fast" and taken + lives(calls, layouts).peak <= SMALL


def work(call: Call) -> float:
    """What a call costs, in bytes moved."""
    if call.offer.views:
        return 0.0
    moved = sum(v.type.nbytes for v in (*call.inputs, *call.outputs) if v is not None)
    half = any(v is not None and v.dtype.itemsize == 2 for v in call.inputs)
    rate = FLOPS_PER_BYTE * (IN_HALF if half else 1)
    return OVERHEAD + moved + sum(map(flops, call.nodes)) / rate


@dataclass
class _Order:
    """Calls as they are made: of each its time, which is the first order's index of the call or
    of whatever asked for it, the index of what it is or repeats, and the how-manieth it is."""

    calls: list[Call]
    times: list[int]
    indices: list[int]
    versions: list[int]

    def places(self) -> dict[tuple[int, int], int]:
        """Where each version of each call stands."""
        pairs = zip(self.indices, self.versions, strict=True)
        return {pair: place for place, pair in enumerate(pairs)}


@dataclass
class _Candidate:
    """Calls to be split for the sake of the first one, and how good that is."""

    indices: list[int]
    freed: int
    score: float


class _Search:
    """`beside` are the bytes of what else is held, where time counts as much as memory; where it
    is `None` the lowest peak is the best."""

    def __init__(
        self,
        calls: Sequence[Call],
        layouts: Mapping[Value, Layout],
        lives: Lives,
        beside: int | None,
    ) -> None:
        self.first = list(calls)
        self.layouts = dict(layouts)
        self._lives, self._beside = lives, beside
        self._costs = [work(call) for call in calls]
        self.work = sum(self._costs)
        self._splits: dict[int, list[int]] = {}
        self._refused: set[tuple[int, int]] = set()
        self._copies: dict[tuple[int, int], tuple[Value, ...]] = {}
        self._place: dict[Value, tuple[int, int]] = {}
        self._base: list[int] = []
        """The call in whose memory a call's results lie, or -1 for that of a leaf."""
        self._makers: list[list[int]] = []
        """The calls whose results a call reads."""
        for index, call in enumerate(calls):
            base = index
            for source in call.offer.views.values():
                value = call.inputs[source]
                base = self._base[self._place[value][0]] if value in self._place else -1
            self._base.append(base)
            known = (self._place[v][0] for v in call.inputs if v in self._place)
            self._makers.append(list(dict.fromkeys(known)))
            for position, value in enumerate(call.outputs):
                self._place[value] = index, position

    def descend(self, target: int, limit: float) -> None:
        """Split, from nothing on, until the peak is at most `target` bytes, nothing helps, or the
        work that is done again exceeds `limit`. Where that has not led to a lower peak for a while,
        go back to the lowest and take another way; end there. Of what costs time, only that is
        kept which saves as much memory where both count."""
        self._splits, self._refused = {}, set()
        best, lowest, price = self._copy(), math.inf, math.inf
        since: list[list[tuple[int, int]]] = []
        returns = 0
        while True:
            order = self.order()
            plan = self._lives(order.calls, self.layouts)
            again = self._again(order)
            dear = again > limit
            if not dear and self._price(plan, again) < price:
                best, lowest, price, since = self._copy(), plan.peak, self._price(plan, again), []
            if lowest <= target:
                break
            picked = [] if dear or len(since) > PATIENCE else self._split(order, plan)
            if picked:
                since.append(picked)
            elif since and returns < RETURNS:
                self._splits, returns = {i: list(found) for i, found in best.items()}, returns + 1
                self._refused.update(since[0])
                since = []
            else:
                break
        self._splits = best

    def plan(self, target: int, planned: Lives, trials: int = TRIALS) -> Plan:
        """The plan of what was found, without what is not needed for it."""
        self._mend(target, trials)
        order = self.order()
        plan = planned(order.calls, self.layouts)
        plan.again = self._again(order) / self.work
        return plan

    def _mend(self, target: int, trials: int) -> None:
        """Leave out splits without which the peak is no higher, the dearest first."""
        highest = max(target, self._peak())
        pairs = [(index, at) for index, found in self._splits.items() for at in found]
        pairs.sort(key=lambda pair: -self._costs[pair[0]])
        for index, at in pairs[:trials]:
            self._splits[index].remove(at)
            if self._peak() > highest:
                insort(self._splits[index], at)

    def order(self) -> _Order:
        """The calls with all that is computed again."""
        made: set[tuple[int, int]] = set()
        order = _Order([], [], [], [])
        for time in range(len(self.first)):
            stack = [(time, 0)]
            while stack:
                index, version = stack[-1]
                needs = self._needs(index, time)
                missing = [pair for pair in needs if pair[1] and pair not in made]
                if missing:
                    stack += reversed(missing)
                    continue
                stack.pop()
                if (index, version) in made:
                    continue
                made.add((index, version))
                call = self.first[index]
                if version or any(again for _, again in needs):
                    inputs = tuple(None if v is None else self._at(v, time) for v in call.inputs)
                    outputs = self._results(index, version)
                    call = Call(call.nodes, call.offer, inputs, outputs)
                order.calls.append(call)
                order.times.append(time)
                order.indices.append(index)
                order.versions.append(version)
        return order

    def _again(self, order: _Order) -> float:
        """What all that is made again costs."""
        pairs = zip(order.indices, order.versions, strict=True)
        return sum(self._costs[index] for index, version in pairs if version)

    def _price(self, plan: Plan, again: float) -> float:
        """What is to be as low as can be: the peak, or the product of all memory and time."""
        if self._beside is None:
            return plan.peak
        return (self._beside + plan.peak) * (1 + again / self.work)

    def _copy(self) -> dict[int, list[int]]:
        return {index: list(found) for index, found in self._splits.items()}

    def _peak(self) -> int:
        return self._lives(self.order().calls, self.layouts).peak

    def _needs(self, index: int, time: int) -> list[tuple[int, int]]:
        """The calls, with their versions, whose results a call reads at a time."""
        return [(maker, self._version(maker, time)) for maker in self._makers[index]]

    def _version(self, index: int, time: int) -> int:
        found = self._splits.get(self._base[index])
        return bisect_left(found, time) if found else 0

    def _at(self, value: Value, time: int) -> Value:
        """What stands for a value at a time."""
        if value not in self._place:
            return value
        index, position = self._place[value]
        return self._results(index, self._version(index, time))[position]

    def _results(self, index: int, version: int) -> tuple[Value, ...]:
        """The results of a version of a call."""
        first = self.first[index].outputs
        if not version:
            return first
        if (index, version) not in self._copies:
            made = tuple(Value(v.type, v.node, v.index, v.name) for v in first)
            self._copies[index, version] = made
            for new, old in zip(made, first, strict=True):
                if old in self.layouts:
                    self.layouts[new] = self.layouts[old]
        return self._copies[index, version]

    def _split(self, order: _Order, plan: Plan) -> list[tuple[int, int]]:
        """Split the best calls at the peak; which of them, at what time."""
        peak = _Peak(self, order, plan)
        found = sorted(peak.candidates(), key=lambda one: -one.score)
        wanted, touched = STEP * plan.peak, set[int]()
        picked = []
        for one in found:
            first = one.indices[0], peak.time
            if first not in self._refused and touched.isdisjoint(one.indices):
                picked.append(first)
                for index in one.indices:
                    insort(self._splits.setdefault(index, []), peak.time)
                touched.update(one.indices)
                touched.update(maker for maker, _ in self._needs(one.indices[0], peak.time))
                wanted -= one.freed
            if wanted <= 0:
                break
        return picked


class _Peak:
    """What is alive where most is."""

    def __init__(self, search: _Search, order: _Order, plan: Plan) -> None:
        self._search, self._order, self._plan = search, order, plan
        self._sizes = Sizes(plan)
        self._places = order.places()
        alive = plan.alive()
        self._at = alive.index(max(alive))
        self.time = order.times[self._at]

    def candidates(self) -> list[_Candidate]:
        """What could be given up here."""
        freed: dict[int, int] = {}
        next_read: dict[int, int] = {}
        last_read: dict[int, int] = {}
        for value, readers in self._sizes.readers.items():
            nbytes, place = self._sizes.nbytes.get(value, 0), self._sizes.maker.get(value, -1)
            if not nbytes or not 0 <= place < self._at or self._at in readers:
                continue
            if self._plan.buffers[value].death >= len(self._order.calls):
                continue
            after = bisect_left(readers, self._at)
            if after == len(readers) or self._order.times[readers[after]] <= self.time:
                continue
            index = self._order.indices[place]
            freed[index] = freed.get(index, 0) + nbytes
            next_read[index] = min(next_read.get(index, readers[after]), readers[after])
            before = readers[after - 1] if after else place
            last_read[index] = max(last_read.get(index, before), before)
        found = (self._candidate(i, freed[i], next_read[i], next_read[i] - last_read[i])
                 for i in freed)  # fmt: skip
        return [one for one in found if one is not None]

    def _candidate(self, index: int, freed: int, reader: int, gap: int) -> _Candidate | None:
        """A call with all that must be split with it, as its inputs are not there later."""
        search, time = self._search, self._order.times[reader]
        chain, cost, pulled, kept = [index], 0.0, 0, 0
        for one in chain:
            cost += search._costs[one]
            if cost > search.work or len(chain) > 64:
                return None
            for maker, version in search._needs(one, time):
                base = search._base[maker]
                if base < 0 or base in chain:
                    continue
                place = self._places.get((base, version), -1)
                if place > self._at:
                    pulled += self._made(place) if place > reader else 0
                elif place < 0:
                    chain.append(base)
                elif not self._lasts(place):
                    if self._made(place) * 8 <= freed:
                        kept += self._made(place)
                    else:
                        chain.append(base)
        freed -= kept
        if freed <= 0:
            return None
        return _Candidate(chain, freed, freed * gap / (cost * (1 + pulled / freed)))

    def _made(self, place: int) -> int:
        return self._sizes.made(place)

    def _lasts(self, place: int) -> bool:
        """Whether a call's results are alive at the peak."""
        readers = (self._sizes.readers.get(v, ()) for v in self._order.calls[place].outputs)
        return any(reader >= self._at for found in readers for reader in found)
