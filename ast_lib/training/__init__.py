"""Training: a configuration and data in; trained weights and their history out."""

from ast_lib.training.trainer import Trainer, train
