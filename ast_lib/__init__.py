"""ast: audio style transfer with disentangled representations, reproducible from score to sound.

The map, in the order of the data. A package imports only what stands above it. The ground below all of them is a few
files beside this one: one error, whole files, checked fields, parts of a batch, the process::

    config          a preset and changed fields in; one checked configuration out, stored with every checkpoint
    audio           sound files in; mono blocks at one rate out, and back to a file; levels; streams of any length
    representation  audio in; sections of STFT and CQT magnitudes and phase advances out, and back to audio
    losses          predictions or codes in; one scalar out, one function per loss
    data            scores or recordings in; notes, clips, splits and batches of audio out
    networks        sections in; content, style, predictions and logits out; the model and its weights on disk
    transfer        a recording and a target style in; the same notes in that style out
    evaluation      outputs and true targets in; metrics, intervals, baselines, probes and the report out
    training        a configuration and data in; trained weights and their history out
    published       the core and the paper's fields in; the published system with its flaws and its appendix out
    browser         a model in; the ONNX graphs and constants with which a web page transfers, out
    book            measurements, figures and sounds in; what only the chapters show out
"""

from ast_lib.environment import prepare

prepare()
