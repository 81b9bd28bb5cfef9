"""Networks: sections in; content, style, predictions and logits out; the model and its weights on disk."""
