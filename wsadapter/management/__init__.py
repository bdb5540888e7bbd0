"""What an operator types: see who is online, send, disconnect, and have the doctor look."""
