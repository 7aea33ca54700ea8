"""``python -m learner`` is the command ``apprentice``."""

from learner.cli import main

if __name__ == "__main__":
    main()
