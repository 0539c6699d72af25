"""Many requests from one command: prompt files, templates and wildcards."""
