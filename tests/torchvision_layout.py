"""AlexNet of torch's own layers, in the order and under the names of torchvision's file: an oracle."""

import torch
from torch import Tensor, nn


class TorchvisionLayout(nn.Module):
    """`features`, then an average to 6 x 6, then `classifier`."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
        )
        self.average = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, classes),
        )

    def fc7(self, x: Tensor) -> Tensor:
        """Return the top hidden layer (n, 4096) of normalised pictures (n, 3, 224, 224)."""
        found: Tensor = self.classifier[:-1](self.average(self.features(x)).flatten(1))
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (n, classes)."""
        scores: Tensor = self.classifier[-1](self.fc7(x))
        return scores


def torchvision_alexnet(classes: int, *, seed: int | None = 0) -> TorchvisionLayout:
    """Return the network with weights that keep every layer alive, for inference; without a seed, shapes alone."""
    with torch.device("meta"):
        network = TorchvisionLayout(classes).eval()
    if seed is not None:
        network.to_empty(device="cpu")
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for values in network.parameters():
                values.normal_(std=(2 / values[0].numel()) ** 0.5 if values.ndim > 1 else 0.1, generator=generator)
    return network
