"""For PyTorch: ``ImageFolder`` over a mount, a split or a directory, and ``NodeLocalSampler``.

The one package of this project that needs torch. See docs/python.md.
"""

from __future__ import annotations

from imagenetfs.torch.image_folder import ImageFolder, pil_loader
from imagenetfs.torch.node_local_sampler import NodeLocalSampler

__all__ = ["ImageFolder", "NodeLocalSampler", "pil_loader"]
