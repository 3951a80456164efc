"""`python -m neurograph.cli`: the command."""

from neurograph.cli import run

if __name__ == "__main__":
    run()
