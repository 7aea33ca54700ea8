"""The command ``apprentice``."""


def main() -> None:
    """Entry point of the console script."""
