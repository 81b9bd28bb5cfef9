"""``python -m benchmarks [QUESTION ...]``: measure, print a table, write ``results/benchmarks.json``."""

import argparse
import importlib
import sys

from ast_lib.book import results
from ast_lib.errors import AstError
from ast_lib.files import ROOT
from benchmarks.measuring import machine

QUESTIONS = ("attention", "decoding", "features", "transfer_speed", "training_step", "threads", "gpu_share")


def main(arguments: list[str] | None = None) -> int:
    """Ask the questions; one that this machine cannot answer is left out and says why."""
    command = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed as ratios, measured in one run.")
    command.add_argument("questions", nargs="*", metavar="QUESTION", help=f"of {', '.join(QUESTIONS)}; all by default")
    command.add_argument("--repeats", type=int, default=7, help="turns, of which the median counts (7)")
    command.add_argument("--output", default=str(ROOT / "results" / "benchmarks.json"), help="results/benchmarks.json")
    options = command.parse_args(arguments)
    questions = options.questions or QUESTIONS
    if unknown := sorted(set(questions) - set(QUESTIONS)):
        print(f"benchmarks: found {unknown[0]!r}, accepted are {', '.join(QUESTIONS)}", file=sys.stderr)
        return 1
    words, records = machine()
    print(words)
    for question in questions:
        try:
            records += importlib.import_module(f"benchmarks.{question}").measure(options.repeats)
        except AstError as error:
            print(f"left out: {error}", file=sys.stderr)
    print(results.to_frame(records, "text").fillna("").to_string())
    if not options.questions:
        print(results.write(options.output, records))
    return 0


if __name__ == "__main__":
    sys.exit(main())
