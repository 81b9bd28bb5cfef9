"""What chapters use and nothing else: results as data, figures and players."""
