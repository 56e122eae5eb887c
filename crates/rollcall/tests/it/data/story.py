"""An administrator's script sets up the provisioning of one application, and another application's script writes users:
with the official clients, over TLS."""

import json
import sys

from alibabacloud_eiam20211201 import models as management
from alibabacloud_eiam20211201.client import Client as Management
from alibabacloud_eiam_developerapi20220225 import models as developer
from alibabacloud_eiam_developerapi20220225.client import Client as Developer
from alibabacloud_tea_openapi.utils_models import Config
from darabonba.runtime import RuntimeOptions

settings = json.load(sys.stdin)
instance, ca = settings["instance"], settings["ca"]
runtime = RuntimeOptions(ca=ca)

# The administrator.
hub = Management(Config(endpoint=settings["endpoint"], protocol="https", ca=ca,
                        access_key_id=settings["key"], access_key_secret=settings["key_secret"]))
mail = settings["mail"]
hub.set_application_provisioning_config_with_options(management.SetApplicationProvisioningConfigRequest(
    instance_id=instance, application_id=mail, provision_protocol_type="idaas_callback", provision_password=False,
    callback_provisioning_config=management.SetApplicationProvisioningConfigRequestCallbackProvisioningConfig(
        callback_url=settings["callback"], encrypt_required=True, encrypt_key=settings["encryption_key"])), runtime)
made = hub.create_organizational_unit_with_options(management.CreateOrganizationalUnitRequest(
    instance_id=instance, organizational_unit_name="Sales", parent_id="ou_root"), runtime)
sales = made.body.organizational_unit_id
hub.set_application_provisioning_scope_with_options(management.SetApplicationProvisioningScopeRequest(
    instance_id=instance, application_id=mail, organizational_unit_ids=[sales]), runtime)

# The application.
people = settings["people"]
api = Developer(Config(endpoint=settings["endpoint"], protocol="https", ca=ca))
granted = api.generate_token_with_options(instance, people, developer.GenerateTokenRequest(
    grant_type="client_credentials", client_id=people, client_secret=settings["secret"]), {}, runtime)
authorization = "Bearer " + granted.body.access_token
ids = []
for name in ["ada", "grace", "linus"]:
    made = api.create_user_with_options(instance, people, developer.CreateUserRequest(
        username=name, display_name=name.upper(), primary_organizational_unit_id=sales),
        developer.CreateUserHeaders(authorization=authorization), runtime)
    ids.append(made.body.user_id)
elsewhere = api.create_user_with_options(instance, people, developer.CreateUserRequest(
    username="eve", primary_organizational_unit_id="ou_root"),
    developer.CreateUserHeaders(authorization=authorization), runtime).body.user_id
api.patch_user_with_options(instance, people, ids[0], developer.PatchUserRequest(display_name="Ada 洛芙莱斯"),
                            developer.PatchUserHeaders(authorization=authorization), runtime)
api.delete_user_with_options(instance, people, ids[2], developer.DeleteUserRequest(),
                             developer.DeleteUserHeaders(authorization=authorization), runtime)

json.dump({"users": ids, "elsewhere": elsewhere}, sys.stdout)
