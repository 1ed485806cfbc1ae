"""python -m ttft"""

from ttft.cli import main

if __name__ == "__main__":
    main()
