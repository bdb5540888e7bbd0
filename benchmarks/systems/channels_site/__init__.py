"""One Django project with both consumers: wsadapter's and one that is plain Channels."""
