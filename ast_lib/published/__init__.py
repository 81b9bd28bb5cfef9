"""Published: the core and the paper's fields in; its system and its appendix, flaws included, out."""
