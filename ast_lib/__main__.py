"""The command line: ``python -m ast_lib transfer INPUT --to violin -o OUTPUT.wav``.

Chapters: ``notebooks/16_your_own.md`` (transfer), ``notebooks/11_training.md`` (train). Page: ``book/play.md``
(export).
"""

import argparse
import os
import sys
import warnings

from ast_lib.errors import AstError


def parser() -> argparse.ArgumentParser:
    """The command's arguments, with their help."""
    command = argparse.ArgumentParser(
        prog="python -m ast_lib",
        description="Audio style transfer, piano to violin and back.",
        epilog="A file whose name begins with a dash is written ./-name.",
    )
    commands = command.add_subparsers(metavar="command", required=True)
    transfer = commands.add_parser("transfer", help="play a recording on another instrument")
    transfer.add_argument("source", metavar="INPUT", help="audio file or pipe, of any format and length")
    target = transfer.add_mutually_exclusive_group(required=True)
    target.add_argument("--to", metavar="INSTRUMENT", help="target instrument, such as violin")
    target.add_argument("--style", metavar="CLIP", help="target sound: a clip of 0.5 s or more, of any instrument")
    transfer.add_argument("-o", "--output", required=True, help="file to write: wav, flac, ogg, opus or mp3")
    transfer.add_argument("--weights", metavar="FILE", help="default: the published ones, else those of make book")
    refined = "as the model predicts it, or refined by 16 steps of Griffin-Lim (default)"
    transfer.add_argument("--phase", choices=("predicted", "refined"), default="refined", help=refined)
    transfer.set_defaults(run=run_transfer)
    train = commands.add_parser("train", help="train weights from step 0, or go on where a stopped run was")
    train.add_argument("-o", "--output", required=True, help="safetensors file to write")
    train.add_argument("--folder", required=True, help="state of the run, from which it goes on")
    train.add_argument("--profile", default="full", help="preset (default: full)")
    train.add_argument("changes", nargs="*", metavar="FIELD=VALUE", help="such as training.seed=1")
    train.set_defaults(run=run_training)
    export = commands.add_parser("export", help="write what the book's page needs to transfer in a browser")
    export.add_argument("-o", "--output", required=True, help="folder to write into")
    export.add_argument("--weights", metavar="FILE", help="default: the published ones, else those of make book")
    export.set_defaults(run=run_export)
    return command


# What is needed is imported where it is used, so that --help does not wait for PyTorch.


def run_transfer(**options) -> os.PathLike:
    from ast_lib.audio import AudioWarning
    from ast_lib.transfer import transfer_file

    with warnings.catch_warnings():
        warnings.simplefilter("always", AudioWarning)
        warnings.showwarning = lambda message, *place: tell(f"warning: {message}")
        return transfer_file(**options)


def run_training(**options) -> os.PathLike:
    from ast_lib.training.weights import train_weights

    return train_weights(**options)


def run_export(**options) -> os.PathLike:
    from ast_lib.browser import export_files

    return export_files(**options)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; a problem with the input is one line on the error stream and status 1."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # A file that is there is meant, also where its name looks like an option.
    arguments = [f"./{name}" if name.startswith("-") and os.path.isfile(name) else name for name in arguments]
    options = vars(parser().parse_args(arguments))
    run = options.pop("run")
    try:
        path = run(**options)
    except AstError as error:
        tell(error)
        return 1
    try:
        print(path)
    except UnicodeEncodeError:
        # A letter that the terminal's encoding has not, or a byte that is no letter: the name as the system has it.
        sys.stdout.buffer.write(os.fsencode(path) + b"\n")
    return 0


def tell(message: object) -> None:
    """A line on the error stream; line breaks, which names of files may hold, are written out."""
    line = str(message).replace("\r", "\\r").replace("\n", "\\n")
    print(f"ast: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
