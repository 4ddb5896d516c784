"""`python -m mien.gateway`; worker processes import this file too, so it imports nothing until it is run."""

if __name__ == "__main__":
    import sys

    try:
        from mien.gateway.command import main
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("mien"):
            raise
        sys.exit(f"Error: {error}. The gateway needs the extra `gateway`: pip install 'mien[gateway]'.")
    sys.exit(main())
