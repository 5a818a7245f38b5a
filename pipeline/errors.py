"""The ways a command may end, each with its exit code. Whoever raises one says where, what, why and how to mend it."""

from pipeline.masking import mask


class UnrollError(Exception):
    """What a person can mend; its text is shown without a traceback, and holds no secret wherever it goes."""

    exit_code = 1

    def __init__(self, text: object) -> None:
        super().__init__(mask(str(text)))


class ParamsError(UnrollError):
    """A wrong command line, params.yaml or corpora.yaml."""

    exit_code = 2


class DataError(UnrollError):
    """A corpus that can not be read or used."""

    exit_code = 3


class IntegrityError(UnrollError):
    """A file that is not what it should be: a wrong hash, a broken or untrusted model."""

    exit_code = 4


class DivergedError(UnrollError):
    """A training whose loss is no longer a number."""

    exit_code = 5


class InfrastructureError(UnrollError):
    """A disk, cluster, server or memory that failed."""

    exit_code = 6


class StoppedError(UnrollError):
    """A training that a person stopped; it goes on when it is run again."""

    exit_code = 130
