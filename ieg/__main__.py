"""The entry of the command `ieg`, also `python -m ieg`."""

import sys

from ieg.utils import cli


def main() -> None:
    """Imports and runs `ieg.main`; Ctrl-C is one line from here on."""

    def command() -> None:
        from ieg import main

        main.main()

    sys.exit(cli.run(command))


if __name__ == '__main__':
    main()
