"""What every settings class checks its values with."""

from semples_cli.errors import SettingsError


def require(condition: bool, message: str) -> None:
    """Refuse settings.

    Raises:
        SettingsError: `condition` does not hold.
    """
    if not condition:
        raise SettingsError(message)
