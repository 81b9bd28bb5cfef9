"""Book: results, figures and players: what chapters use and nothing else."""
