"""What can keep the embedded server from starting; each message is one line and says the mend.

After the start nothing of this family is raised: a version that does not load later is reported by
its status, and a bad request by its answer.
"""


class ServerStartError(Exception):
    """Base of every reason for which the server does not start."""


class InvalidOptions(ServerStartError):
    """The options contradict each other, or one is out of its range."""


class InvalidModelConfig(ServerStartError):
    """The model config file is missing, is no ModelServerConfig, or breaks its rules."""


class InvalidSslConfig(ServerStartError):
    """The SSL config file is missing, is no SSLConfig, or holds no key and certificate."""


class InvalidMonitoringConfig(ServerStartError):
    """The monitoring config file is missing, or is no MonitoringConfig."""


class NoModel(ServerStartError):
    """A base path is missing, or holds no version to serve."""


class ModelLoadFailed(ServerStartError):
    """A version that is to be served does not load."""


class AddressUnavailable(ServerStartError):
    """Host and port cannot be listened on."""


class PortInUse(AddressUnavailable):
    """Another program listens on the port."""
