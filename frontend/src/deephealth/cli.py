"""The command line: `deephealth demo | predict | run | check | tool | data`.

`demo` and `predict` are built-in documents, and their options are the documents' parameters; `tool`
runs one operation, and its options are the operation's signature. Whatever goes wrong is one line
on stderr and an exit code: 2 for what was asked, 3 for data out of reach, 130 for an interruption,
1 for a fault of the toolkit itself. `tests/end_to_end` holds this.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deephealth import __version__
from deephealth.errors import DeepHealthError, in_one_line
from deephealth.result import Result

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    >>> main(["check", "missing.yml"])
    2
    """
    try:
        with _quiet():
            options = _parser(arguments).parse_args(arguments)
            action: Callable[[argparse.Namespace], int] = options.action
            return action(options)
    except KeyboardInterrupt:
        _complain("stopped; a demo or run goes on with --resume")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (DeepHealthError, OSError) as error:
        return _failed(Result.failure(str(error), error))


def _complain(reason: str) -> None:
    print(f"deephealth: {in_one_line(reason)}", file=sys.stderr)


def _failed(result: Result[Any]) -> int:
    from deephealth.operations.catalogue import is_expected

    error = result.error
    _complain(str(result.reason))
    if os.environ.get("DEEPHEALTH_TRACEBACK") and error is not None:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, DeepHealthError):
        return error.exit_code
    return 2 if error is None or is_expected(error) else 1


@contextmanager
def _quiet() -> Iterator[None]:
    """Warnings of the toolkit as one line each, those of other libraries not at all."""
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", module=r"(deephealth|ecvl|eddl)(\.|$)")

        def show(message: Warning | str, *_: Any, **__: Any) -> None:
            print(f"warning: {in_one_line(message)}", file=sys.stderr)

        warnings.showwarning = show
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _parser(arguments: Sequence[str] | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deephealth", description=__doc__.split("\n")[0])
    parser.add_argument("--version", action="version", version=f"deephealth {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    given = list(sys.argv[1:] if arguments is None else arguments)
    chosen = next((word for word in given if not word.startswith("-")), None)
    for name, (help, add) in _COMMANDS.items():
        command = commands.add_parser(name, help=help, description=help)
        if name == chosen:
            add(command)
    return parser


def _add_demo(parser: argparse.ArgumentParser) -> None:
    from deephealth.pipelines import load_builtin

    document = load_builtin("demo")
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="default: demo-out")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    _add_parameters(parser, document.declared)
    parser.set_defaults(action=lambda options: _demo(options))


def _add_parameters(parser: argparse.ArgumentParser, declared: dict[str, dict[str, Any]]) -> None:
    for name, spec in declared.items():
        default = spec.get("default")
        shown = "" if default is None else f" (default: {default})"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=f"set_{name}",
            metavar=spec["type"].upper(),
            help=f"{spec.get('help', '')}{shown}",
        )


def _demo(options: argparse.Namespace) -> int:
    from deephealth.pipelines import load_builtin

    chosen = _chosen(options)
    return _run(load_builtin("demo"), chosen, options.out, options.resume)


def _chosen(options: argparse.Namespace) -> dict[str, str]:
    return {
        name.removeprefix("set_"): value
        for name, value in vars(options).items()
        if name.startswith("set_") and value is not None
    }


def _add_predict(parser: argparse.ArgumentParser) -> None:
    from deephealth.pipelines import load_builtin

    declared = load_builtin("predict").declared
    parser.add_argument("set_model", metavar="MODEL", help=declared.pop("model")["help"])
    parser.add_argument("set_input", metavar="SERIES_OR_NIFTI", help=declared.pop("input")["help"])
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help=declared.pop("output")["help"]
    )
    _add_parameters(parser, declared)
    parser.set_defaults(action=lambda options: _predict(options))


def _predict(options: argparse.Namespace) -> int:
    from deephealth.pipelines import load_builtin, run

    output: Path = options.output
    if not output.parent.is_dir():
        raise DeepHealthError(f"the folder {output.parent} does not exist; make it first")
    for given in (options.set_input, options.set_model):
        if output.exists() and Path(given).exists() and output.samefile(given):
            raise DeepHealthError(f"{output} would overwrite what is read; choose another --output")
    document, roots = _with_parameters(load_builtin("predict"), _chosen(options))
    document = document.set(output=output.name)
    result = run(document, output.parent, roots=roots)
    if not result.ok:
        return _failed(result)
    print(f"wrote {output}")
    return 0


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("document", type=Path, help="a pipeline document (.yml or .json)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="pairs")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write into")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    parser.set_defaults(action=_run_document)


def _run_document(options: argparse.Namespace) -> int:
    from deephealth.pipelines import load

    pairs = [pair.partition("=") for pair in options.pairs]
    wrong = [name for name, equals, _ in pairs if not equals]
    if wrong:
        raise DeepHealthError(f"received --set {wrong[0]}; expected --set NAME=VALUE")
    chosen = {name: value for name, _, value in pairs}
    return _run(load(options.document), chosen, options.out, options.resume)


def _run(document: Any, chosen: dict[str, str], out: Path, resume: bool) -> int:
    """Check and run a document into a folder of its own, then show its figures."""
    from deephealth.pipelines import check, run
    from deephealth.pipelines.folder import claim
    from deephealth.report import table

    document, roots = _with_parameters(document, chosen)
    for problem in check(document)[:1]:
        raise DeepHealthError(f"the document cannot run: {problem}")
    free = frozenset(name for name, spec in document.declared.items() if spec["type"] == "path")
    with claim(out, document, resume, free) as (taken, state):
        result = run(taken, out, roots=roots, keep=state, listen=_tell)
    if not result.ok:
        return _failed(result)
    for value in result.value.values():
        if isinstance(value, dict) and value.get("schema") == "deephealth/report/v1":
            print(table(value))
    written = sorted(one.name for one in out.iterdir() if not one.name.startswith("."))
    print(f"\nin {out}: {', '.join(written)}")
    return 0


def _with_parameters(document: Any, chosen: dict[str, str]) -> tuple[Any, list[Path]]:
    """The document with parameters of the command line, whose paths are relative to here."""
    roots = []
    values = dict(chosen)
    for name, value in chosen.items():
        if document.declared.get(name, {}).get("type") == "path":
            roots.append(Path(value).absolute())
            values[name] = str(roots[-1])
    return document.set(**values), roots


def _tell(event: Any) -> None:
    if event.status in ("finished", "reused") and event.seconds > 0.1 and sys.stderr.isatty():
        took = "as before" if event.status == "reused" else f"{event.seconds:.1f} s"
        print(f"  {event.step}: {took}", file=sys.stderr)


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("document", type=Path, help="a pipeline document (.yml or .json)")
    parser.set_defaults(action=_check)


def _check(options: argparse.Namespace) -> int:
    from deephealth.pipelines import check, load

    problems = check(load(options.document))
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{options.document} can run")
    return 2 if problems else 0


def _add_tool(parser: argparse.ArgumentParser) -> None:
    from deephealth.operations import CATALOGUE

    tools = parser.add_subparsers(metavar="NAME")
    for name in CATALOGUE:
        one = CATALOGUE[name]
        command = tools.add_parser(
            name,
            help=one.help,
            description=one.usage,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.add_arguments(command)
        command.set_defaults(action=lambda options, one=one: _tool(one, options))
    parser.set_defaults(action=lambda options: print("\n".join(CATALOGUE)) or 0)


def _tool(operation: Any, options: argparse.Namespace) -> int:
    inputs, parameters, outputs = operation.from_arguments(options)
    result = operation.run(inputs, parameters)
    if not result.ok:
        return _failed(result)
    for name, value in result.value.items():
        if name in outputs:
            operation.outputs[name].construct(value, outputs[name])
        else:
            print(f"{name}: {value}")
    return 0


def _add_data(parser: argparse.ArgumentParser) -> None:
    from deephealth import data

    parser.add_argument("what", choices=["list", "fetch"])
    parser.add_argument("name", nargs="?", choices=data.names(), default=data.names()[0])
    parser.add_argument("--data", type=Path, help="a folder with the archive, not the network")
    parser.set_defaults(action=_data)


def _data(options: argparse.Namespace) -> int:
    from deephealth import data
    from deephealth.operations.ports import Context

    if options.what == "list":
        for name in data.names():
            one = data.manifest(name)
            print(f"{name}: {one.title} ({one.package} {one.version}, {one.licence})")
        return 0
    found = data.manifest(options.name)
    with Context().progress(found.bytes, f"fetching {found.package}", "B") as move:
        folder = data.fetch(found, options.data, move=move)
    print(json.dumps({"folder": str(folder), "licence": found.licence}))
    return 0


_COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "demo": ("train on one patient's CT, measure on another's, write a report", _add_demo),
    "predict": ("find organs in a CT series or volume with a trained model", _add_predict),
    "run": ("run a pipeline document", _add_run),
    "check": ("say what is wrong with a pipeline document", _add_check),
    "tool": ("run one operation of the catalogue", _add_tool),
    "data": ("list or fetch public data", _add_data),
}
