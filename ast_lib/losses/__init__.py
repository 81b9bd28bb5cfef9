"""Losses: predictions or codes in; one scalar out, one function per loss.

==================================  =====================  ====================================  =======
loss                                file                   source                                chapter
==================================  =====================  ====================================  =======
``info_nce``                        ``contrastive.py``     van den Oord et al. 2018, eq. 4       05
``supervised_info_nce``             ``contrastive.py``     Khosla et al. 2020, eq. 2             05
``prototype_margin``                ``margin.py``          hinge on distances, no square         06
``hsic_biased``                     ``hsic.py``            Gretton et al. 2005, definition 2     07
``discriminator_cross_entropy``     ``adversarial.py``     Goodfellow et al. 2014, eq. 1         08
``negative_entropy``                ``adversarial.py``     Roy and Boddeti 2019                  08
``magnitude_l1``                    ``reconstruction.py``  error of magnitudes                   09
``log_spectral``                    ``reconstruction.py``  Gray and Markel 1976, log deviation   09
``phase_advance_loss``              ``phase.py``           1 − cos of the angle between phasors  09
==================================  =====================  ====================================  =======

Conventions shared by all of them:

* Inputs of lower precision are computed in float32, also inside an autocast region; float64 stays float64.
* NaN in the input is NaN in the loss. A batch that gives a term nothing to do yields 0 with a gradient of 0.
* ``B`` clips, ``S`` sections, ``T`` frames of a section, ``F`` frequency bins, ``d`` values of a code, ``K`` classes.
* Several processes: a loss that compares clips with each other must be given the gathered, global batch.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from ast_lib.errors import AstError


def _widen(value):
    if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex()):
        return value.to(torch.promote_types(value.dtype, torch.float32))
    return value


def full_precision(function: Callable) -> Callable:
    """Decorator: tensors of less than float32 arrive as float32, and autocast is off inside.

    Autocast would multiply matrices in bfloat16 even when both are float32: similarities and kernels would lose
    five of their seven digits.
    """

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        args = [_widen(value) for value in args]
        kwargs = {name: _widen(value) for name, value in kwargs.items()}
        device = next(value.device.type for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return wrapped


def check_shapes(**tensors: Tensor) -> None:
    """Raise :class:`AstError` when two tensors differ in shape: broadcasting would give a wrong loss without a word."""
    (first, expected), *others = ((name, tuple(tensor.shape)) for name, tensor in tensors.items())
    for name, shape in others:
        if shape != expected:
            raise AstError(f"{name}: found shape {shape}, accepted is the shape of {first}, {expected}")


def check_positive(**values: float) -> None:
    """Raise :class:`AstError` for a value that is not above 0."""
    for name, value in values.items():
        if not value > 0:
            raise AstError(f"{name}: found {value}, accepted is above 0")


def zero(tensor: Tensor) -> Tensor:
    """A 0 that still belongs to the graph of ``tensor`` (gradient 0); NaN when a value of it is not finite."""
    return (tensor * 0).sum()
