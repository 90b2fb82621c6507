"""What the engine's benchmarks share: processes, clocks, memory, results and tables.

A script gives a `Benchmark` its peers, one of which is ours, and calls `main`. Each peer runs first
in processes of its own, in turn; the first of them tells how long the first step took, from before
the network is made but with all libraries loaded; all tell how far resident memory grew from there
to the peak of the third step, and how much of that is code. Then all take turns, step by step: each
still in a process of its own, since the libraries' threads would disturb each other in one (OpenMP
stops to spin where it counts more threads than processors). A turn is a rest, in which the threads
of the one before it, that spin in case there is more to do, fall asleep; then steps that wake its
own, of which the last counts. The first values that they return must agree. Threads and OpenMP
settings are the same for all. Only the ratio of what ran together, in turn, says who is faster.

Results stand in JSON beside the script, a row for each network, ours and peer; a run replaces the
rows that it measured, and drops those of another machine. The table is written from all of them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from networks import NETWORKS, Network

Action = Callable[[], Any]
Row = dict[str, Any]
THREADS = 2
SLOW = 20.0
REST = 0.05
"""Seconds before each turn; onnxruntime's threads spin for half as long."""
AWAKE = 0.2
"""Seconds of steps in a turn, or one step."""
AGREE = 1e-3
"""How far the first values of peers may be apart, of the greatest."""


@dataclass(frozen=True)
class Peer:
    """`make` builds the network, with the weights of a model where one is given, and returns its
    step, whose value, if any, must equal the others'; `refuse` says why a network is not run;
    `imports` are loaded before anything is measured, and `load` loads what they load later."""

    make: Callable[[Network, Any], Action]
    refuse: Callable[[Network], str] = lambda network: ""
    imports: tuple[str, ...] = ()
    load: Callable[[], object] = lambda: None


def resident() -> int:
    """Bytes of memory that this process holds."""
    return _status("VmRSS")


def forget_peak() -> None:
    """Let `peak` begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """The most bytes that this process has held since `forget_peak`."""
    return _status("VmHWM")


def code() -> int:
    """Bytes of memory that are parts of files, code above all, or code that was made."""
    made, runs = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0]:
            runs = "x" in words[1] and len(words) == 5  # what can run and belongs to no file
        elif words[0] == "Rss:" and runs:
            made += 1024 * int(words[1])
    return _status("RssFile") + made


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def step(action: Action) -> list[float]:
    """Wall and processor seconds of an action."""
    start = time.perf_counter(), time.process_time()
    action()
    return [time.perf_counter() - start[0], time.process_time() - start[1]]


def timed(
    steps: dict[str, Callable[[], list[float]]], rounds: int, seconds: float
) -> dict[str, list[list[float]]]:
    """What each step takes, in turn: so many rounds, and on for so long; of slow ones three at
    least, and no more once `SLOW` seconds have gone for each."""
    found: dict[str, list[list[float]]] = {name: [] for name in steps}
    began = time.perf_counter()
    turn = 0
    while turn < rounds or time.perf_counter() - began < seconds:
        if turn >= 3 and time.perf_counter() - began > SLOW * len(steps):
            break
        for name, measured in steps.items():
            time.sleep(REST if len(steps) > 1 else 0.0)
            found[name].append(measured())
        turn += 1
    return found


def figures(rounds: Sequence[Sequence[float]]) -> Row:
    """Medians, and the least."""
    wall, work = zip(*rounds, strict=True)
    return {
        "seconds": statistics.median(wall),
        "least": min(wall),
        "processor": statistics.median(work),
        "rounds": len(wall),
    }


def machine() -> Row:
    """What this runs on."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
            break
    return {"processor": name, "processors": os.cpu_count(), "system": platform.system()}


class Child:
    """A process of one peer, and the first value that it returned."""

    value: Any

    def __init__(
        self, benchmark: Benchmark, kind: str, network: str, peer: str, cache: str
    ) -> None:
        options, self.limit = benchmark.options, benchmark.options.limit
        command = [
            sys.executable, str(benchmark.script), "--child", kind, "--networks", network,
            "--peers", peer, "--rounds", str(options.rounds), "--seconds", str(options.seconds),
        ]  # fmt: skip
        counts = ("EDDL_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        environment = {
            **os.environ, **dict.fromkeys(counts, str(THREADS)),
            "TORCHINDUCTOR_CACHE_DIR": cache, "TMPDIR": cache,
        }  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env=environment,
        )  # fmt: skip

    def said(self) -> Any:
        """What it says next; `RuntimeError`, with its last words, where it ends instead."""
        assert self._process.stdout is not None
        words = ""
        watch = threading.Timer(self.limit, self._process.kill)
        watch.start()
        for line in self._process.stdout:
            if line.startswith(("{", "[")):
                watch.cancel()
                return json.loads(line)
            words = line.strip() or words  # a library's
        late = not watch.is_alive()
        watch.cancel()
        self.close()
        ended = words or f"ended with {self._process.returncode}"
        raise RuntimeError(f"took more than {self.limit:.0f} s" if late else ended[:200])

    def step(self) -> list[float]:
        """Wall and processor seconds of the last step of its next turn."""
        assert self._process.stdin is not None
        self._process.stdin.write("step\n")
        self._process.stdin.flush()
        found: list[float] = self.said()
        return found

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()


class Benchmark:
    """One question: peers on networks, results and a table beside the script."""

    def __init__(
        self,
        script: str,
        peers: dict[str, Peer],
        *,
        ours: Sequence[str],
        versions: Callable[[], Row],
        report: Callable[[list[Row], Row], str],
        networks: Sequence[str] = tuple(NETWORKS),
    ) -> None:
        """`ours`, which peers are ours, the usual one first; `versions`, of all that is measured;
        `report`, the table of rows and machine; `networks`, those that run unless others are
        named."""
        self.script = Path(script).resolve()
        self.peers, self.ours, self.versions = peers, list(ours), versions
        self.report, self.networks = report, list(networks)
        self.results = self.script.with_suffix(".json")

    def main(self) -> None:
        """Read the command line; measure what it names."""
        parser = argparse.ArgumentParser()
        usual = [name for name in self.peers if name not in self.ours[1:]]
        parser.add_argument("--networks", default=",".join(self.networks), help=", ".join(NETWORKS))
        parser.add_argument("--peers", default=",".join(usual), help=", ".join(self.peers))
        parser.add_argument("--rounds", type=int, default=9, help="at least so many")
        parser.add_argument("--seconds", type=float, default=4.0, help="and for at least so long")
        parser.add_argument("--processes", type=int, default=3, help="of each peer's own")
        parser.add_argument("--limit", type=float, default=500.0, help="seconds of one process")
        parser.add_argument("--table", action="store_true", help="only write the table again")
        parser.add_argument("--child", choices=("alone", "turns"), help=argparse.SUPPRESS)
        self.options = options = parser.parse_args()
        names = list(filter(None, options.networks.split(",")))
        peers = list(filter(None, options.peers.split(",")))
        for given, known in ((names, NETWORKS), (peers, self.peers)):
            if not known.keys() >= set(given):
                parser.error(f"received {given}, expected some of {[*known]}")
        if options.child:
            run = self._alone if options.child == "alone" else self._turns
            run(NETWORKS[names[0]], self.peers[peers[0]])
            return
        for name in [] if options.table else names:
            self._keep(self._measured(name, peers))
        stored = json.loads(self.results.read_text())
        text = self.report(stored["rows"], stored["machine"])
        self.results.with_suffix(".md").write_text(text)

    def _measured(self, name: str, peers: list[str]) -> list[Row]:
        """The rows of one network."""
        network, versions = NETWORKS[name], self.versions()
        refused = {p: why for p in peers if (why := self.peers[p].refuse(network))}
        wanted = [p for p in peers if p not in refused]
        own: dict[str, list[Row]] = {p: [] for p in wanted}
        load = [os.getloadavg()[0]]
        with tempfile.TemporaryDirectory() as cache:  # what is compiled, is compiled here once
            for _ in range(self.options.processes):
                for peer in list(wanted):
                    try:
                        child = Child(self, "alone", name, peer, cache)
                        own[peer].append(child.said())
                        child.close()
                    except RuntimeError as error:
                        refused[peer] = str(error)
                        wanted.remove(peer)
            together = self._together(name, wanted, cache) if len(wanted) > 1 else {}
        load.append(os.getloadavg()[0])
        run = {
            "load": [round(value, 2) for value in load],
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "default"),
            "threads": THREADS,
            "versions": versions,
        }
        ours = next((p for p in self.ours if p in wanted), None)
        rows: list[Row] = []
        for peer in peers:
            row: Row = {"network": name, "ours": ours or self.ours[0], "peer": peer, **run}
            rows.append(row)
            if peer in refused:
                row["not run"] = refused[peer]
                continue
            if own[peer]:
                row["alone"] = figures([turn for said in own[peer] for turn in said["rounds"]])
                row["alone"] |= {"first": own[peer][0]["first"]}
                for what in ("growth", "code"):
                    row["alone"][what] = statistics.median(said[what] for said in own[peer])
            if peer in together:
                row["together"] = together[peer]
        first = next((row for row in rows if row["peer"] == ours), None)
        for row in rows:
            for kind in ("alone", "together"):
                mine, theirs = (first or {}).get(kind, {}), row.get(kind, {})
                shared = mine.keys() & theirs.keys() & {"seconds", "processor", "growth"}
                theirs |= {f"{key} ratio": mine[key] / theirs[key] for key in shared
                           if row is not first and theirs[key] > 0}  # fmt: skip
            print(_short(row), flush=True)
        return rows

    def _together(self, network: str, peers: list[str], cache: str) -> dict[str, Row]:
        """What peers took in turns."""
        found: dict[str, Row] = {}
        children: dict[str, Child] = {}
        try:
            for peer in peers:
                try:
                    child = Child(self, "turns", network, peer, cache)
                    child.value = np.load(child.said()["value"])
                    children[peer] = child
                except RuntimeError as error:
                    found[peer] = {"not run": str(error)}
            values = {p: c.value for p, c in children.items() if c.value.size}
            first = next(iter(values.values()), np.zeros(()))
            size = np.abs(first).max() or 1.0
            apart = {p: float(np.abs(v - first).max() / size) for p, v in values.items()}
            if not all(value <= AGREE for value in apart.values()):
                raise SystemExit(f"{network}: the first values do not agree: {apart}")
            steps = {peer: child.step for peer, child in children.items()}
            timed(steps, 1, 0.0)
            for peer, rounds in timed(steps, self.options.rounds, self.options.seconds).items():
                found[peer] = figures(rounds) | {"apart": apart.get(peer, 0.0)}
        finally:
            for child in children.values():
                child.close()
        return found

    def _alone(self, network: Network, peer: Peer) -> None:
        """What a process says in which a peer is alone."""
        for name in peer.imports:
            importlib.import_module(name)
        peer.load()
        network.batch()
        forget_peak()
        files, before, began = code(), resident(), time.perf_counter()
        action = peer.make(network, None)
        action()
        first = time.perf_counter() - began
        action()
        action()
        growth, files = peak() - before, code() - files
        rounds = timed({"it": partial(step, action)}, self.options.rounds, self.options.seconds)
        print(json.dumps({"first": first, "growth": growth, "code": files, "rounds": rounds["it"]}))

    def _turns(self, network: Network, peer: Peer) -> None:
        """A process that says where its first value is, and then takes a turn for each line."""
        action = peer.make(network, network.model())
        value = action()
        with tempfile.NamedTemporaryFile(suffix=".npy", delete=False) as file:
            np.save(file, np.asarray([] if value is None else value, np.float64))
        print(json.dumps({"value": file.name}), flush=True)
        for _ in sys.stdin:
            spent = 0.0
            while spent < AWAKE:
                took = step(action)
                spent += took[0]
            print(json.dumps(took), flush=True)

    def _keep(self, rows: list[Row]) -> None:
        """Merge rows into the file."""
        stored: Row = {"machine": machine(), "rows": []}
        if self.results.exists():
            before = json.loads(self.results.read_text())
            stored = before if before["machine"] == stored["machine"] else stored

        def key(row: Row) -> tuple[int, int, int]:
            return ([*NETWORKS].index(row["network"]), self.ours.index(row["ours"]),
                    [*self.peers].index(row["peer"]))  # fmt: skip

        merged = {key(row): row for row in [*stored["rows"], *rows]}
        stored["rows"] = [merged[place] for place in sorted(merged)]
        self.results.write_text(json.dumps(_rounded(stored), indent=1) + "\n")


def _rounded(value: Any) -> Any:
    """Five digits are enough."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _short(row: Row) -> str:
    """A row for those who wait."""
    said = [f"{row['network']:12} {row['peer']:24}"]
    for kind in ("together", "alone"):
        found = row.get(kind, {})
        said.append(f"{kind} {cell(found, 'seconds', scale=1e3, digits=1)} ms "
                    f"({cell(found, 'seconds ratio')})")  # fmt: skip
    said.append(f"{cell(row, 'alone', 'growth', scale=2**-20, digits=0)} MiB")
    return "  ".join([*said, row.get("not run", "")])


def header(rows: Sequence[Row], machine: Row) -> str:
    """On what, with what and under which settings rows were measured."""
    waits = sorted({row["OMP_WAIT_POLICY"] for row in rows})
    versions = dict.fromkeys(
        ", ".join(f"{name} {value}" for name, value in row["versions"].items()) for row in rows
    )
    return (
        f"{machine['processor']}, {machine['processors']} processors, {THREADS} threads for all, "
        f"OMP_WAIT_POLICY {' or '.join(waits)}; {'; or '.join(versions)}."
    )


def not_run(rows: Sequence[Row]) -> list[str]:
    """A line for all that was not run, with the reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for where, part in (("", row), (" together", row.get("together", {}))):
            if "not run" in part:
                key = (row["peer"] + where, part["not run"])
                reasons.setdefault(key, []).append(NETWORKS[row["network"]].words)
    return [f"Not run: {peer} of {', '.join(names)}, since {why}."
            for (peer, why), names in reasons.items()]  # fmt: skip


def cell(row: Row, *path: str, scale: float = 1.0, digits: int = 2) -> str:
    """A number of a row for a table, or why there is none."""
    if "not run" in row:
        return "not run"
    value: Any = row
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return "–" if value is None else f"{value * scale:.{digits}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 2) -> str:
    """Markdown; the first columns are words, the others numbers."""
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("|" + "|".join("---" if i < words else "---:" for i in range(len(head))) + "|")
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
