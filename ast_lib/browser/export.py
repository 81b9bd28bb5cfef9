"""Export: weights in; a folder of ONNX graphs and one JSON file, which is all that a page needs, out.

Page: ``book/play.md``. Weights are stored as float16 and cast to float32 where they are used: half the size, and the
arithmetic of float32.
"""

import contextlib
import hashlib
import io
import json
import logging
import os
import pathlib
import warnings

import torch
from torch import Tensor, nn

from ast_lib.audio import levels, mono, streams, writing
from ast_lib.browser.graphs import Head, Inputs, Memory, Step
from ast_lib.checked import to_dict
from ast_lib.errors import AstError
from ast_lib.files import write_bytes
from ast_lib.networks import checkpoint
from ast_lib.networks.model import LANES, LONGEST, SHORTEST, TransferModel
from ast_lib.representation import features, griffin_lim
from ast_lib.transfer import latency, one_shot, pipeline, tuning

OPSET = 20  # the first that has GELU
LARGE = 4096  # values of a tensor from which it is stored in half precision
EXACT = ("kernels", "feed")  # computed, not stored with the weights: these stay in full precision
GRAPHS = ("inputs", "content", "style", "memory", "step", "head")
CONSTANTS = "transfer.json"
LEVELS = (
    "RMS",
    "FRAME",
    "STROKE",
    "FAINT",
    "PHRASE",
    "AROUND",
    "SOFT",
    "SILENT",
    "STEADY",
)  # constants of audio.levels
FILES = (*(f"{name}.onnx" for name in GRAPHS), CONSTANTS)
# Names of free axes, as they are written below: one number a letter, whatever the graph.
SIZES = {"B": 2, "N": 9000, "T": 19, "S": 6, "n": 3, "P": 5, "M": 12}


def graphs(model: TransferModel) -> dict[str, tuple[nn.Module, dict[str, str], tuple[str, ...]]]:
    """Of each graph: the module, its inputs with their axes (letters are free, numbers are not) and its outputs."""
    sizes, shape = model.config.model, model.config.representation
    width, heads, layers = sizes.decoder_width, model.config.model.heads, len(model.decoder.layers)
    sections = f"B S {shape.section_frames} {shape.stft_bins + shape.cqt_bins}"
    content, style = f"B S {sizes.content_size}", f"B {sizes.style_size}"
    cache = f"{2 * layers} B {heads} {{}} {width // heads}"
    step = {"tokens": f"B n {width}", "content": f"B n {sizes.content_size}", "style": style}
    step |= {"memory": cache.format("M"), "cache": cache.format("P"), "alone": f"B n {width}", "weight": "1"}
    return {
        "inputs": (Inputs(model), {"audio": "B N", "power": f"B T {shape.stft_bins}"}, ("sections",)),
        "content": (model.content_encoder, {"sections": sections}, ("content",)),
        "style": (model.style_encoder, {"sections": sections}, ("style",)),
        "memory": (Memory(model.decoder), {"content": content, "style": style}, ("memory",)),
        "step": (Step(model.decoder), step, ("mixed", "next", "longer")),
        "head": (Head(model), {"mixed": f"B S {width}"}, ("magnitude", "cosine", "sine")),
    }


def example(axes: dict[str, str], sizes: dict[str, int] = SIZES, seed: int = 0) -> dict[str, Tensor]:
    """Random inputs with these axes; not negative, since one of them is a power."""
    random = torch.Generator().manual_seed(seed)
    shapes = {name: [int(sizes.get(axis, axis)) for axis in text.split()] for name, text in axes.items()}
    return {name: torch.rand(shape, generator=random) for name, shape in shapes.items()}


def to_onnx(module: nn.Module, axes: dict[str, str], outputs: tuple[str, ...]) -> bytes:
    """An ONNX file of a module, large weights in half precision, without a trace of the machine that wrote it."""
    import onnx_ir as ir

    free = {letter: torch.export.Dim.DYNAMIC for letter in SIZES}
    dynamic = {
        name: {place: free[axis] for place, axis in enumerate(text.split()) if axis in free}
        for name, text in axes.items()
    }
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    # Without gradients PyTorch fuses layers into what ONNX has not.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.enable_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            kwargs=example(axes),
            input_names=list(axes),
            output_names=list(outputs),
            dynamic_shapes=dynamic,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    graph = program.model.graph
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value.numpy()
        if tensor.dtype == "float32" and tensor.size >= LARGE and name.split(".")[-1] not in EXACT:
            _halve(graph, value, tensor)
    program.model.metadata_props.clear()
    program.model.producer_version = None
    for node in graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
    for value in (*graph.initializers.values(), *graph.inputs, *graph.outputs):
        value.metadata_props.clear()
    return ir.to_proto(program.model).SerializeToString()


def _halve(graph, value, tensor) -> None:
    """Store an initializer in half precision, and cast it where it is used."""
    import onnx_ir as ir

    cast = ir.node("Cast", [value], {"to": ir.DataType.FLOAT})
    value.replace_all_uses_with(cast.outputs[0])
    cast.replace_input_with(0, value)
    value.const_value = ir.tensor(tensor.astype("float16"), name=value.name)
    value.dtype = ir.DataType.FLOAT16
    graph.insert_before(graph[0], cast)


def constants(model: TransferModel, weights: str | os.PathLike, files: dict[str, bytes]) -> dict:
    """What the page needs beside the graphs, JSON-able; names are those of the library."""
    shape, sizes, decoder = model.config.representation, model.config.model, model.decoder
    metadata = checkpoint.read_metadata(weights)
    names = ("sample_rate", "n_fft", "hop", "section_frames", "compression")
    values = {name: getattr(shape, name) for name in names}
    values |= {name: getattr(sizes, name) for name in ("window", "overlap", "context_weight")}
    return {
        "representation": values
        | {"bins": shape.stft_bins, "inputs": shape.stft_bins + shape.cqt_bins}
        | {"reach": max(model.representation.constant_q.reach, shape.n_fft), "block": features.SECTIONS},
        "decoder": {
            "width": decoder.width,
            "heads": sizes.heads,
            "layers": len(decoder.layers),
            "content": sizes.content_size,
            "start": decoder.start_token.tolist(),
            "null": decoder.null_token.tolist(),
            "lanes": LANES,
            "shortest": SHORTEST,
            "longest": LONGEST,
        },
        "instruments": list(model.config.instruments),
        "prototypes": model.prototypes.tolist(),
        "latency": model.latency.tolist(),
        "near": latency.NEAR,
        "griffin_lim": {"steps": pipeline.PHASES["refined"], "frames": griffin_lim.FRAMES},
        "levels": {
            **{name.lower(): getattr(levels, name) for name in LEVELS},
            "none": levels.NO_LEVEL,
            "silence": mono.SILENCE,
            "cancelled": mono.CANCELLED,
            "peak": writing.PEAK,
            "shortest_style": one_shot.SHORTEST_STYLE,
        },
        "tuning": {
            "window": tuning.WINDOW,
            "hop": tuning.HOP,
            "lowest": tuning.LOWEST,
            "highest": tuning.HIGHEST,
            "faint": tuning.FAINT,
            "pitched": tuning.PITCHED,
            "in_tune": tuning.IN_TUNE,
            "block": streams.BLOCK,
        },
        "weights": {
            "name": pathlib.Path(weights).name,
            "sha256": hashlib.sha256(pathlib.Path(weights).read_bytes()).hexdigest(),
            "config": to_dict(model.config),
            "provenance": metadata["provenance"],
        },
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        },
    }


def export_files(output: str | os.PathLike, weights: str | os.PathLike | None = None) -> pathlib.Path:
    """Write :data:`FILES` into a folder, which is made if only its last part is missing; the JSON file comes last.

    Args:
        output: the folder.
        weights: a weights file; by default :func:`ast_lib.networks.checkpoint.find_weights`.

    Raises:
        AstError: for unreadable weights, a folder that cannot be written, or missing packages.
    """
    weights = checkpoint.find_weights() if weights is None else weights
    model, folder = checkpoint.load_weights(weights), pathlib.Path(output)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise AstError(f"{folder}: could not be made: {error.strerror or error}") from error
    files = {f"{name}.onnx": to_onnx(*parts) for name, parts in graphs(model).items()}
    for name, data in files.items():
        write_bytes(folder / name, data)
    text = json.dumps(constants(model, weights, files), indent=1, allow_nan=False)
    write_bytes(folder / CONSTANTS, text.encode())
    return folder
