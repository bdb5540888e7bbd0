"""One message, echoed by each of those who would be asked to: a module of routes for each."""
