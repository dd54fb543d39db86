"""The node's own secret, and what is made with it: signing keys and sealed TOTP secrets.

One file of 32 random octets in state_dir, mode 0600. Nodes that share a database and serve the
portal must share this file, or one would not accept the other's tokens.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FILE_NAME = "secret.key"
_OCTETS = 32


class SecretError(Exception):
    """The secret file cannot be used, or something was sealed with another one."""


def load_or_create(state_dir: Path, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """The secret of this node, made at the first call. Raises SecretError. Blocks for a file access."""
    path = state_dir / FILE_NAME
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            # Written whole beside it and linked: two processes starting at once agree on the first.
            draft = path.with_name(f"{FILE_NAME}.{os.getpid()}")
            draft.unlink(missing_ok=True)
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(handle, random(_OCTETS))
                os.fsync(handle)
            finally:
                os.close(handle)
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
    except OSError as error:
        raise SecretError(f"{path} cannot be used: {error.strerror}") from None
    return load(state_dir)


def load(state_dir: Path) -> bytes:
    """The secret of a node that has started before. Raises SecretError. Blocks for a file access."""
    path = state_dir / FILE_NAME
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise SecretError(f"{path} can be read by others: chmod 600 it, or remove it for a new one")
        secret = path.read_bytes()
    except OSError as error:
        raise SecretError(f"{path} cannot be used: {error.strerror}") from None
    if len(secret) != _OCTETS:
        raise SecretError(f"{path} holds {len(secret)} octets, not {_OCTETS}: remove it for a new one")
    return secret


def derive(secret: bytes, purpose: str) -> bytes:
    """A key of 32 octets for one purpose: none tells anything about another."""
    return hmac.new(secret, b"protei-bulk:" + purpose.encode(), hashlib.sha256).digest()


class Seal:
    """Encrypts the 20 octets of a TOTP secret into 64 characters, which is what the column holds."""

    def __init__(self, key: bytes, random: Callable[[int], bytes] = os.urandom) -> None:
        self._box = AESGCM(key)
        self._random = random

    def close(self, plain: bytes, owner: str) -> str:
        """Bound to its owner: moved to another row it does not open."""
        nonce = self._random(12)
        return base64.urlsafe_b64encode(nonce + self._box.encrypt(nonce, plain, owner.encode())).decode()

    def open(self, sealed: str, owner: str) -> bytes:
        """Raises SecretError where it was made with another key, for another owner, or is damaged."""
        try:
            data = base64.urlsafe_b64decode(sealed)
            return self._box.decrypt(data[:12], data[12:], owner.encode())
        except (ValueError, InvalidTag):
            raise SecretError("the TOTP secret was not sealed with this node's key") from None
