"""One request, from its fields to images on disk and a row in the library."""
