"""The embedded server: TF Serving's protocol on one machine, without Docker.

The modules:

- served models: ``version_discovery``, ``model_config``, ``served_models``, ``model_reference``
- running them: ``servable``, ``signature``, ``prediction``, ``examples``, ``warmup``
- tensors in JSON and in protobuf: ``json_*``, ``base64_strings``, ``tensor_proto``, ``flat_tensor``
- REST: ``rest``, ``rest_bodies``, ``rest_paths``, ``rest_listener``, ``http_responses``
- gRPC: ``grpc_services``, ``grpc_probing`` (health, reflection), ``grpc_listener``
- for all requests: ``limits``, ``request_monitor`` (deadline, log), ``throttled_log``,
  ``metrics``
- options: ``options``, ``option_messages``, ``option_ranges``; ``server`` combines all

TensorFlow is imported at the first use of ``EmbeddedServer``.
"""

import lazy_loader

from kmeans_module.quiet_import import quietly

_find, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = quietly(_find)
