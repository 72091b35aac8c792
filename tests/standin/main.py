"""The stand-in's entry: started by the same command line as ComfyUI's own main.py."""

import sys

from standin.start import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
