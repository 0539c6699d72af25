"""What the command line prints as JSON and the HTTP server answers: the same types for both."""
