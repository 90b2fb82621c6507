"""How long does a prediction take, and how much memory, against onnxruntime, OpenVINO and PyTorch?

Every network of `networks.py`, and the classifiers with one sample, too. onnxruntime (all its
optimisations) and OpenVINO (latency hint, computing in float32) read the file that `Model.save`
wrote; PyTorch has the twin with the same weights, in inference mode. Inputs are static arrays, and
each returns an array. `measure.py` says what runs how; all outputs must agree.

    python benchmarks/eddl_inference.py [--networks unet32,vnet] [--peers eddl,onnxruntime]

A run replaces those rows of `eddl_inference.json` that it measured, and writes
`eddl_inference.md`.
"""

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from measure import THREADS, Action, Benchmark, Peer, Row, cell, header, not_run, table
from networks import BATCHES, NETWORKS, Network
from peers import own_peer, torch_peers, twin, versions

PASSIVE = os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"
"""Whether threads that wait sleep at once: then onnxruntime's must do so, too."""

RUNTIMES = ("onnxruntime", "openvino")
AIMS = {"onnxruntime": (0.9, 1.3), "openvino": (1.2, None)}
"""The ratio to be reached on half of the networks, and the one to be kept on all."""


def ours(network: Network, model: Any) -> Action:
    model = model or network.model()
    data, _ = network.batch()
    return lambda: model.predict(data, batch_size=len(data))


def saved(network: Network, model: Any, folder: str) -> str:
    path = str(Path(folder) / "network.onnx")
    (model or network.model()).save(path)
    return path


def onnxruntime(network: Network, model: Any) -> Action:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    if PASSIVE:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with tempfile.TemporaryDirectory() as folder:
        session = onnxruntime.InferenceSession(
            saved(network, model, folder), options, providers=["CPUExecutionProvider"]
        )
    data, _ = network.batch()
    given = {session.get_inputs()[0].name: data}
    return lambda: session.run(None, given)[0]


def openvino(network: Network, model: Any) -> Action:
    import openvino

    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder:
        graph = core.read_model(saved(network, model, folder))
        graph.reshape(list(network.shape))
        compiled = core.compile_model(graph, "CPU", {
            "INFERENCE_NUM_THREADS": THREADS, "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        })  # fmt: skip
    request = compiled.create_infer_request()
    data, _ = network.batch()
    return lambda: request.infer({0: data}, share_inputs=True)[0]


def torch(last: bool, compiled: bool, network: Network, model: Any) -> Action:
    import torch

    made, run, layout = twin(last, compiled, network, model)
    made.eval()
    data = torch.from_numpy(network.batch()[0]).to(memory_format=layout)

    def predict() -> Any:
        with torch.inference_mode():
            return run(data).numpy()

    return predict


def report(rows: list[Row], machine: Row) -> str:
    """What was aimed at and reached, and all that was measured."""
    by_key = {(row["network"], row["peer"]): row for row in rows}
    names = [name for name in NETWORKS if (name, "eddl") in by_key]
    peers = [peer for peer in BENCHMARK.peers if peer != "eddl"]
    summary = [
        [
            NETWORKS[name].words, str(NETWORKS[name].shape[0]),
            *(cell(by_key.get((name, p), {}), kind, "seconds ratio")
              for p in RUNTIMES for kind in ("together", "alone")),
            *(cell(by_key.get((name, p), {}), "together", "seconds ratio")
              for p in peers if p not in RUNTIMES),
            *(cell(by_key.get((name, p), {}), "alone", "growth ratio") for p in RUNTIMES),
        ]
        for name in names
    ]  # fmt: skip
    whole = [
        [
            NETWORKS[row["network"]].words, row["peer"],
            *(cell(row, kind, key, scale=1e3, digits=2)
              for kind in ("together", "alone") for key in ("seconds", "processor")),
            *(cell(row, kind, f"{key} ratio")
              for kind in ("together", "alone") for key in ("seconds", "processor")),
            cell(row, "together", "apart", digits=7), cell(row, "alone", "first"),
            cell(row, "alone", "growth", scale=2**-20, digits=0),
            "–".join(map(str, row["load"])),
        ]
        for row in rows
    ]  # fmt: skip
    return "\n".join([
        "# A prediction: eddl against onnxruntime, OpenVINO and PyTorch", "",
        header(rows, machine), "", "## Ratios of our time and memory to theirs", "",
        "Of medians, step by step in turn (together; PyTorch's are of this kind), or each by "
        "itself (alone). Memory is the growth from before the network is made, all libraries being "
        "loaded, to the peak of the third prediction.", "",
        table(["network", "batch",
               *(f"{p}, {kind}" for p in RUNTIMES for kind in ("together", "alone")),
               *(p for p in peers if p not in RUNTIMES),
               *(f"memory, {p}" for p in RUNTIMES)], summary, words=1),
        "", *(_reached(by_key, peer) for peer in RUNTIMES),
        "", "## All", "",
        "Milliseconds, medians, of wall and processor time; ratios of ours to the row's; how far "
        "its output is from ours, of the greatest value; the first prediction in seconds, from "
        "before the network is made; growth of memory in MiB; the load of the machine before and "
        "after.", "",
        table(["network", "peer", "together", "processor", "alone", "processor",
               "ratio together", "processor", "ratio alone", "processor", "apart",
               "first", "memory", "load"], whole),
        "", *not_run(rows), "",
    ])  # fmt: skip


def _reached(by_key: dict[tuple[str, str], Row], peer: str) -> str:
    most, never = AIMS[peer]
    ratios = {name: row["together"]["seconds ratio"] for (name, p), row in by_key.items()
              if p == peer and "seconds ratio" in row.get("together", {})}  # fmt: skip
    batches = [ratios[name] for name in BATCHES if name in ratios]
    text = (
        f"{peer}: {sum(r <= most for r in batches)} of {len(batches)} at most {most} (half wanted)"
    )
    if never is not None:
        text += (
            f"; with one sample, too, {sum(r > never for r in ratios.values())} of {len(ratios)} "
            f"above {never} (none wanted)"
        )
    return f"{text}.  "


BENCHMARK = Benchmark(
    __file__,
    {
        "eddl": own_peer(ours),
        "onnxruntime": Peer(onnxruntime, imports=("onnxruntime", "onnx")),
        "openvino": Peer(openvino, imports=("openvino", "onnx")),
        **torch_peers(torch, "torch "),
    },
    ours=("eddl",),
    versions=partial(versions, *RUNTIMES),
    report=report,
    networks=tuple(NETWORKS),
)

if __name__ == "__main__":
    BENCHMARK.main()
