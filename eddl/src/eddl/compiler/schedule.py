"""The order of calls: results that do not depend on it, and a peak of memory that does.

The order of the graph is kept but for two moves. A call whose results are larger than what it
holds of others' waits until the first of them is read. A call whose inputs die with it and are
larger than its results goes as soon as it can: the gradient of a weight before that of the data,
the copy of a packed gradient into its arena at once; and first what gives up a value that was just
read, as the second half of one that is cut. What has the lower peak is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from eddl.compiler.plan import Plan
from eddl.compiler.protocol import Call
from eddl.graph import Value


def schedule(calls: Sequence[Call], lives: Callable[[Sequence[Call]], Plan]) -> list[Call]:
    """The calls in an order with a peak that is no higher; `lives` gives that of an order."""
    best, peak = list(calls), -1
    plan = lives(calls)
    for order in (calls, _early(plan), _early(lives(_late(plan)))):
        found = lives(order).peak
        if peak < 0 or found < peak:
            best, peak = list(order), found
    return best


class Sizes:
    """What the calls of a plan make and read in slabs, by buffers that views share."""

    def __init__(self, plan: Plan) -> None:
        self.calls = plan.calls
        self.root: dict[Value, Value] = {}
        self.nbytes: dict[Value, int] = {}
        self.maker: dict[Value, int] = {}
        self.readers: dict[Value, list[int]] = {}
        outside = {v for v, b in plan.buffers.items() if b.outside is not None or b.fixed}
        for index, call in enumerate(plan.calls):
            for position, value in enumerate(call.outputs):
                viewed = call.offer.views.get(position)
                source = None if viewed is None else call.inputs[viewed]
                root = value if source is None else self.root.get(source, source)
                self.root[value] = root
                self.maker[value] = index
                if root is value:
                    held = value in outside or plan.buffers[value].nbytes == 0
                    self.nbytes[value] = 0 if held else plan.layout(value).size(value.type)
            for root in self.inputs(index):
                self.readers.setdefault(root, []).append(index)

    def inputs(self, index: int) -> list[Value]:
        """The roots that a call reads, each once."""
        read = (v for v in self.calls[index].inputs if v is not None)
        return list(dict.fromkeys(self.root.get(v, v) for v in read))

    def made(self, index: int) -> int:
        """The bytes of a call's results that are no views."""
        return sum(self.nbytes.get(v, 0) for v in self.calls[index].outputs)


def _early(plan: Plan) -> list[Call]:
    """Calls that free more than they take go as soon as they can."""
    sizes = Sizes(plan)
    calls = plan.calls
    waits = [len({sizes.maker[v] for v in call.inputs if v in sizes.maker}) for call in calls]
    users: dict[int, list[int]] = {}
    for index, call in enumerate(calls):
        for maker in dict.fromkeys(sizes.maker[v] for v in call.inputs if v in sizes.maker):
            users.setdefault(maker, []).append(index)
    left = {root: len(found) for root, found in sizes.readers.items()}
    done = [False] * len(calls)
    order: list[Call] = []

    def shrinks(index: int) -> bool:
        if done[index] or waits[index] or not calls[index].outputs:
            return False
        freed = sum(sizes.nbytes.get(r, 0) for r in sizes.inputs(index) if left[r] == 1)
        return freed > sizes.made(index)

    def make(first: int) -> None:
        waiting = [first]
        while waiting:
            index = waiting.pop()
            if done[index]:
                continue
            done[index] = True
            order.append(calls[index])
            for user in users.get(index, ()):
                waits[user] -= 1
            near: list[int] = []
            for root in sizes.inputs(index):
                left[root] -= 1
                if left[root] == 1:
                    near += sizes.readers[root]
            near += users.get(index, ())
            waiting += reversed([i for i in dict.fromkeys(near) if shrinks(i)])

    for index in range(len(calls)):
        make(index)
    return order


def _late(plan: Plan) -> list[Call]:
    """Calls that take more than they would hold of others' wait for their first reader."""
    sizes = Sizes(plan)
    calls = plan.calls
    when: list[float] = list(range(len(calls)))
    waits = [False] * len(calls)
    kept = {v for v, buffer in plan.buffers.items() if buffer.death >= len(calls)}
    for index in range(len(calls) - 1, -1, -1):
        readers = [i for v in calls[index].outputs for i in sizes.readers.get(sizes.root[v], ())
                   if i > index]  # fmt: skip
        if not readers or not kept.isdisjoint(calls[index].outputs):
            continue
        first = min(when[i] for i in readers)
        longer = 0
        for root in sizes.inputs(index):
            others = [when[i] for i in sizes.readers[root] if i != index]
            if root in sizes.nbytes and max(others, default=-1.0) < first:
                longer += sizes.nbytes[root]
        if longer < sizes.made(index):
            when[index], waits[index] = first, True
    return _demanded(sizes, waits)


def _demanded(sizes: Sizes, waits: Sequence[bool]) -> list[Call]:
    """The order in which what waits is made when it is first read."""
    done: set[int] = set()
    order: list[Call] = []
    for last in range(len(sizes.calls)):
        if waits[last]:
            continue
        stack = [last]
        while stack:
            index = stack[-1]
            makers: Mapping[int, None] = dict.fromkeys(
                sizes.maker[v] for v in sizes.calls[index].inputs
                if v in sizes.maker and sizes.maker[v] not in done
            )  # fmt: skip
            if makers:
                stack.extend(reversed(list(makers)))
                continue
            stack.pop()
            if index not in done:
                done.add(index)
                order.append(sizes.calls[index])
    return order
