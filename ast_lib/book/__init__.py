"""Book: measurements, figures and sounds in; what chapters show, and nothing else needs, out."""
