"""The OpenAPI document. operation.py: how a route describes itself; the rest builds it."""

from config.contract.openapi.operation import Operation, documented, operation_of

__all__ = ["Operation", "documented", "operation_of"]
