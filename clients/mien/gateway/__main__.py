"""`python -m mien.gateway`; worker processes import this file too, so it imports nothing until it is run."""

if __name__ == "__main__":
    import sys

    from mien.gateway.command import main

    sys.exit(main())
