"""What the configured engines are, have and can do: for the command line and the server."""
