"""Exported graphs in the places of the networks that they are of, so that the library's own pipeline runs them."""

import pathlib

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from ast_lib.config import override
from ast_lib.networks import checkpoint
from ast_lib.networks.decoder import Prediction
from ast_lib.networks.model import TransferModel


class Session(nn.Module):
    """A graph as a module of tensors."""

    def __init__(self, path: pathlib.Path):
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.names = [each.name for each in self.session.get_inputs()]

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        inputs = {
            name: np.ascontiguousarray(each.float().numpy()) for name, each in zip(self.names, tensors, strict=True)
        }
        outputs = tuple(map(torch.from_numpy, self.session.run(None, inputs)))
        return outputs if len(outputs) > 1 else outputs[0]


class Sessions:
    """The decoder's graphs, run as the page runs them; :meth:`generate` stands for :meth:`Decoder.generate`."""

    def __init__(self, model: TransferModel, graphs: dict[str, Session]):
        self.decoder, self.graphs, self.power = model.decoder, graphs, model.config.representation.compression
        self.past = None  # tokens of the sections generated so far

    def generate(self, content: Tensor, style: Tensor, prefix=None, context_weight: float = 1.0) -> Prediction:
        decoder, step, (clips, sections) = self.decoder, self.graphs["step"], content.shape[:2]
        memory = self.graphs["memory"](content, style)
        empty, one = torch.zeros(*memory.shape[:3], 0, memory.shape[4]), torch.ones(1)
        tokens = decoder.null_token.detach().expand(clips, sections, -1).clone()
        tokens[:, 0] = decoder.start_token.detach()
        alone = step(tokens, content, style, memory, empty, torch.zeros_like(tokens), one)[0]
        outputs, cache, position, known = [], empty, 0, 0 if prefix is None else prefix.shape[1]
        tokens = tokens[:, :1] if prefix is None else torch.cat([tokens[:, :1], self.past[:, -known:]], dim=1)
        following = [] if prefix is None else [self.past[:, -known:]]
        while position < sections:
            here = slice(position, position + tokens.shape[1])
            inputs = tokens, content[:, here], style, memory, cache, alone[:, here]
            mixed, tokens, cache = step(*inputs, torch.full((1,), context_weight))
            tokens, position = tokens[:, -1:], here.stop
            outputs.append(mixed[:, -1:])
            following.append(tokens)
        self.past = torch.cat(following, dim=1)
        magnitude, cosine, sine = self.graphs["head"](torch.cat(outputs, dim=1))
        parts = (each.unflatten(1, (-1, decoder.frames)) for each in (magnitude**self.power, cosine, sine))
        return Prediction(*parts)


def with_sessions(folder: pathlib.Path, weights: pathlib.Path) -> TransferModel:
    """The model of a weights file whose networks are the graphs in a folder."""
    model = checkpoint.load_weights(weights)
    model.config = override(model.config, "training.precision=32-true")
    graphs = {path.stem: Session(path) for path in folder.glob("*.onnx")}

    def input_windows(sound):
        audio = sound.whole()
        yield graphs["inputs"](audio, model.representation.spectrogram(audio).abs().square())

    model.input_windows = input_windows
    model.content_encoder, model.style_encoder = graphs["content"], graphs["style"]
    model.decoder.generate = Sessions(model, graphs).generate
    model.magnitude = lambda prediction: prediction.magnitude  # the graph has denormalised it
    return model
