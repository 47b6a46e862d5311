"""Pages that other machines can reach ask for a role: a token or a JSON Web Token gives it, nothing else does."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey
from pydantic import SecretStr

from schemas.errors import ConfigError, FatalError
from streams.access import Access
from streams.config import AccessConfig, Config, HttpConfig, HttpTlsConfig, JwtConfig, Role, load_config
from streams.contracts.report import stop_pipeline
from streams.health import PAGES, HealthServer
from streams.telemetry import Telemetry
from tests.fixtures.certificates import authority, certified

TOKENS = {role: f"{role.value}-token-of-at-least-32-characters" for role in Role}
TOKEN_ACCESS = AccessConfig(tokens={role: SecretStr(token) for role, token in TOKENS.items()})
ISSUER, AUDIENCE = "https://login.example.com/", "headrace"


@pytest.fixture(scope="module")
def key() -> ECKey:
    return ECKey.generate_key("P-256")


@pytest.fixture
def jwt_config(key: ECKey, tmp_path: Path) -> JwtConfig:
    path = tmp_path / "provider.pem"
    path.write_bytes(key.as_pem(private=False))
    return JwtConfig(key_file=path, issuer=ISSUER, audience=AUDIENCE, role_claim="realm.roles", roles={Role.ADMIN: "headrace-admins"})


def signed(key: ECKey | RSAKey | OctKey, roles: Any, algorithm: str = "ES256", **changes: Any) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 600, "realm": {"roles": roles}} | changes
    return jwt.encode({"alg": algorithm}, {name: value for name, value in claims.items() if value is not None}, key)


def role_of(config: JwtConfig, token: str) -> Role | None:
    return Access(AccessConfig(jwt=config)).role_of(f"Bearer {token}")


@pytest.mark.parametrize("role", list(Role))
def test_each_token_gives_its_role(role: Role) -> None:
    assert Access(TOKEN_ACCESS).role_of(f"Bearer {TOKENS[role]}") is role


@pytest.mark.parametrize(
    "header", [None, "", "Bearer ", "Bearer wrong", f"Basic {TOKENS[Role.ADMIN]}", TOKENS[Role.ADMIN], "Bearer " + "x" * 100_000, "Bearer \x00é"]
)
def test_anything_else_gives_none(header: str | None) -> None:
    assert Access(TOKEN_ACCESS).role_of(header) is None


def test_a_token_of_the_provider_gives_the_strongest_role_it_names(jwt_config: JwtConfig, key: ECKey) -> None:
    assert role_of(jwt_config, signed(key, ["viewer", "operator", "other"])) is Role.OPERATOR
    assert role_of(jwt_config, signed(key, "viewer headrace-admins")) is Role.ADMIN
    assert role_of(jwt_config, signed(key, ["admin"])) is None, "the provider's name of the role counts, not ours"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://elsewhere.example.com/"},
        {"aud": "another"},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"iss": None},
        {"aud": None},
        {"nbf": 9_000_000_000},
        {"realm": None},
        {"realm": {"roles": [1, None]}},
        {"realm": ["viewer"]},
    ],
    ids=str,
)
def test_a_token_for_others_or_out_of_time_gives_none(jwt_config: JwtConfig, key: ECKey, changes: dict[str, Any]) -> None:
    assert role_of(jwt_config, signed(key, ["viewer"], **changes)) is None


def test_a_token_of_a_stranger_or_without_a_signature_gives_none(jwt_config: JwtConfig, key: ECKey) -> None:
    assert role_of(jwt_config, signed(ECKey.generate_key("P-256"), ["viewer"])) is None
    header, payload, _ = signed(key, ["viewer"]).split(".")
    assert role_of(jwt_config, f"{header}.{payload}.") is None
    assert role_of(jwt_config, f"eyJhbGciOiJub25lIn0.{payload}.") is None
    assert role_of(jwt_config, "a.b.c") is None


def test_the_public_key_is_no_shared_secret(jwt_config: JwtConfig, key: ECKey) -> None:
    # The old trick: sign with HMAC under the public key, which everybody has.
    forged = signed(OctKey.import_key(key.as_pem(private=False).decode().replace("-", "")), ["viewer"], "HS256")
    assert role_of(jwt_config, forged) is None


def test_a_key_set_has_several_keys(tmp_path: Path) -> None:
    keys = [RSAKey.generate_key(2048, auto_kid=True), RSAKey.generate_key(2048, auto_kid=True)]
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(KeySet(keys).as_dict(private=False)))
    config = JwtConfig(key_file=path, issuer=ISSUER, audience=AUDIENCE, role_claim="realm.roles")
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 600, "realm": {"roles": ["viewer"]}}
    for key in keys:
        assert role_of(config, jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)) is Role.VIEWER


@pytest.mark.parametrize(
    "content", ["", "no key", '{"keys": []}', "{", '{"keys": [{"kty": "oct", "k": "c2VjcmV0LXRoYXQtaXMtbG9uZy1lbm91Z2g"}]}', "private"]
)
def test_a_file_without_a_public_key_is_refused_without_quoting_it(tmp_path: Path, key: ECKey, content: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(key.as_pem(private=True) if content == "private" else content.encode())
    with pytest.raises(ConfigError, match=r"http\.access\.jwt\.key_file: \S+ holds (no key|a private)") as refused:
        Access(AccessConfig(jwt=JwtConfig(key_file=path, issuer=ISSUER, audience=AUDIENCE)))
    assert "c2VjcmV0" not in str(refused.value)


# --- the pages


@pytest.fixture
def stops() -> list[str]:
    return []


@pytest.fixture
def server(stops: list[str]) -> Iterator[HealthServer]:
    config = Config(http=HttpConfig(port=0, access=TOKEN_ACCESS))
    assert config.http is not None
    with HealthServer(config.http, Telemetry(), config, lambda: stops.append("asked")) as running:
        yield running


def asked(server: HealthServer, method: str, path: str, token: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request(method, path, headers={} if token is None else {"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    said = answer.read().decode()
    connection.close()
    return answer.status, said


@pytest.mark.parametrize("path", [path for path, page in PAGES.items() if page.role is not None])
def test_a_page_answers_those_who_may_see_it_and_no_others(server: HealthServer, path: str) -> None:
    page = PAGES[path]
    assert page.role is not None
    assert asked(server, page.method, path)[0] == 401
    assert asked(server, page.method, path, "a-token-that-nobody-was-ever-given")[0] == 401
    for role in Role:
        assert asked(server, page.method, path, TOKENS[role])[0] in ((403,) if role.rank < page.role.rank else (200, 202)), role


def test_probes_need_no_token_and_learn_no_reason(server: HealthServer) -> None:
    assert asked(server, "GET", "/live") == (200, '{"live": true}\n')
    assert asked(server, "GET", "/ready") == (503, '{"ready": false}\n')
    assert "source" in asked(server, "GET", "/ready", TOKENS[Role.VIEWER])[1]


def test_the_stop_is_asked_for_by_an_admin_alone_and_with_post(server: HealthServer, stops: list[str]) -> None:
    assert asked(server, "GET", "/stop", TOKENS[Role.ADMIN])[0] == 405
    assert asked(server, "POST", "/stop", TOKENS[Role.OPERATOR])[0] == 403
    assert stops == []
    assert asked(server, "POST", "/stop", TOKENS[Role.ADMIN]) == (202, '{"stopping": true}\n')
    assert stops == ["asked"]


def test_the_configuration_is_shown_without_its_secrets(server: HealthServer) -> None:
    status, said = asked(server, "GET", "/config", TOKENS[Role.OPERATOR])
    assert status == 200
    assert not any(token in said for token in TOKENS.values())
    assert json.loads(said)["http"]["access"]["tokens"]["viewer"] == "**********"


def test_pages_over_tls_answer_who_trusts_the_authority(tmp_path: Path) -> None:
    authority(tmp_path, "ours")
    own = certified(tmp_path, "pages", "ours")
    with HealthServer(HttpConfig(port=0, tls=HttpTlsConfig(chain=own.chain, key=own.key)), Telemetry()) as server:
        trusting = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=5, context=ssl.create_default_context(cafile=str(own.root)))
        trusting.request("GET", "/live")
        assert trusting.getresponse().read() == b'{"live": true}\n'
        trusting.close()
        doubting = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=5)
        with pytest.raises(ssl.SSLCertVerificationError):
            doubting.request("GET", "/live")
        doubting.close()
        plain = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        plain.request("GET", "/live")
        with pytest.raises((http.client.HTTPException, OSError)):
            plain.getresponse()
        plain.close()


def test_a_broken_contract_stops_a_pipeline_whose_pages_are_secured_and_no_other(tmp_path: Path, stops: list[str]) -> None:
    for name in ("ours", "strangers"):
        authority(tmp_path, name)
    own, strange = certified(tmp_path, "pages", "ours"), certified(tmp_path, "other", "strangers")
    secured = HttpConfig(port=0, host="0.0.0.0", tls=HttpTlsConfig(chain=own.chain, key=own.key), access=TOKEN_ACCESS)
    with HealthServer(secured, Telemetry(), stop=lambda: stops.append("asked")) as server:
        at = secured.model_copy(update={"port": server.port})
        with pytest.raises(FatalError, match=r"did not take the stop \(ConnectError\)"):
            stop_pipeline(at.model_copy(update={"tls": HttpTlsConfig(chain=strange.chain, key=strange.key)}))
        viewer = AccessConfig(tokens={Role.VIEWER: SecretStr(TOKENS[Role.VIEWER])})
        with pytest.raises(FatalError, match=r"did not take the stop \(status 401\)"):
            stop_pipeline(at.model_copy(update={"access": viewer}))
        assert stops == []
        stop_pipeline(at)
    assert stops == ["asked"]


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    tls = HttpTlsConfig(chain=tmp_path / "absent.pem", key=tmp_path / "absent.key")
    with pytest.raises(ConfigError, match=r"http\.tls: \S+absent\.pem and \S+absent\.key cannot be used \(No such file"):
        HealthServer(HttpConfig(port=0, tls=tls), Telemetry())


# --- the configuration


def problems(environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as refused:
        load_config(environ=environ)
    return "\n".join(refused.value.problems)


def test_pages_for_other_machines_need_access() -> None:
    assert "host 0.0.0.0 can be reached from other machines, so access is required" in problems({"HEADRACE_HTTP__HOST": "0.0.0.0"})
    for host in ("127.0.0.1", "localhost", "::1"):
        assert load_config(environ={"HEADRACE_HTTP__HOST": host}).http is not None
    found = load_config(environ={"HEADRACE_HTTP__HOST": "0.0.0.0", "HEADRACE_HTTP__ACCESS__TOKENS__VIEWER": "v" * 32})
    assert found.http is not None
    assert found.http.access is not None


def test_tokens_are_long_and_differ_and_are_never_shown() -> None:
    short = {"HEADRACE_HTTP__ACCESS__TOKENS__VIEWER": "short-and-secret"}
    assert "the token of viewer must have at least 32 characters" in problems(short)
    assert "short-and-secret" not in problems(short)
    same = {f"HEADRACE_HTTP__ACCESS__TOKENS__{role}": "s" * 32 for role in ("VIEWER", "ADMIN")}
    assert "two roles have the same token" in problems(same)


def test_access_that_lets_nobody_in_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="nobody could see the pages"):
        AccessConfig()


def test_a_token_does_not_stand_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "headrace.yaml"
    path.write_text("http:\n  access:\n    tokens:\n      viewer: " + "v" * 40 + "\n")
    with pytest.raises(ConfigError) as refused:
        load_config(path, environ={})
    assert "http.access.tokens.viewer is a secret in the clear" in str(refused.value)


def test_files_are_looked_for_beside_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "headrace.yaml"
    path.write_text(
        "http:\n  tls: {chain: c.pem, key: k.pem}\n  access:\n    jwt: {key_file: p.pem, issuer: i, audience: a}\n"
        "models:\n  url: 10.0.0.1:8001\n  tls: {root: r.pem, key: k.pem, chain: c.pem}\n"
    )
    found = load_config(path, environ={})
    assert found.http is not None
    assert found.http.tls == HttpTlsConfig(chain=tmp_path / "c.pem", key=tmp_path / "k.pem")
    assert found.http.access is not None
    assert found.http.access.jwt is not None
    assert found.http.access.jwt.key_file == tmp_path / "p.pem"
    assert found.models is not None
    assert found.models.tls is not None
    assert found.models.tls.root == tmp_path / "r.pem"
