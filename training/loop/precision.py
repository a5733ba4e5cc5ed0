"""In which numbers a network is multiplied while it learns; its weights are float32 always."""

import torch

from index.errors import UserError
from training.loop.recipe import Recipe


def chosen_precision(recipe: Recipe, device: torch.device) -> torch.dtype:
    """Return the numbers to multiply in; `auto`: bfloat16 where the processor is made for it, else float32.

    Raises UserError for float16 on a CPU, which is slow at it.
    """
    match recipe.precision:
        case "auto":
            return torch.bfloat16 if _made_for_bfloat16(device) else torch.float32
        case "float16" if device.type == "cpu":
            raise UserError("--precision float16 needs a GPU; on a CPU give bfloat16, float32 or auto")
        case "float16":
            return torch.float16
        case "bfloat16":
            return torch.bfloat16
        case "float32":
            return torch.float32


def name_of(precision: torch.dtype) -> str:
    """Return the name that `--precision` knows."""
    return str(precision).removeprefix("torch.")


def _made_for_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Instructions that multiply it: twice as fast as float32 or more. Older versions of torch cannot tell.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))
