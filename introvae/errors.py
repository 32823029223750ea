"""The ways a command ends early on purpose."""


class UserError(ValueError):
    """Something the user asked for cannot be done; the message says what, why and what to do (exit code 2)."""


class InUseError(UserError):
    """Another process works in the folder."""


class DivergedError(RuntimeError):
    """Training reached a loss or a parameter that is not finite (exit code 1)."""


class OutOfMemoryError(RuntimeError):
    """A step or the networks need more memory than there is; the message says what to lower (exit code 1)."""


class StoppedError(RuntimeError):
    """What a study needs has gone; nothing is lost, and the message says what to do (exit code 1)."""
