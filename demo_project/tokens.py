"""Signed tokens that let each pane of the one page act as its own user.

A browser has one set of cookies, so two people in one tab cannot both be its session. Each pane
therefore carries a token: in the `Authorization` header of its requests, and in the query of its
socket, where a browser cannot set a header.
"""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core import signing

SALT = "demo-pane"
MAX_AGE_SECONDS = 24 * 60 * 60


def sign(user: AbstractBaseUser) -> str:
    return signing.dumps(user.pk, salt=SALT)


def user_for(token: str) -> AbstractBaseUser | None:
    """Whose token it is, or None when it is nobody's, forged or too old."""
    try:
        primary_key = signing.loads(token, salt=SALT, max_age=MAX_AGE_SECONDS)
    except signing.BadSignature:
        return None
    return get_user_model().objects.filter(pk=primary_key, is_active=True).first()
