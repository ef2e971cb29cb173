"""Entry point of the `semples` command."""

import os


def main() -> None:
    """Run the command-line interface; as one of several processes where torchrun started them."""
    from semples_cli.cli.app import app

    if os.environ.get("WORLD_SIZE", "1") == "1":
        app()
    else:
        from semples_cli.cli.torchrun import run_as_rank

        run_as_rank(app)


if __name__ == "__main__":
    main()
