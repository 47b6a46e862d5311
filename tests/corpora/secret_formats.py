"""Secrets as their vendors document them, made here and valid nowhere, in the texts in which agents leave them. Seeded.

The formats were written down from vendors' documentation, not from the expressions that look for them.
"""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable

ALNUM = string.ascii_letters + string.digits
UPPER = string.ascii_uppercase + string.digits
LOWER = string.ascii_lowercase + string.digits
HEX = "0123456789abcdef"
BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
URLSAFE = ALNUM + "-_"

Make = Callable[[random.Random], str]


def _of(shape: str) -> Make:
    """A format written as text with ``{alphabet:count}`` in place of random characters."""

    def make(pick: random.Random) -> str:
        made, rest = "", shape
        while "{" in rest:
            before, _, rest = rest.partition("{")
            slot, _, rest = rest.partition("}")
            alphabet, _, count = slot.partition(":")
            made += before + "".join(pick.choices(_ALPHABETS[alphabet], k=int(count)))
        return made + rest

    return make


_ALPHABETS = {
    "A": ALNUM,
    "U": UPPER,
    "L": LOWER,
    "H": HEX,
    "B": BASE32,
    "S": URLSAFE,
    "D": string.digits,
    "P": ALNUM + "+/",
    "W": string.ascii_letters,
}


def _json_web_token(pick: random.Random) -> str:
    parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": str(pick.randrange(10**9)), "iat": pick.randrange(10**9)}]
    return ".".join([base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts] + [_of("{S:43}")(pick)])


def _private_key(kind: str) -> Make:
    def make(pick: random.Random) -> str:
        body = "\n".join(_of("{P:64}")(pick) for _ in range(pick.randint(6, 24)))
        return f"-----BEGIN {kind}-----\n{body}\n-----END {kind}-----"

    return make


def _password(pick: random.Random) -> str:
    return "".join(pick.choices(ALNUM + "!#%^&*-_", k=pick.randint(8, 20))) + pick.choice(string.digits) + pick.choice("!#%")


#: Keys and tokens that have a shape of their own, by family.
SHAPES: dict[str, Make] = {
    "AWS access key id": _of("AKIA{B:16}"),
    "AWS temporary access key id": _of("ASIA{B:16}"),
    "GitHub personal access token": _of("ghp_{A:36}"),
    "GitHub fine-grained token": _of("github_pat_{A:22}_{A:59}"),
    "GitHub app token": _of("ghs_{A:36}"),
    "GitLab personal access token": _of("glpat-{S:20}"),
    "Slack bot token": _of("xoxb-{D:12}-{D:13}-{A:24}"),
    "Slack app token": _of("xapp-1-{U:11}-{D:13}-{H:64}"),
    "Slack webhook": _of("hooks.slack.com/services/T{U:10}/B{U:10}/{A:24}"),
    "Discord webhook": _of("discord.com/api/webhooks/{D:18}/{S:68}"),
    "Telegram bot token": _of("{D:10}:AA{S:33}"),
    "Stripe secret key": _of("sk_live_{A:24}"),
    "Stripe restricted key": _of("rk_live_{A:24}"),
    "OpenAI project key": _of("sk-proj-{A:20}T3BlbkFJ{A:20}"),
    "OpenAI key": _of("sk-{A:20}T3BlbkFJ{A:20}"),
    "Anthropic key": _of("sk-ant-api03-{S:93}AA"),
    "Hugging Face token": _of("hf_{W:34}"),
    "Groq key": _of("gsk_{A:52}"),
    "Perplexity key": _of("pplx-{A:48}"),
    "Replicate token": _of("r8_{A:37}"),
    "Google API key": _of("AIza{S:35}"),
    "Google OAuth secret": _of("GOCSPX-{S:28}"),
    "npm token": _of("npm_{A:36}"),
    "PyPI token": _of("pypi-AgEIcHlwaS5vcmc{S:150}"),
    "Docker Hub token": _of("dckr_pat_{S:27}"),
    "SendGrid key": _of("SG.{S:22}.{S:43}"),
    "Mailgun key": _of("key-{H:32}"),
    "Mailchimp key": _of("{H:32}-us12"),
    "Twilio key": _of("SK{H:32}"),
    "Shopify token": _of("shpat_{H:32}"),
    "Square token": _of("EAAA{S:60}"),
    "DigitalOcean token": _of("dop_v1_{H:64}"),
    "Databricks token": _of("dapi{H:32}"),
    "HashiCorp Vault token": _of("hvs.{A:96}"),
    "Terraform Cloud token": _of("{A:14}.atlasv1.{A:67}"),
    "Grafana service account token": _of("glsa_{A:32}_{H:8}"),
    "New Relic key": _of("NRAK-{U:27}"),
    "Postman key": _of("PMAK-{H:24}-{H:34}"),
    "Linear key": _of("lin_api_{A:40}"),
    "Notion token": _of("ntn_{D:11}{A:35}"),
    "Figma token": _of("figd_{S:40}"),
    "Supabase token": _of("sbp_{H:40}"),
    "Sentry token": _of("sntryu_{H:64}"),
    "Pinecone key": _of("pcsk_{A:6}_{A:63}"),
    "LangSmith key": _of("lsv2_pt_{H:32}_{H:10}"),
    "PlanetScale token": _of("pscale_tkn_{S:43}"),
    "Doppler token": _of("dp.pt.{A:43}"),
    "Airtable token": _of("pat{A:14}.{H:64}"),
    "age secret key": _of("AGE-SECRET-KEY-1{U:58}"),
    "JSON web token": _json_web_token,
    "RSA private key": _private_key("RSA PRIVATE KEY"),
    "EC private key": _private_key("EC PRIVATE KEY"),
    "OpenSSH private key": _private_key("OPENSSH PRIVATE KEY"),
    "PKCS 8 private key": _private_key("PRIVATE KEY"),
}  # fmt: skip
#: Secrets known only by what stands before them: the text around the secret, with ``@`` in its place, and the secret.
LABELLED: dict[str, tuple[tuple[str, ...], Make]] = {
    "AWS secret access key": (("aws_secret_access_key = @", "AWS_SECRET_ACCESS_KEY=@", '"SecretAccessKey is @"'), _of("{P:40}")),
    "Azure storage key": (("DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=@==;EndpointSuffix=core.windows.net",), _of("{P:86}")),
    "Datadog key": (("DATADOG_API_KEY=@", "datadog_api_key: @"), _of("{H:32}")),
    "Cloudflare key": (("CLOUDFLARE_API_KEY=@", "cloudflare_api_token = '@'"), _of("{S:40}")),
    "Heroku key": (("HEROKU_API_KEY=@",), _of("{H:8}-{H:4}-{H:4}-{H:4}-{H:12}")),
    "Password in a URL": (("postgres://app:@@db.internal:5432/app", "https://bob:@@example.com/repo.git"), _of("{A:14}")),
    "Basic authorization": (("Authorization: Basic @", "curl -H 'Authorization: Basic @' https://api.example.com"), _of("{A:28}")),
    "Bearer token": (("Authorization: Bearer @", "curl -H 'Authorization: Bearer @' https://api.example.com"), _of("{A:40}")),
    "Password assignment": (("password=@", "DB_PASSWORD=@", 'password: "@"'), _password),
}  # fmt: skip
_AROUND = (
    "@",
    "my key is @",
    "API_KEY=@",
    "export TOKEN='@'",
    'client = Client(token="@")',
    "Use @ for the call, then retry.",
    "curl -H 'X-Api-Key: @' https://api.example.com/v1",
    "error: 401 for credential @ at step 3",
)


def secrets(seed: int, count: int) -> dict[str, list[tuple[str, str]]]:
    """By family, texts and the secret that each holds.

    Args:
        seed: The same seed gives the same texts.
        count: Texts of each family.
    """
    pick = random.Random(seed)
    made: dict[str, list[tuple[str, str]]] = {}
    for family, make in SHAPES.items():
        held = [make(pick) for _ in range(count)]
        made[family] = [(pick.choice(_AROUND).replace("@", secret), secret) for secret in held]
    for family, (around, make) in LABELLED.items():
        held = [make(pick) for _ in range(count)]
        made[family] = [(_placed(pick.choice(around), secret), secret) for secret in held]
    return made


def _placed(around: str, secret: str) -> str:
    """The text with the secret in place of its first sign."""
    return around.replace("@", secret, 1)
