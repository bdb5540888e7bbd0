"""Pure code: no Django, no Redis, no asyncio, no clock and no randomness."""
