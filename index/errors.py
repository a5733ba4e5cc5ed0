"""What can go wrong for a reason that the user can act on.

UserError
├── OptionError             a value of an option makes no sense
├── MissingPackageError     an optional package is not installed
├── PhotoError              a photo named explicitly cannot be read
│   └── OutOfMemoryError    there is not enough memory for it now
├── ModelError              a model file is missing, damaged or not one of ours
├── ShardError              a file of embeddings is damaged, or its folder cannot be reached
├── ClusterError            a cluster cannot be reached, or its machines cannot do what is asked
├── PhotoIndexError         an index cannot be used as asked
│   ├── IndexNotFoundError  there is none in this folder
│   ├── IndexLockedError    another process is writing it
│   ├── IndexFormatError    its catalogue is newer, damaged or another program's
│   ├── IndexStorageError   its folder cannot be read or written: disk full, read-only, no permission
│   ├── IndexUnreachableError  the server that has it does not answer, or refuses
│   └── ModelMismatchError  it was made with another model
└── …                       those of training: training/errors.py

Each message names the thing, and its hint the next command to run. Any other exception is a bug and keeps its
traceback.
"""


class UserError(Exception):
    """Base of every error that is shown to the user as one sentence: what happened.

    `hint` is what the command line adds: which command to run next, which option to give.
    """

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def with_hint(self) -> str:
        """What the command line says."""
        return f"{self}; {self.hint}" if self.hint else str(self)


class OptionError(UserError):
    """A value of an option makes no sense; as for other wrong usage the command ends with status 2."""


class MissingPackageError(UserError):
    """An optional package is not installed; the message holds the command that installs it."""


class PhotoError(UserError):
    """A photo named explicitly cannot be read."""


class OutOfMemoryError(PhotoError):
    """There is not enough memory for a photo now: it may be whole, so it is not stored as one that is not."""

    def __init__(self, message: str = "there is not enough memory for it now; try it again", *, hint: str = "") -> None:
        super().__init__(message, hint=hint)


class ModelError(UserError):
    """A model file is missing, damaged or not one of ours."""


class ShardError(UserError):
    """A file of embeddings is damaged, or the folder or object storage that it lies in cannot be used."""


class ClusterError(UserError):
    """A cluster cannot be reached, or its machines cannot do what is asked of them."""


class PhotoIndexError(UserError):
    """An index cannot be used as asked."""


class IndexNotFoundError(PhotoIndexError):
    """There is no index in this folder."""


class IndexLockedError(PhotoIndexError):
    """Another process is writing this index."""


class IndexFormatError(PhotoIndexError):
    """The catalogue is newer than this program, damaged or another program's."""


class IndexStorageError(PhotoIndexError):
    """The index folder cannot be read or written: disk full, read-only, no permission."""


class IndexUnreachableError(PhotoIndexError):
    """The server that has the index does not answer in time, or refuses: no connection, wrong token."""


class ModelMismatchError(PhotoIndexError):
    """The index was made with another model."""
