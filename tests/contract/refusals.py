"""What every refusal has in common."""

from typing import Any

from tests.support.cast import error

#: Stands in bad input; no answer may hold it.
ECHO = "echo-canary-5b1f"


def refused(response: Any, status: int, code: str) -> Any:
    """Return the error of a refusal, which is in the envelope and echoes nothing."""
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert ECHO.encode() not in response.content
    assert ECHO not in str(response.headers)
    refusal = error(response)
    assert refusal["code"] == code
    return refusal


def refused_fields(response: Any) -> set[str]:
    """Return the fields that a 400 VALIDATION_ERROR names, each with what is wrong."""
    fields = refused(response, 400, "VALIDATION_ERROR")["details"]["fields"]
    assert all(texts and all(texts) for texts in fields.values())
    return set(fields)
