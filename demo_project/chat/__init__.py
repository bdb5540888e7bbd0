"""A complete chat: rooms, history, who is here, typing, moderation, and figures as a stream."""
