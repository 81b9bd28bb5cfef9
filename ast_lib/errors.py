"""The one exception that a user is meant to read.

Everything that can go wrong with what a person supplied (a file, a field, a missing system library) raises
:class:`AstError` with one sentence that names the thing, the value found and what is accepted. Programming errors keep
their ordinary exceptions and tracebacks.
"""


class AstError(Exception):
    """A problem with the input or the installation, in words for the person who can mend it."""
