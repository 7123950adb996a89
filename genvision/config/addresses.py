"""Secrets in addresses. A configuration is written down and published with its results, so that none may stand in it.

They have better places, which the libraries that open an address read by themselves: HF_TOKEN, ~/.netrc,
AWS_ACCESS_KEY_ID and its kin, ~/.config/fsspec.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

from genvision.config.document import Layer, fault

_LOGIN = re.compile(r"(\w+://)([^/?#\s]*)@")  # of abfs://container@account a name, of user:word@host a secret
_PARAMETER = re.compile(r"([?&#;])([^=&#;\s?]{1,100})=([^&#;\s'\"]+)")
_SECRET = re.compile(
    r"token|secret|passw|passphrase|signature|credential|key(id)?$|^(sig|pw|pwd|pass|auth|authorization|jwt|bearer)$",
    re.IGNORECASE,
)


def refuse_secrets(layer: Layer) -> None:
    """Raises ConfigError about the first setting whose address holds a login or a secret parameter, which it names."""
    for entry in layer.values():
        for value in entry.value if isinstance(entry.value, list) else [entry.value or ""]:
            if found := secret_in(value):
                problem = f"its address holds {found}, and would be published with the results"
                raise fault(entry.where, f"{entry.key}: {problem}; use HF_TOKEN, ~/.netrc or ~/.config/fsspec")


def secret_in(text: str) -> str | None:
    """What of an address in the text is a secret, in words that do not tell it; None where nothing is."""
    if "://" not in text:
        return None
    if any(_is_login(*found.groups()) for found in _LOGIN.finditer(text)):
        return "a login"
    names = (unquote_plus(found[2]) for found in _PARAMETER.finditer(text))
    return next((f"a secret, its parameter {name[:32]}" for name in names if _SECRET.search(name)), None)


def masked(text: str) -> str:
    """The text with *** for every secret of an address in it: libraries quote what they were redirected to."""
    text = _LOGIN.sub(lambda found: f"{found[1]}***@" if _is_login(*found.groups()) else found[0], text)
    return _PARAMETER.sub(
        lambda found: f"{found[1]}{found[2]}=***" if _SECRET.search(unquote_plus(found[2])) else found[0], text
    )


def _is_login(scheme: str, user: str) -> bool:
    """Whether `user` is more than the name of somebody or of a container."""
    return ":" in unquote_plus(user) or scheme in ("http://", "https://")
