"""``python -m seglib STEP ...``: the same as the console script ``seglib``."""

from seglib.cli import main

if __name__ == "__main__":
    main()
