"""Transfer: a recording and a target style in; the same notes in that style out."""

from ast_lib.transfer.recordings import (
    check_choice,
    class_style,
    synthesise,
    transfer,
    transfer_batch,
    transfer_file,
    transfer_windows,
)

__all__ = [
    "check_choice",
    "class_style",
    "synthesise",
    "transfer",
    "transfer_batch",
    "transfer_file",
    "transfer_windows",
]
