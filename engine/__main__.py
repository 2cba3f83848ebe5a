"""``python -m engine``."""

import sys

if __name__ == "__main__":
    try:
        from engine.cli import main
    except KeyboardInterrupt:  # as soon as that
        sys.exit(130)
    sys.exit(main())
