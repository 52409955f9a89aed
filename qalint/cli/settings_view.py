"""`qalint check --show-settings`: what holds for one file, and where it comes from."""

from __future__ import annotations

import json

from ..config import Configs


def show(configs: Configs, path: str) -> None:
    """Print the settings of a file."""
    config = configs.of_file(path)
    policy = configs.policy(path)
    print(f'Resolved settings for: "{path}"')
    for where, _ in config.layers:
        print(f"# from {'the command line' if where == '--' else where.removeprefix('$ ')}")
    print(f'root = "{config.root}"')
    for name, value in config.values.items():
        if name not in ("rules", "extend"):
            print(f"{name} = {json.dumps(value)}")
    for package, version in sorted(policy.floors.items()):
        print(f'{package}-floor = "{".".join(map(str, version))}"')
    print("enabled = [")
    for code in sorted(policy.enabled):
        print(f"  {configs.catalog.rules[code].name} ({code}),")
    print("]")
    for name, table in sorted(policy.options.items()):
        print(f"rules.{name} = {json.dumps(table)}")
