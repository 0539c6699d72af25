"""What a file of weights is, read from its header."""
