"""`python -m neurograph`: the command."""

from neurograph.cli import run

if __name__ == "__main__":
    run()
