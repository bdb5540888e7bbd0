"""`{% load wsadapter %}{% wsadapter_script %}`: gives a page the browser's end of the connection.

The tag goes into the head, before the page's own module scripts. They then import the module by
its name, whatever its address is (hashed by `ManifestStaticFilesStorage`, on another host):

    {% load wsadapter %}{% wsadapter_script %}
    <script type="module">
      import { connect } from "wsadapter";
      const socket = connect("/ws/");
      socket.on("order.paid", (order) => alert(`Order ${order.id} is paid.`));
    </script>

It writes an import map, which gives the name its address, and a module script, which starts the
download at once.

Content Security Policy: an import map is an inline script, so `script-src 'self'` alone blocks it.
Both tags carry the request's nonce where there is one: `csp_nonce` in the context (the context
processor of Django 6), `request.csp_nonce` (django-csp), or the argument:
`{% wsadapter_script nonce=my_nonce %}`. `connect-src 'self'` covers the WebSocket in current
browsers. Without nonces, a module file of your own needs no tag: it imports
"/static/wsadapter/socket.js" by its path. A page that has an import map already adds the entry
`"wsadapter": "{% static 'wsadapter/socket.js' %}"` to it and needs no tag either.
"""

from __future__ import annotations

import json

from django import template
from django.template.context import Context
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag(takes_context=True)
def wsadapter_script(context: Context, nonce: object = None) -> SafeString:
    """The import map and the module script for `import { connect } from "wsadapter"`."""
    url = static("wsadapter/socket.js")
    attribute = _nonce_attribute(nonce, context)
    return format_html(
        '<script type="importmap"{}>{}</script>\n<script type="module" src="{}"{}></script>',
        attribute,
        _import_map(url),
        url,
        attribute,
    )


def _nonce_attribute(given: object, context: Context) -> SafeString:
    """Compares text, because a lazy nonce is false until it is read; reading makes it count."""
    request = context.get("request")
    candidates = (given, context.get("csp_nonce"), getattr(request, "csp_nonce", None))
    found = next((text for text in map(_text, candidates) if text), "")
    return format_html(' nonce="{}"', found) if found else SafeString()


def _text(nonce: object) -> str:
    return "" if nonce is None else str(nonce)


def _import_map(url: str) -> SafeString:
    """Inside a script element only "<" can do harm: it could begin "</script>"."""
    text = json.dumps({"imports": {"wsadapter": url}})
    return SafeString(text.replace("<", "\\u003c"))
