"""The section ``http`` of the configuration: where the pages of a run are served, and for whom."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from models.endpoint import is_loopback
from streams.config_part import Section

#: Shortest bearer token, in characters.
TOKEN_CHARS_MIN: Final = 32


class Role(StrEnum):
    """What somebody may do with the pages, from least to most; a role may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """Its place in the order."""
        return tuple(Role).index(self)


class JwtConfig(Section):
    """JSON Web Tokens of an identity provider."""

    key_file: Path = Field(description="Public key in PEM, or a JSON Web Key Set of public keys; read at the start.")
    issuer: str = Field(min_length=1, max_length=500, description="What `iss` must say.")
    audience: str = Field(min_length=1, max_length=500, description="What `aud` must hold.")
    algorithms: tuple[Literal["RS256", "RS512", "PS256", "ES256", "ES384", "Ed25519"], ...] = Field(
        default=("RS256", "ES256"), min_length=1, description="Signatures that are accepted."
    )
    role_claim: str = Field(default="roles", pattern=r"^[^.\s]+(\.[^.\s]+){0,7}$", description="Dotted path of the claim that names roles.")
    roles: Mapping[Role, str] = Field(default_factory=dict, description="Role to its name in that claim; absent: the same word.")


class AccessConfig(Section):
    """Who may see the pages: whoever has a token of a role, or a JSON Web Token that names one."""

    tokens: Mapping[Role, SecretStr] = Field(default_factory=dict, description="Role to its bearer token, at least 32 characters; as ${NAME}.")
    jwt: JwtConfig | None = Field(default=None, description="Absent: tokens only.")

    @field_validator("tokens")
    @classmethod
    def _tokens_are_long(cls, tokens: Mapping[Role, SecretStr]) -> Mapping[Role, SecretStr]:
        short = [role.value for role, token in tokens.items() if len(token.get_secret_value()) < TOKEN_CHARS_MIN]
        if short:
            raise ValueError(f"the token of {', '.join(short)} must have at least {TOKEN_CHARS_MIN} characters; make one with: openssl rand -hex 32")
        if len({token.get_secret_value() for token in tokens.values()}) < len(tokens):
            raise ValueError("two roles have the same token; give each its own")
        return tokens

    @model_validator(mode="after")
    def _somebody_may(self) -> AccessConfig:
        if not self.tokens and self.jwt is None:
            raise ValueError("neither tokens nor jwt is given, so nobody could see the pages; give one")
        return self


class HttpTlsConfig(Section):
    """PEM files with which the pages are served over HTTPS."""

    chain: Path = Field(description="Certificate, with those between it and the authority.")
    key: Path = Field(description="Its private key.")


class HttpConfig(Section):
    """Where the pages of a run are served."""

    host: str = Field(default="127.0.0.1", description="Address to listen on; beyond this machine only with access.")
    port: int = Field(default=9464, ge=0, le=65_535, description="Port; 0 takes a free one.")
    access: AccessConfig | None = Field(default=None, description="Absent: everybody on this machine may do everything.")
    tls: HttpTlsConfig | None = Field(default=None, description="Absent: plain HTTP.")
    lag_records_max: int = Field(default=100_000, ge=0, description="More lag than this on one partition: not ready.")
    stall_ms_max: int = Field(default=30_000, ge=100, description="Rows in flight and none acknowledged for this long: not ready.")

    @model_validator(mode="after")
    def _strangers_need_a_token(self) -> HttpConfig:
        if self.access is None and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} can be reached from other machines, so access is required; "
                "set http.access.tokens.viewer (in the environment HEADRACE_HTTP__ACCESS__TOKENS__VIEWER), or listen on 127.0.0.1"
            )
        return self
