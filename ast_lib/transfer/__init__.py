"""Transfer: a recording and a target style in; the same notes in that style out."""

from ast_lib.transfer.pipeline import class_style, synthesise, transfer, transfer_batch, transfer_file
