"""What a shell offers on the Tab key: pipelines of params.yaml, and models that this project registered.

A shell waits for it, so it reads small files here and asks no server; what can not be read is not offered.
"""

import json

from pipeline.layout import DATA_DIR
from pipeline.params import PARAMS_FILE


def complete_pipelines(incomplete: str) -> list[str]:
    """Offer the pipelines of params.yaml."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        names = [str(name) for name in YAML(typ="safe").load(PARAMS_FILE.read_text(encoding="utf-8"))["pipelines"]]
    except (OSError, ValueError, YAMLError, KeyError, TypeError):
        return []
    return [name for name in names if name.startswith(incomplete)]


def complete_addresses(incomplete: str) -> list[str]:
    """Offer versions: `pos@champion`, and the number of the last that each pipeline registered, `pos/3`."""
    addresses = []
    for path in sorted(DATA_DIR.glob("*/registry.json")):
        try:
            registered = json.loads(path.read_text(encoding="utf-8"))
            addresses += [f"{registered['model']}@champion", f"{registered['model']}/{registered['version']}"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return [address for address in addresses if address.startswith(incomplete)]


def complete_models(incomplete: str) -> list[str]:
    """Offer the same as `predict` takes them: `models:/pos@champion`."""
    return [address for name in complete_addresses("") if (address := f"models:/{name}").startswith(incomplete)]
