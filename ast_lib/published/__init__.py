"""The published system and the decoders of its appendix. Imports the core; the core never imports it."""
