"""`python -m nsfl.local script.py`: see `neursafe_fl.local`."""

from neursafe_fl.local import main

if __name__ == "__main__":
    raise SystemExit(main())
