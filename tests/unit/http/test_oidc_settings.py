"""Settings of an issuer that cannot work are refused with what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from learner.settings import OidcSettings, Settings

WRONG = [
    ({"issuer": "http://sso.hospital.example"}, "https address"),
    ({"issuer": "sso"}, "https address"),
    ({"client_id": ""}, "needs client_id"),
    ({"readers": ()}, "nobody would have a role"),
    ({"scopes": ("profile",)}, "openid"),
]


@pytest.mark.parametrize(("changes", "match"), WRONG)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], match: str) -> None:
    given = {"issuer": "https://sso.hospital.example", "client_id": "apprentice", "readers": ("radiology",)}
    with pytest.raises(ValueError, match=match):
        OidcSettings(**(given | changes))


def test_an_issuer_needs_the_nodes_own_address() -> None:
    oidc_settings = OidcSettings(issuer="https://sso.hospital.example", client_id="apprentice", readers=("radiology",))
    with pytest.raises(ValueError, match=r"api\.public_url"):
        Settings(oidc=oidc_settings)
