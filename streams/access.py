"""Who may see which page: bearer tokens, or JSON Web Tokens of an identity provider, and the role that each gives."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey

from schemas.errors import ConfigError
from streams.config import AccessConfig, JwtConfig, Role

_SCHEME: Final = "Bearer "
#: Longer ones are refused unread, in characters.
_TOKEN_CHARS_MAX: Final = 8_192
#: By how much the clocks of two machines may differ, in seconds.
_LEEWAY_S: Final = 30


class Access:
    """Tells the role of whoever sends a request.

    Args:
        access: Tokens and what JSON Web Tokens must say; None lets everybody do everything, which the configuration allows on loopback only.

    Raises:
        ConfigError: The key file of ``jwt`` cannot be read or holds no public key.
    """

    def __init__(self, access: AccessConfig | None) -> None:
        self._open = access is None
        tokens = {} if access is None else access.tokens
        self._digests = {role: _digest(token.get_secret_value()) for role, token in tokens.items()}
        self._of_jwt = None if access is None or access.jwt is None else _role_of_jwt(access.jwt)

    def role_of(self, authorization: str | None) -> Role | None:
        """Gives the role that an ``Authorization`` header proves; None where it proves none."""
        if self._open:
            return Role.ADMIN
        if authorization is None or not authorization.startswith(_SCHEME) or len(authorization) > _TOKEN_CHARS_MAX:
            return None
        token = authorization.removeprefix(_SCHEME).strip()
        # Every digest is compared, whichever fits: the time taken tells nothing.
        digest = _digest(token)
        fitting = [role for role, known in self._digests.items() if hmac.compare_digest(known, digest)]
        if fitting:
            return max(fitting, key=lambda role: role.rank)
        return None if self._of_jwt is None else self._of_jwt(token)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _role_of_jwt(config: JwtConfig) -> Callable[[str], Role | None]:
    keys = _keys(config.key_file)
    claims = jwt.JWTClaimsRegistry(
        leeway=_LEEWAY_S,
        exp={"essential": True},
        iss={"essential": True, "value": config.issuer},
        aud={"essential": True, "value": config.audience},
    )

    def role(token: str) -> Role | None:
        try:
            said = jwt.decode(token, keys, algorithms=list(config.algorithms))
            claims.validate(said.claims)
        except (JoseError, ValueError):
            # A token that proves nothing gets the answer that no token gets: why, is nobody's business.
            return None
        names = _named(said.claims, config.role_claim)
        roles = [found for found in Role if config.roles.get(found, found.value) in names]
        return max(roles, key=lambda one: one.rank, default=None)

    return role


def _named(claims: Mapping[str, Any], path: str) -> frozenset[str]:
    """Gives the words at a dotted path: a list, or words separated by spaces as ``scope`` has them."""
    node: Any = claims
    for part in path.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    if isinstance(node, str):
        return frozenset(node.split())
    return frozenset(word for word in node if isinstance(word, str)) if isinstance(node, list) else frozenset()


def _keys(path: Path) -> KeySet:
    """Reads public keys: a PEM file, or a JSON Web Key Set as identity providers publish it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigError(f"http.access.jwt.key_file: {path} cannot be read ({reason}); name the public key of the identity provider") from None
    try:
        keys = _imported(text)
    except (JoseError, ValueError, TypeError):
        keys = []
    if not keys or any(key.is_private for key in keys):
        came = "a private or shared key" if keys else "no key that can be read"
        raise ConfigError(
            f"http.access.jwt.key_file: {path} holds {came}; "
            "a public key in PEM (RSA, elliptic curve, Ed25519) or a JSON Web Key Set of such keys is required"
        )
    return KeySet(keys)


def _imported(text: str) -> list[Key]:
    if text.lstrip().startswith("{"):
        return list(KeySet.import_key_set(json.loads(text)))
    for kind in (RSAKey, ECKey, OKPKey):
        try:
            return [kind.import_key(text)]
        except (JoseError, ValueError, TypeError):
            continue
    return []
