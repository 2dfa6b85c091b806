"""What is wrong with how a command was called."""


class UserMistake(Exception):
    """The arguments of a command do not make sense together, or name what is not there."""


class MissingExtra(UserMistake):
    """The command needs a part of the package that is not installed."""
