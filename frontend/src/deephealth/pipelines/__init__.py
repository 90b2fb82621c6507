"""Pipelines: one document that people read, the command line runs and a page can draw.

A document is a list of steps ``{id, op, params, inputs: {port: "step.port"}}``; its edges are its
inputs. `document` reads it, `check` says what is wrong with it row by row, `run` runs it step by
step. A step names an operation of the catalogue and nothing else, so no document can name Python
code.
"""

from deephealth.pipelines.check import Problem, check
from deephealth.pipelines.document import Document, load, load_builtin
from deephealth.pipelines.runner import Event, run

__all__ = ["Document", "Event", "Problem", "check", "load", "load_builtin", "run"]
