"""Run the command line: `python -m imagen` is `imagen`."""

from imagen.cli import main

if __name__ == "__main__":
    main()
