"""What can go wrong in training for a reason the user can act on; index/errors.py has the rest of the family.

UserError
├── DatasetError     a folder of labelled pictures is not what training needs
│   └── UnknownClassesError  a model knows none of its classes
├── RunError         the folder of a training run cannot be used: one is in it already, disk full, read-only
├── CheckpointError  a checkpoint is missing, damaged or of another network
├── DownloadError    a file cannot be fetched
└── ExportError      an exported model does not do what the network does
"""

from index.errors import UserError


class DatasetError(UserError):
    """A folder of labelled pictures is not what training needs."""


class UnknownClassesError(DatasetError):
    """A model knows none of the classes of a folder of labelled pictures."""


class RunError(UserError):
    """The folder of a training run cannot be used as asked: one is in it already, disk full, read-only."""


class CheckpointError(UserError):
    """A checkpoint is missing, damaged or of another network."""


class DownloadError(UserError):
    """A file cannot be fetched."""


class ExportError(UserError):
    """An exported model does not do what the network does."""
