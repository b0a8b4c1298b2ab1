"""What may a process of the gateway be told to do?"""

from enum import StrEnum


class Work(StrEnum):
    """What a worker does."""

    ALL = "all"
    PUSH = "push"


class Role(StrEnum):
    """What a process does."""

    ALL = "all"
    APPLICATION = "application"
    CLIENT = "client"
