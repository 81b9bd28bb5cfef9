"""Attention kernels on the processor: the one that PyTorch chooses against the plain mathematical one.

Forward and backward over a training batch of ``quick``: 16 clips, 4 heads, 64 sections of 64 values.
"""

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from ast_lib.book.results import Record
from ast_lib.config import preset
from benchmarks.measuring import ratio, seconds


def measure(repeats: int, profile: str = "quick") -> list[Record]:
    """Time of the chosen kernel to that of the mathematical one, with and without the causal mask, both precisions."""
    config = preset(profile)
    sizes, clips = config.model, config.training.batch
    shape = (clips, sizes.heads, sizes.window, sizes.decoder_width // sizes.heads)
    records = []
    for precision in (torch.bfloat16, torch.float32):
        query, key, value = (torch.randn(shape, dtype=precision, requires_grad=True) for _ in range(3))
        for causal in (False, True):

            def step(query=query, key=key, value=value, causal=causal):
                F.scaled_dot_product_attention(query, key, value, is_causal=causal).sum().backward()

            def mathematical(step=step):
                with sdpa_kernel(SDPBackend.MATH):
                    step()

            chosen, plain = seconds(10 * repeats, step, mathematical)
            mask = "causal" if causal else "full"
            name = str(precision).removeprefix("torch.")
            records.append(ratio(f"chosen_to_math_{mask}_{name}", "attention", chosen, plain, profile))
    return records
