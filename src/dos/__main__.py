"""`python -m dos` is the `dos` command."""

from dos.cli.main import app

if __name__ == "__main__":
    app()
