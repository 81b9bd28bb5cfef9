"""Book: measurements, figures and sounds in; what only the chapters show out."""
