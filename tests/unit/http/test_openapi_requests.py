"""What Schemathesis makes of the API's own description: odd requests to every route, and no fault of the node."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from learner.domain.user import Role
from learner.http.app import create_app
from learner.node import Node
from learner.settings_access import AccessSettings

EXAMPLES = 6
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]
ODD = settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture
def api(node: Node) -> schemathesis.BaseSchema:
    """The description, asked with an administrator's token; a node that is ready and in which something happened."""
    node._last_intake_at = 1.0
    access = AccessSettings(requests_per_minute=0)
    node.settings = node.settings.model_copy(update={"access": access})
    token = node.store.accounts.add_token("schemathesis", Role.ADMIN)
    return schemathesis.openapi.from_asgi(
        "/api/openapi.json", create_app(node, ""), headers={"Authorization": f"Bearer {token}"}
    )


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_is_a_fault_of_the_node(api: schemathesis.BaseSchema, node: Node, mode: GenerationMode) -> None:
    token = node.store.accounts.add_token("asks", Role.ADMIN)
    asked: dict[str, int] = {}
    for found in api.get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not list(operation.iter_parameters()):
            continue

        @ODD
        @given(operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            asked[case.operation.label] = asked.get(case.operation.label, 0) + 1
            response = case.call(headers={"Authorization": f"Bearer {token}"})
            if mode is GenerationMode.POSITIVE:  # the others garble the token, too
                assert response.status_code != 401
            case.validate_response(response, checks=CHECKS)

        ask()
    assert len(asked) >= (20 if mode is GenerationMode.POSITIVE else 10)
    assert sum(asked.values()) > 60
