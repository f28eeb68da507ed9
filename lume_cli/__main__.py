"""`python -m lume_cli`: the same as the command `lume`."""

from lume_cli import main

if __name__ == "__main__":
    main()
