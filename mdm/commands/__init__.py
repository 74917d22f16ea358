"""The program's commands: each module has `add_parser(subparsers)`, which sets `func(args) -> int`."""
