"""The command line: ``python -m ast_lib transfer INPUT --to violin -o OUTPUT.wav``.

Chapter: ``notebooks/16_your_own.md``.
"""

import argparse
import sys

from ast_lib.errors import AstError


def parser() -> argparse.ArgumentParser:
    """The command's arguments, with their help."""
    command = argparse.ArgumentParser(
        prog="python -m ast_lib", description="Audio style transfer, piano to violin and back."
    )
    commands = command.add_subparsers(dest="command", required=True)
    transfer = commands.add_parser("transfer", help="play a recording on another instrument")
    transfer.add_argument("input", metavar="INPUT", help="wav, flac, mp3, ogg or opus, of any length")
    target = transfer.add_mutually_exclusive_group(required=True)
    target.add_argument("--to", metavar="INSTRUMENT", help="target instrument, such as violin")
    target.add_argument("--style", metavar="CLIP", help="target sound: a clip of 0.5 s or more, of any instrument")
    transfer.add_argument(
        "-o", "--output", required=True, metavar="OUTPUT", help="file to write: wav, flac, ogg, opus or mp3"
    )
    transfer.add_argument(
        "--weights", metavar="FILE", help="weights to use (default: published ones, else make book's)"
    )
    transfer.add_argument(
        "--phase",
        choices=("predicted", "refined"),
        default="refined",
        help="as the model predicts it, or refined by 16 steps of Griffin-Lim (default)",
    )
    return command


def main(arguments: list[str] | None = None) -> int:
    """Run the command; a problem with the input is one line on the error stream and status 1."""
    options = parser().parse_args(arguments)
    try:
        # Imported here, so that --help does not wait for PyTorch.
        from ast_lib.transfer import transfer_file

        print(transfer_file(options.input, options.to, options.output, options.weights, options.phase, options.style))
    except AstError as error:
        print(f"ast: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
