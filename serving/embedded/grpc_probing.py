"""Health and reflection services over gRPC.

``grpc_health_probe``, the probes of Kubernetes and ``grpcurl`` use these services.
"""

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

#: The names with a health status in TF Serving, which are not full service names; "" is the server.
_HEALTHY = ("", "ModelService", "PredictionService")
_SERVICES = ("tensorflow.serving.ModelService", "tensorflow.serving.PredictionService")


def add_health_service(server: grpc.Server) -> health.HealthServicer:
    """Add ``grpc.health.v1.Health``, which reports the server as healthy while it serves."""
    servicer = health.HealthServicer()
    for name in _HEALTHY:
        servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    return servicer


def add_reflection(server: grpc.Server, *, has_health_service: bool) -> None:
    """Add ``grpc.reflection.v1alpha.ServerReflection``."""
    names = [*_SERVICES, reflection.SERVICE_NAME]
    if has_health_service:
        names.append(health.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
