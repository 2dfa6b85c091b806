"""Errors at the start of the embedded server; each message is one line with the remedy.

After the start none of them is raised: a later load failure is in the status of the version, and
the fault of a request in its answer.
"""


class ServerStartError(Exception):
    """Base of the errors at the start of the server."""


class InvalidOptions(ServerStartError):
    """The options contradict each other, or an option is out of range."""


class InvalidModelConfig(ServerStartError):
    """The model config file is missing, is not a ModelServerConfig, or breaks its rules."""


class InvalidSslConfig(ServerStartError):
    """The SSL config file is missing, is not an SSLConfig, or has no key and certificate."""


class InvalidMonitoringConfig(ServerStartError):
    """The monitoring config file is missing, or is not a MonitoringConfig."""


class NoModel(ServerStartError):
    """A base path is missing, or has no version to serve."""


class ModelLoadFailed(ServerStartError):
    """A version does not load."""


class AddressUnavailable(ServerStartError):
    """The server cannot listen on host and port."""


class PortInUse(AddressUnavailable):
    """Another program listens on the port."""
