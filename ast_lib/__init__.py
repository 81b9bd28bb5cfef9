"""ast: audio style transfer with disentangled representations, reproducible from score to sound.

Read in the order in which the data flows: :mod:`scores`, :mod:`synth`, :mod:`clips`, :mod:`data`, :mod:`batches`,
:mod:`representation`, :mod:`encoders`, :mod:`losses`, :mod:`discriminator`, :mod:`decoder`, :mod:`model`,
:mod:`curriculum`, :mod:`augment`, :mod:`objective`, :mod:`training`; then a recording's way: :mod:`decoding`,
:mod:`mono`, :mod:`writing`, :mod:`audio`, :mod:`levels`, :mod:`streams`, :mod:`transfer`; and what judges it:
:mod:`metrics`, :mod:`evaluation`, :mod:`display`. :mod:`config` names every choice, :mod:`environment` prepares
the process.
"""

from ast_lib.environment import prepare

prepare()
