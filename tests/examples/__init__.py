"""Tables of examples that the tests of several clients read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: close_codes, delays, refusals, silence, frames, requests, outcomes
CLIENT: dict[str, Any] = json.loads((Path(__file__).parent / "client.json").read_text())
