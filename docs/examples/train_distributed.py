"""Train on many nodes: what docs/slurm/many-nodes.sbatch starts by torchrun, one process a GPU.

    imagenetfs run -- torchrun --nproc-per-node=4 train_distributed.py {mnt}/ILSVRC2012

ImageFolder, DistributedSampler, DistributedDataParallel; NCCL where there are GPUs, gloo where
there are none. The global batch is the same however many processes share it, so the losses
are, too (but for rounding). With --exchange 0.1 each node keeps to its own share of the images, but
for a tenth that is exchanged before each epoch, so that all nodes together read the source once.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

try:
    import torchvision  # noqa: F401
except RuntimeError:
    # It was built for another torch: two operators of its detection models are missing, which
    # it only declares here.
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from torchvision import transforms
from torchvision.datasets import ImageFolder

SIDE = 24


def transform() -> Any:
    """Turn an image into a normalised vector."""
    steps = [transforms.Resize((SIDE, SIDE)), transforms.ToTensor()]
    return transforms.Compose([*steps, transforms.Normalize(0.5, 0.25), torch.flatten])


def batches(split: Path, batch: int, exchange: float | None) -> tuple[Any, Any, int]:
    """The loader of this process's share, its sampler, and the number of classes."""
    images = ImageFolder(str(split), transform())
    # drop_last: else the sampler pads, and some images are read twice an epoch.
    sampler: Any
    if exchange is None:
        sampler = torch.utils.data.DistributedSampler(images, seed=0, drop_last=True)
    else:
        from imagenetfs.torch import NodeLocalSampler

        sampler = NodeLocalSampler(images, exchange=exchange, drop_last=True)
    share = batch // distributed.get_world_size()
    workers = 2 if (os.cpu_count() or 1) > 2 else 1
    loader = torch.utils.data.DataLoader(images, share, sampler=sampler, num_workers=workers)
    return loader, sampler, len(images.classes)


def train(root: Path, epochs: int, batch: int, exchange: float | None = None) -> None:
    """Train, and print an epoch's loss, averaged over all processes, from the first of them, and at
    the end how much of val is right.
    """
    loader, sampler, classes = batches(root / "train", batch, exchange)
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Linear(3 * SIDE * SIDE, classes).to(device))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        total = torch.zeros(2, device=device)
        for images, labels in loader:
            labels = labels.to(device)
            loss = torch.nn.functional.cross_entropy(model(images.to(device)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += torch.tensor([loss.item() * len(labels), len(labels)], device=device)
        distributed.all_reduce(total)
        if distributed.get_rank() == 0:
            print(
                f"epoch {epoch + 1}: loss {total[0] / total[1]:.4f}, {int(total[1])} images",
                flush=True,
            )
        show_share(root, epoch + 1)
    if distributed.get_rank() == 0:
        print(f"accuracy {accuracy(model.module, root / 'val', device):.3f}", flush=True)


@torch.no_grad()
def accuracy(model: Any, split: Path, device: Any) -> float:
    """The part of a split's images that is right."""
    images = ImageFolder(str(split), transform())
    right = sum(
        int((model(some.to(device)).argmax(1).cpu() == labels).sum())
        for some, labels in torch.utils.data.DataLoader(images, 64)
    )
    return right / len(images)


def show_share(root: Path, epoch: int) -> None:
    """What was read through this node's mount so far; nothing on plain directories. Images that the
    kernel has are not counted, so from the second epoch on not all.
    """
    status = root.parent / ".imagenetfs" / "status.json"
    if status.exists() and os.environ.get("LOCAL_RANK") == "0":
        counters = json.loads(status.read_text())["counters"]
        rank = distributed.get_rank()
        print(
            f"rank {rank}, epoch {epoch}: {counters['images_read']} images read on this node, "
            f"{counters['source_bytes']} bytes from the source",
            flush=True,
        )


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("root", type=Path, help="the directory with train/")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument(
        "--exchange", type=float, metavar="Q", help="node-local shares, of which Q is exchanged"
    )
    parser.add_argument("--batch", type=int, default=64, help="of all processes together")
    options = parser.parse_args()
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    train(options.root, options.epochs, options.batch, options.exchange)
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
