"""Networks: sections in; style and content codes, a prediction of the target, and what the adversary reads out."""
