"""Sends each parameter of each call's model by itself, with the product's official client, and tells what was answered.

Reads its settings as JSON from the standard input, and writes for each call the code that each of its parameters got.
"""

import json
import re
import sys

from alibabacloud_eiam20211201 import models
from alibabacloud_eiam20211201.client import Client
from alibabacloud_tea_openapi.utils_models import Config
from darabonba.runtime import RuntimeOptions

settings = json.load(sys.stdin)
client = Client(Config(endpoint=settings["endpoint"], protocol=settings["protocol"],
                       access_key_id=settings["key"], access_key_secret=settings["secret"]))

# Parameters that are supported with these values alone.
VALUES = {
    "password_forced_update_status": "disabled",
    "password_initialization_policy_priority": "custom",
    "authn_mode": "oauth2",
    "full_push_scopes": ["urn:alibaba:idaas:app:scim:User:PUSH"],
    "target_type": "application",
}


def camel(name):
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def snake(name):
    return re.sub("([A-Z])", r"_\1", name).lower().lstrip("_")


def parameters(model):
    """Each parameter of a model, with a value: below another one with that one's value around it."""
    for name, kind in model.__init__.__annotations__.items():
        if name == "return":
            continue
        kind = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
        below = re.search(r"(\w+Request\w+)", kind)
        if below:
            for path, value in parameters(getattr(models, below[1])):
                inner = getattr(models, below[1])(**value)
                yield f"{camel(name)}.{path}", {name: [inner] if "List" in kind else inner}
        elif name in VALUES:
            yield camel(name), {name: VALUES[name]}
        else:
            plain = {"str": "x", "int": 1, "bool": True}.get(kind, ["x"])
            yield camel(name), {name: plain}


told = {}
for action in settings["actions"]:
    told[action] = {}
    model = getattr(models, action + "Request")
    for path, fields in parameters(model):
        if path == "instanceId":
            continue
        request = model(**{"instance_id": settings["instance"], **fields})
        try:
            getattr(client, snake(action) + "_with_options")(request, RuntimeOptions())
            told[action][path] = "OK"
        except Exception as error:
            told[action][path] = error.code
json.dump(told, sys.stdout)
