"""``python -m hxn_ptycho.cli`` is ``hxn-ptycho``."""

from . import main

if __name__ == "__main__":
    main()
