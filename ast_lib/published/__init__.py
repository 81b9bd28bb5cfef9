"""Published: the core and the paper's fields in; the published system with its flaws and its appendix out."""
