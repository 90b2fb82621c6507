"""`python -m deephealth` is the command `deephealth`."""

import sys

from deephealth.cli import main

if __name__ == "__main__":
    sys.exit(main())
