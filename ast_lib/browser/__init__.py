"""Browser: a model in; the ONNX graphs and constants with which a web page transfers, out.

Page: ``book/play.md``, whose scripts in ``book/_static/play/`` do with these files what :mod:`ast_lib.transfer` does.
"""

from ast_lib.browser.export import FILES, export_files
