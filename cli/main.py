"""The entry point of `mqttbeam`. What takes time to import is imported under its hands.

Half a second goes by before the first command runs: signals of that time are heeded here.
"""

import gc
import signal
import sys

_INTERRUPTED = 128 + signal.SIGINT


def main() -> None:
    """Entry point of the command `mqttbeam`."""
    if sys.argv[1:3] == ["broker", "serve"]:
        # "Reload", and it has read nothing yet; from its start on the broker heeds it.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        from cli.commands import run

        run()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    finally:
        # What was imported is not looked through for garbage as the interpreter ends.
        gc.freeze()


if __name__ == "__main__":
    main()
