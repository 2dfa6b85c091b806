"""Status and metadata of models, as messages."""

from collections.abc import Sequence
from typing import Any

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from serving.embedded.model_reference import ModelReference
from serving.embedded.served_models import ServedModels
from serving.embedded.status import invalid_argument

SIGNATURE_DEF = "signature_def"


def model_status(models: ServedModels, reference: ModelReference) -> Any:
    """Return the GetModelStatusResponse for a model.

    A label is ignored and all versions are returned, as in TF Serving.

    Raises:
        StatusError: NOT_FOUND for an unknown model or version.
    """
    response = get_model_status_pb2.GetModelStatusResponse()
    for state in models.states(reference.name, reference.version):
        status = response.model_version_status.add(version=state.version, state=state.state.value)
        status.status.error_code = state.code.number
        status.status.error_message = state.message
    return response


def model_metadata(models: ServedModels, reference: ModelReference, fields: Sequence[str]) -> Any:
    """Return the GetModelMetadataResponse for a model: the signatures of one loaded version.

    Args:
        models: the served models.
        reference: the model.
        fields: the requested fields; only ``signature_def`` exists.

    Raises:
        StatusError: another field than ``signature_def``, no field, or no such loaded version.
    """
    if not fields:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for name in fields:
        if name != SIGNATURE_DEF:
            raise invalid_argument(f"Metadata field {name} is not supported")
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with models.servable(reference) as servable:
        for name, signature in servable.signatures.items():
            signatures.signature_def[name].CopyFrom(signature.message)
            signatures.signature_def[name].ClearField("defaults")
        response.model_spec.name = servable.model
        response.model_spec.version.value = servable.version
    response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response
