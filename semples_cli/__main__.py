"""Entry point of the `semples` command."""


def main() -> None:
    """Run the command-line interface."""
    from semples_cli.cli.app import app

    app()


if __name__ == "__main__":
    main()
