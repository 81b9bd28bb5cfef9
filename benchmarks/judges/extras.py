"""Packages that only judges need: the module where it is installed, one sentence where it is not.

Chapter: ``notebooks/12_evaluation.md``.
"""

import importlib
from types import ModuleType

from ast_lib.errors import AstError


def optional(module: str) -> ModuleType:
    """Import a module of the extra ``judges``.

    Raises:
        AstError: where it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise AstError(f"{module}: not found ({error}), install the extra: pip install -e '.[judges]'") from error
