"""Errors in the call of a command."""


class UserMistake(Exception):
    """The arguments of a command conflict, or name something that does not exist."""


class MissingExtra(UserMistake):
    """The command needs an extra of the package that is not installed."""
