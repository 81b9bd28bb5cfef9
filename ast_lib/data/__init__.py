"""Data: scores or recordings in; notes, clips, splits and batches of audio out."""

from ast_lib.data.dataset import Dataset, RecordedDataset, Task, build_dataset, build_splits, stack_audio
